"""A whole cascade of ATTN_S from H(1+D) scalars, whatever the rank: when each drop comes.

In the common eigenbasis of Λ and Ω the residual is G = C − S M Λ with C = diag(growth),
growth_d = λ_d² ω_d, and (S M Λ)_dd = curvature_d M_dd, curvature_d = s_d λ_d. With
p = (k+q)/√2 and n = (k−q)/√2 the flow ([L] Eq. 14 at R=1), at any rank, reads for diagonal G

    τ ṗ_hrd = v_h g_d p_hrd,   τ ṅ_hrd = −v_h g_d n_hrd,   τ v̇_h = ½ Σ_rd g_d (p² − n²)_hrd.

All pairs of a head gain the same exponent, p_hrd(t) = p_hrd(0) e^{E_hd}, so R drops out:

    τ Ė_hd = v_h g_d,   τ v̇_h = ½ Σ_d g_d (P_hd e^{2E_hd} − N_hd e^{−2E_hd}),
    g_d = growth_d − curvature_d m_d,   m_d = M_dd = ½ Σ_h v_h (P_hd e^{2E_hd} − N_hd e^{−2E_hd}),

with the constants P_hd = Σ_r p_hrd(0)², N_hd = Σ_r n_hrd(0)². It conserves
v_h² − ½ Σ_d (P e^{2E} + N e^{−2E}). It is exact for aligned weights, and while M is negligible.

**What it leaves out, and the rule in its place.** Once a head has learned mode j it holds
M_jj ≈ v p_j·p_j/2, and the component of p_d along p_j (vectors over r) makes M_jd and M_dj, which
the loss penalises. Linearised about the learned mode, the parallel part (k_d, q_d) decays if
and only if growth_j²/curvature_j > growth_d²/curvature_d: mode j lowers the loss by more than d
would. The part orthogonal to p_j in R-space is not penalised and grows on at the rate v_h g_d. So:
when m_d reaches a quarter of its target, the head that contributes most to it *occupies* the
direction u of its p_{h·d} (of n if v_h < 0, where that is what grows), and its components along u
for all modes not yet learned are dropped. A head with R occupied directions is full. Within a
degenerate eigenspace the basis is first turned to the singular vectors of the head that wins it.

**Error**, for weights of scale ε → 0, by counting powers: drops are at t ~ τ/ε. A head that
saturates still carries other components of size ε^{1−g_d/g_j}. On the head itself they act at
second order for a time O(1): a relative error ε^{3−2g_d/g_j} of the first drop. The off-diagonal
G that they make kicks the small heads: ε^{2−g_d/g_j} for later drops (g: growth of consecutive
modes). With the kick of the first drop taken out of the full flow, 90 to 99.8 % of the error of
the second is gone. It is large when another head is about to rise at the moment of a drop.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from numerics import _check
from numerics._guard import guarded
from numerics.cascade.record import Cascade
from numerics.cascade.run import CascadeRun
from numerics.cascade.stages import Heads, Stage, crossing
from numerics.moments import population_moments
from numerics.separate import SeparateAttention
from numerics.tasks import Task

Array = NDArray[Any]

# Beyond these the solver's steps are lost in rounding, and it never returns.
_MOST = 1e50  # of a rate or a weight
_LEAST = 1e-100  # of a duration
_HEAVIEST = 100.0  # of a first weight, in units of the weights that a mode ends with
_LIGHTEST = 1e-10  # of the largest first weight, in the same units


@guarded
def reduced_cascade(
    model: SeparateAttention,
    growth: ArrayLike,
    curvature: ArrayLike,
    initial: ArrayLike,
    duration: float | None = None,
    *,
    energy: float = 0.0,
    tau: float = 1.0,
    times: ArrayLike | None = None,
    rtol: float = 1e-8,
) -> Cascade:
    """Predict the drops of ATTN_S from its small initial weights, at any rank.

    `τ Ė_hd = v_h g_d`, `τ v̇_h = ½ Σ_d g_d (P e^{2E} − N e^{−2E})_hd` between drops; at each, the
    winning head's direction is occupied (equations and rule at the top of the module). For a task
    of `LinearTask` there is `task_cascade`.

    Parameters
    ----------
    model : SeparateAttention
        Gives H, R, D; the cost depends on H and D only.
    growth, curvature : (D,)
        λ_d² ω_d ≥ 0 and s_d λ_d > 0.
    initial : (size,)
        θ(0) in the eigenbasis (`model.rotate`).
    duration : float, optional
        Flow time, > 0; by default until every mode that can be learned is.
    energy : float
        tr(ΩΛ), the loss of predicting zero; shifts the loss, not the drops.
    tau : float
        τ > 0.
    times : (T,), optional
        Increasing times to record; by default the solver's own steps. Drop times do not
        depend on it.
    rtol : float
        Relative tolerance on exponents and values; drop times follow to within 50 rtol.

    Returns
    -------
    Cascade

    Raises
    ------
    ValueError, TypeError
        If a size, a sign or a time is out of range, or the largest first weight is no 0 and outside
        1e-10 to 100 times the weights (growth/curvature)^{1/3} of a learned mode. A mode that is
        not learned is no error.

    Notes
    -----
    Worst relative error of a run's drop times against the full flow, median over ten draws of
    weights N(0, ε²), λ = (0.4, 0.3, 0.2, 0.1), N = 31, H = 4: at ε = 1e-2, 1e-3, 1e-4

        R = 1: 2e-2, 6e-4, 2e-5;   R = 2: 4e-3, 1e-4, 3e-6;   R = 4: 8e-5, 2e-6, 1e-7.

    A draw in which two heads rise together can be ten times worse.

    Examples
    --------
    One head, one mode, aligned: the flow itself, τ v̇ = v²(growth − curvature v³) ([L] Eq. 21).

    >>> model = SeparateAttention(dimension=1, heads=1)
    >>> cascade = reduced_cascade(model, [1.0], [1.0], [0.01, 0.01, 0.01])
    >>> cascade.learned, round(float(cascade.drop_times[0]), 2), round(float(cascade.v[-1, 0]), 4)
    ((0,), 98.75, 1.0)
    """
    rates, bends, theta = _validated(model, growth, curvature, initial)
    tau = _check.real("tau", tau, above=0.0)
    rtol = max(_check.real("rtol", rtol, above=0.0), 100 * float(np.finfo(float).eps))
    if duration is not None:
        duration = _check.real("duration", duration, above=0.0)
    v, k, q = model.unpack(theta)
    heads = Heads(v, (k + q) / math.sqrt(2), (k - q) / math.sqrt(2))
    stop = None if duration is None else duration / tau
    if stop is not None and stop < _LEAST:
        raise ValueError(f"duration must be >= {_LEAST:g} tau, got {stop:g} tau")
    run = CascadeRun(heads, rates, bends, stop, rtol)
    run.integrate()
    return _assemble(run, _check.real("energy", energy), tau, times)


@guarded
def task_cascade(
    model: SeparateAttention,
    task: Task,
    initial: ArrayLike,
    duration: float | None = None,
    *,
    tau: float = 1.0,
    times: ArrayLike | None = None,
    rtol: float = 1e-8,
) -> Cascade:
    """`reduced_cascade` on a task's population, from weights in the caller's coordinates.

    Modes are numbered by falling growth λ_d² ω_d.

    Raises
    ------
    ValueError
        If Λ, ΛΩΛ and S = E[ββᵀ] have no common eigenbasis (for Gaussian tokens: if Λ and Ω do
        not commute), and as in `reduced_cascade`.

    Examples
    --------
    >>> from numerics.tasks import LinearTask
    >>> task = LinearTask.from_eigenvalues([0.4, 0.3, 0.2, 0.1], 31, rng=0)
    >>> model = SeparateAttention(dimension=4, heads=4, rank=2)
    >>> cascade = task_cascade(model, task, model.initial_weights(1e-3, rng=0))
    >>> cascade.learned, len(set(cascade.heads)), cascade.plateaus.round(3).tolist()
    ((0, 1, 2, 3), 2, [1.0, 0.641, 0.377, 0.21, 0.136])
    """
    basis, growth, curvature, energy = _eigenproblem(task)
    _check.same_length("the dimension of model", model.dimension, "task", len(growth))
    theta = model.rotate(_validated(model, growth, curvature, initial)[2], basis, basis)
    return reduced_cascade(
        model, growth, curvature, theta, duration, energy=energy, tau=tau, times=times, rtol=rtol
    )


def _validated(
    model: SeparateAttention, growth: ArrayLike, curvature: ArrayLike, initial: ArrayLike
) -> tuple[Array, Array, Array]:
    rates = _check.floating_array("growth", growth, 1)
    bends = _check.floating_array("curvature", curvature, 1)
    theta = _check.floating_array("initial", initial, 1)
    for name, found, wanted in (
        ("growth", rates, model.dimension),
        ("curvature", bends, model.dimension),
        ("initial", theta, model.size),
    ):
        _check.same_length(f"the length of {name}", len(found), "the model", wanted)
    if (rates < 0).any():
        raise ValueError(f"growth must be >= 0, got a smallest of {rates.min():.3g}")
    if (bends <= 0).any():
        raise ValueError(f"curvature must be > 0, got a smallest of {bends.min():.3g}")
    for name, numbers in (("growth", rates), ("curvature", bends), ("initial", theta)):
        if np.abs(numbers).max() > _MOST:
            raise ValueError(f"{name} must be at most {_MOST:g}: rescale the tokens or the time")
    # Beyond, g_d is the difference of terms so large that its roundings exceed the tolerance.
    learned = float(np.cbrt((rates if rates.any() else 1.0) / bends).max())
    largest = float(np.abs(theta).max())
    sizes = f"the weights of a learned mode, (growth/curvature)^(1/3) <= {learned:.3g}"
    if largest > _HEAVIEST * learned:
        raise ValueError(
            f"initial must be small: at most {_HEAVIEST:g} times {sizes}, "
            f"got a largest of {largest:.3g}"
        )
    # A drop lasts about this ratio of the time before it: below, no more than that time's rounding.
    if 0 < largest < _LIGHTEST * learned:
        raise ValueError(
            f"initial must be 0 or at least {_LIGHTEST:g} times {sizes}, "
            f"got a largest of {largest:.3g}"
        )
    return rates, bends, theta


def _eigenproblem(task: Task) -> tuple[Array, Array, Array, float]:
    """Common eigenbasis (columns, by falling growth), growth, curvature and energy of a task."""
    moments = population_moments(task)
    C, S, covariance = moments.correlation, moments.second_moment, moments.covariance
    scaled = [A / np.linalg.norm(A) if A.any() else A for A in (covariance, C, S)]
    # Eigenvectors of a generic combination diagonalise all that share a basis, degenerate or not.
    basis = np.linalg.eigh(scaled[0] + math.sqrt(2) * scaled[1] + math.sqrt(3) * scaled[2])[1]
    rotated = [basis.T @ A @ basis for A in scaled]
    gap = max(float(np.abs(A - np.diag(np.diagonal(A))).max()) for A in rotated)
    if gap > 1e-8:
        raise ValueError(
            "the second moments of tokens and of task vectors must share their eigenvectors, "
            f"but off-diagonal entries of relative size {gap:.2g} remain in the best basis"
        )
    growth = np.maximum(np.diagonal(basis.T @ C @ basis), 0.0)
    curvature = np.diagonal(basis.T @ S @ basis) * np.diagonal(basis.T @ covariance @ basis)
    order = np.argsort(-growth, kind="stable")
    return basis[:, order], growth[order], curvature[order], moments.energy


def _assemble(run: CascadeRun, energy: float, tau: float, times: ArrayLike | None) -> Cascade:
    """Losses, plateaus and drop times of a finished run."""
    growth, curvature = run.growth, run.curvature

    def loss(m: Array) -> Array:
        return np.asarray(energy - np.sum((2 * growth - curvature * m) * m, axis=-1))

    unlearned = [d for d in np.argsort(-growth, kind="stable").tolist() if d not in run.learned]
    gains = growth**2 / curvature
    plateaus = energy - np.concatenate([[0.0], np.cumsum(gains[run.learned + unlearned])])
    midway = (plateaus[1:] + plateaus[:-1]) / 2
    drops = np.full(len(growth), np.inf)
    for i in range(len(run.learned)):
        drops[i] = tau * crossing(run.stages, loss, float(midway[i]))
    t, v, m = _record(run.stages, times, tau)
    overtaken = [d for d in run.learned if (gains > gains[d])[growth < growth[d]].any()]
    return Cascade(t, v, m, loss(m), tuple(run.learned), tuple(run.winners), plateaus, drops,
                   tuple(overtaken), run.status)  # fmt: skip


def _record(stages: list[Stage], times: ArrayLike | None, tau: float) -> tuple[Array, Array, Array]:
    """Times, values and mode coefficients at the solver's steps or at the times wanted."""
    if times is None:
        samples = [(s, s.t, s.y) for s in stages]
    else:
        grid = _check.floating_array("times", times, 1) / tau
        end = stages[-1].t[-1]
        if grid[0] < 0 or grid[-1] > end or not (np.diff(grid) > 0).all():
            raise ValueError(f"times must increase within [0, {tau * end:g}], got {times}")
        stage_of = np.searchsorted([s.t[-1] for s in stages[:-1]], grid)
        samples = [(s, grid[stage_of == i], s.at(grid[stage_of == i]))
                   for i, s in enumerate(stages) if (stage_of == i).any()]  # fmt: skip
    H = stages[0].equations.H
    return (
        tau * np.concatenate([t for _, t, _ in samples]),
        np.concatenate([y[:, :H] for _, _, y in samples]),
        np.concatenate([s.equations.modes(y) for s, _, y in samples]),
    )


__all__ = ["Cascade", "reduced_cascade", "task_cascade"]
