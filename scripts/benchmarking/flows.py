"""Rows of one trajectory of gradient flow: D = 4 and 8, ranks 1 and 4, two scales, and D = 64."""

from __future__ import annotations

import numpy as np

from benchmarking import by_jax, by_numba
from benchmarking.base import Array, Built, Entry, Growth, Row
from benchmarking.case import ATOL, POINTS, RTOL, Case
from benchmarking.functions import products
from numerics import Trajectory, gradient_flow, matrix_loss, minimiser

# Durations take each to within 1e-6 of its minimum.
CASES = (
    Case(4, 4, 1, 1e-2, 21_050.0),
    Case(4, 4, 1, 1e-3, 210_500.0),
    Case(4, 4, 4, 1e-2, 1_020.0),
    Case(4, 4, 4, 1e-3, 7_030.0),
    Case(8, 9, 1, 1e-2, 45_900.0),
    Case(8, 9, 1, 1e-3, 462_500.0),
    Case(8, 9, 4, 1e-2, 2_690.0),
    Case(8, 9, 4, 1e-3, 14_550.0),
)
BEGINNING = Case(64, 64, 1, 1e-2, 2e4)
WHOLE = Case(64, 64, 1, 1e-2, 2.45e7)

EVALUATIONS: dict[tuple[Case, str], int] = {}  # of the last run of each case by each method

AMPLIFIED = "1,000 times rtol: what a thousand steps that err by rtol each add up to"
EXPLICIT = (
    "at this rank the flow is hardly stiff, so that an explicit pair is held to few steps, and its "
    "loop is compiled; ours pays Python and NumPy calls for each step, and for losses, conserved "
    "quantities and energy at each recorded time"
)
ODEINT = (
    "the same LSODA, but its loop over steps is compiled; ours steps from Python, so that a run "
    "that fails keeps what it has, and records status, energy and conserved quantities"
)
PAIR = (
    "its whole loop is compiled, and 1/init is not yet large enough for stiffness to cost it more "
    "than that gains; ours takes fewer, implicit steps, and pays about ten NumPy calls for each "
    "evaluation and a Jacobian for some"
)


def rows(quick: bool) -> list[Row | Growth]:
    """All trajectories."""
    if quick:
        return [trajectory(Case(4, 4, 1, 0.1, 500.0)), beginning(Case(20, 20, 1, 0.1, 100.0))]
    return [*(trajectory(case) for case in CASES), beginning(BEGINNING), whole(WHOLE)]


def flow(case: Case, method: str = "auto", rtol: float = RTOL, atol: float = ATOL) -> Trajectory:
    """Ours, at the case's times."""
    run = gradient_flow(
        case.model, case.moments, case.initial, case.duration, times=case.times, method=method,
        rtol=rtol, atol=atol,
    )  # fmt: skip
    EVALUATIONS[case, method] = run.evaluations
    return run


def reference(case: Case) -> Array:
    """SciPy's DOP853 at rtol 1e-12, stepping onto every time."""
    return flow(case, "DOP853", 1e-12, 1e-16).loss


def ours(case: Case, method: str = "auto") -> Entry:
    """`gradient_flow`."""
    label = "`gradient_flow`" + ("" if method == "auto" else f', method="{method}"')
    return Entry(label, "ours", lambda: Built(lambda: flow(case, method).loss))


def theirs(case: Case, why: str, solvers: tuple[tuple[str, str], ...]) -> list[Entry]:
    """JAX and diffrax by gradient and solver."""
    return [
        Entry(
            f"JAX and diffrax, {solver}, gradient {how}",
            "theirs",
            lambda how=how, solver=solver: by_jax.flow(case, how, solver),  # type: ignore[misc]
            by_jax.NEEDS,
            why,
        )
        for how, solver in solvers
    ]


def numba(case: Case, why: str) -> Entry:
    """The compiled pair."""
    return Entry(
        "Numba, 5(4) pair in loops, gradient by hand", "theirs", lambda: by_numba.flow(case),
        by_numba.NEEDS, why,
    )  # fmt: skip


def odeint(case: Case) -> Built:
    """SciPy's odeint, as one who has the Jacobian calls it."""
    from scipy.integrate import odeint as solve

    system = case.system
    times = np.concatenate([[0.0], case.times])

    def run() -> Array:
        states = solve(
            lambda y, _: system.velocity(y), case.start, times,
            Dfun=lambda y, _: system.jacobian(y), rtol=RTOL, atol=ATOL, mxstep=10**6,
        )  # fmt: skip
        return system.loss(states[1:])

    return Built(run)


def evaluations(case: Case) -> Built:
    """The products of as many right-hand sides as ours evaluates."""
    count, call = EVALUATIONS[case, "auto"], products(case)

    def run() -> None:
        for _ in range(count):
            call()

    return Built(run, note=f"{count:,} evaluations")


def described(case: Case) -> str:
    """All that defines a case."""
    spectrum = "λ = 0.4, 0.3, 0.2, 0.1" if case.dimension == 4 else "λ_d ∝ 1/d, Σ λ_d = 1"
    return (
        f"{spectrum}, N = 31, weights N(0, {case.scale:g}²), t = 0 to {case.duration:,.0f}, losses "
        f"at {POINTS} log-spaced times, rtol {RTOL:g}, atol {ATOL:g}, {case.model.size:,} weights"
    )


def named(case: Case) -> str:
    """D, H, R and the scale."""
    return f"D = {case.dimension}, H = {case.heads}, R = {case.rank}, init {case.scale:g}"


def trajectory(case: Case) -> Row:
    """One trajectory down to its minimum."""
    why = PAIR if case.rank == 1 else EXPLICIT
    solvers: tuple[tuple[str, str], ...] = (("autodiff", "Tsit5"), ("by hand", "Tsit5"))
    if case.model.size <= 40:
        solvers = (*solvers, ("by hand", "Kvaerno5"))
    return Row(
        f"flow-D{case.dimension}-R{case.rank}-{case.scale:g}",
        f"One trajectory, {named(case)}",
        described(case) + "; the end is within 1e-6 of the minimum",
        [
            ours(case),
            *theirs(case, why, solvers),
            numba(case, why),
            Entry("SciPy's odeint, gradient and Jacobian of ours", "theirs",
                  lambda: odeint(case), (), ODEINT),
            Entry("the three products of its evaluations", "floor", lambda: evaluations(case)),
        ],
        reference=lambda: reference(case),
        tolerance=1000 * RTOL,
        argument=AMPLIFIED,
        repeats=5,
        budget=5.0,
    )  # fmt: skip


def beginning(case: Case) -> Row:
    """The first drops at large D, where explicit methods can still follow."""
    return Row(
        f"flow-D{case.dimension}-start",
        f"The first drops, {named(case)}",
        described(case),
        [
            ours(case),
            ours(case, "DOP853"),
            *theirs(case, BIG, (("autodiff", "Tsit5"), ("by hand", "Tsit5"))),
            numba(case, BIG),
            Entry("the three products of its evaluations", "floor", lambda: evaluations(case)),
        ],
        reference=lambda: reference(case),
        tolerance=1000 * RTOL,
        argument=AMPLIFIED,
        repeats=3,
        budget=8.0,
    )


BIG = (
    "the loop of its explicit pair is compiled; ours runs one as well, and pays NumPy passes over "
    "the stages beside the products, and steps onto each recorded time"
)


def whole(case: Case) -> Row:
    """The whole cascade at large D."""
    ours = Entry(
        '`gradient_flow`, method="Krylov"',
        "ours",
        lambda: Built(lambda: flow(case, "Krylov").loss[-1:]),
    )
    return Row(
        f"flow-D{case.dimension}",
        f"The whole cascade, {named(case)}",
        described(case),
        [
            ours,
            Entry("the three products of its evaluations", "floor", lambda: krylov_products(case)),
        ],
        reference=lambda: matrix_loss(case.moments, minimiser(case.moments)),
        tolerance=1e-5,
        argument="the minimum, within 1e-6 of which the run ends; for errors on the way see "
        "`benchmarks/large.py`",
        repeats=1,
        not_run=(
            ("JAX and diffrax, Tsit5", "stability holds an explicit pair to ten million "
             "evaluations here, ten minutes or more at the times above"),
            ("JAX and diffrax, Kvaerno5", "factorises a dense Jacobian of 8,256 weights, 8 s each, "
             "at each of thousands of steps"),
            ("SciPy's odeint with the Jacobian", "likewise"),
        ),
    )  # fmt: skip


def krylov_products(case: Case) -> Built:
    """As `evaluations`, of the matrix-free solver, a share of them."""
    count, call, timed = EVALUATIONS[case, "Krylov"], products(case), 1000

    def run() -> None:
        for _ in range(timed):
            call()

    return Built(run, share=timed / count, note=f"{count:,} evaluations, {timed:,} timed")
