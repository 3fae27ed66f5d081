"""The row of an ensemble: 1,000 seeds of one flow at once."""

from __future__ import annotations

import numpy as np

import gpu
from benchmarking import by_jax, by_numba
from benchmarking.base import Array, Built, Entry, Growth, Row
from benchmarking.case import ATOL, RTOL, Case
from gpu._arrays import rows_last

LOCKSTEP = (
    "each seed runs alone in compiled loops, its weights in the first cache; ours steps all seeds "
    "by NumPy calls, which write every intermediate array, and integrates the energy as well"
)
EVALUATIONS: dict[Case, float] = {}  # of a row in the last run of each case
SHARED = 20  # evaluations of all rows that the floor times


def rows(quick: bool) -> list[Row | Growth]:
    """The ensemble."""
    seeds, duration = (20, 500.0) if quick else (1000, 21_050.0)
    return [ensemble(Case(4, 4, 1, 1e-1 if quick else 1e-2, duration, seeds))]


def flow(case: Case, method: str = "auto", rtol: float = RTOL) -> gpu.Ensemble:
    """Ours, on NumPy."""
    run = gpu.gradient_flow(
        case.model, gpu.stack_moments([case.task]), case.initial, case.duration, times=case.times,
        method=method, rtol=rtol, atol=ATOL,
    )  # fmt: skip
    EVALUATIONS[case] = float(np.mean(run.evaluations))
    return run


def floor(case: Case) -> Built:
    """As many bare right-hand sides of all rows, seeds last, as ours evaluates of each row."""
    count = EVALUATIONS[case]
    state = np.ascontiguousarray(rows_last(case.start))
    C, W = case.form.correlation[..., None], case.form.weights[..., None]
    H, D, B = case.heads, case.dimension, case.seeds
    v, k, q = state[:H], state[H : H + H * D].reshape(H, D, B), state[H + H * D :].reshape(H, D, B)

    def run() -> None:
        for _ in range(SHARED):
            vk = v[:, None] * k
            G = C - W * np.einsum("hib,hjb->ijb", vk, q)
            Gq = np.einsum("ijb,hjb->hib", G, q)
            np.einsum("hib,hib->hb", k, Gq)
            Gq *= v[:, None]
            np.einsum("hib,ijb->hjb", vk, G)

    note = f"{count:,.0f} evaluations of each row, {SHARED} timed"
    return Built(run, share=SHARED / count, note=note)


def ensemble(case: Case) -> Row:
    """Many seeds."""

    def ours(method: str) -> Entry:
        label = f'`gpu.gradient_flow` on NumPy, method="{method}"'
        return Entry(label, "ours", lambda: Built(lambda: flow(case, method).loss[:, -1]))

    def reference() -> Array:
        return np.asarray(flow(case, "explicit", 1e-10).loss[:, -1])

    return Row(
        "ensemble",
        f"{case.seeds:,} seeds at once, D = 4, H = 4, R = 1",
        f"λ = 0.4, 0.3, 0.2, 0.1, N = 31, weights N(0, {case.scale:g}²), to t = "
        f"{case.duration:,.0f}, the whole cascade, final losses alone, rtol {RTOL:g}, "
        f"atol {ATOL:g}, errors controlled for each seed",
        [
            ours("auto"),
            *(
                Entry(
                    f"JAX and diffrax, vmap of Tsit5, gradient {how}",
                    "theirs",
                    lambda how=how: by_jax.flow(case, how),  # type: ignore[misc]
                    by_jax.NEEDS,
                    LOCKSTEP,
                )
                for how in ("autodiff", "by hand")
            ),
            Entry(
                "Numba, 5(4) pair in loops, a seed after another",
                "theirs",
                lambda: by_numba.flow(case),
                by_numba.NEEDS,
                LOCKSTEP,
            ),
            Entry("the bare right-hand sides of its evaluations", "floor", lambda: floor(case)),
        ],
        reference=reference,
        tolerance=1000 * RTOL,
        argument="1,000 times rtol: what a thousand steps that err by rtol each add up to",
        repeats=3,
        budget=60.0,
    )
