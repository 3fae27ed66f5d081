"""Exact in-context loss of softmax heads at finite (d, L), with no expansion in 1/L or 1/d.

Notation ([S], arXiv:2402.19442; the results are our derivation and in neither paper): tokens
x_l ~ N(0, I), l = 1…L, query q ~ N(0, I); head h has equal weights ω̄ on block J of d entries and
none elsewhere, so its scores are s_l = ω̄ q_Jᵀ x_{l,J}, p = softmax(s), and it adds
μ_i Σ_l p_l y_{i,l} to output i. The loss is Σ_i E(ŷ_i − g_iᵀ q_{J_i})², without ½.

Let r = ‖q_J‖ and

    P = E Σ p²,   A = E r² Σ p²,   B = E r² Σ p³.

Gaussian integration by parts over the tokens gives E[Σ p x | q] = ω̄ q_J (1 − Σ p²), and once more,
then over r, E‖Σ p x_J‖² = A + ω̄² (d − 3A + 2B). So with m = μ ω̄ a task with its own head has

    loss/λ = d (1 − m)² + A (μ² + 2m − 3m²) + 2 m² B + μ² P σ²/λ.

Given r the scores are i.i.d. N(0, ω̄² r²); their power sums and the average over r ~ χ_d are
integrals of one and two dimensions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from numerics import _check
from numerics._guard import guarded
from numerics.multitask import MultiTask
from numerics.softmax._quadrature import power_sums, radial_rule

Array = NDArray[np.float64]

STEPS = (0.27, 0.2, 0.14)  # of the trapezoidal rules, coarse to fine
ROUNDING = 1e-12  # relative, of P, A and B: L-th powers and sums of some hundred terms
CONVERGED = "converged"
_LONGEST = 10**12


@dataclass(frozen=True)
class AttentionMoments:
    """Moments of one head's attention weights p over tokens and query.

    Attributes
    ----------
    participation : float
        P = E Σ p²; L·P = 1 for uniform attention, L when one token takes all.
    score_mean : float
        E Σ p s.
    score_square : float
        E (Σ p s)².
    query_participation : float
        A = E ‖q_J‖² Σ p².
    query_cubes : float
        B = E ‖q_J‖² Σ p³.
    error : float
        Largest relative error of these (absolute of one that is 0), estimated by refining every
        grid.
    status : str
        ``"converged"``, or that the quadrature did not reach its tolerance.
    """

    participation: float
    score_mean: float
    score_square: float
    query_participation: float
    query_cubes: float
    error: float
    status: str


@dataclass(frozen=True)
class ExactLoss:
    """A loss by quadrature, with an estimate of its absolute error and how it ended."""

    value: float
    error: float
    status: str


def averages(
    omega_bar: float, block_dim: int, context_length: int, step: float
) -> tuple[Array, Array]:
    """P, A, B, their derivatives by ln ω̄, and E(Σps)²/ω̄², (7,); then the same of |integrands|.

    As a P_k'(a) = r dP_k/dr at a = ω̄ r, the derivatives are integrals by parts over
    r ~ r^{d−1} e^{−r²/2}: E[r^n a P_k'] = E[r^n (r² − d − n) P_k].
    """
    d, L = block_dim, context_length
    if L == 1:
        exact = np.array([1.0, d, d, 0.0, 0.0, 0.0, d])
        return exact, exact
    r2, weights = radial_rule(d, step)
    second, third = power_sums(abs(omega_bar) * np.sqrt(r2), L, step)
    spread = omega_bar * omega_bar * r2**2 * (1 - 3 * second + 2 * third)
    rows = [second, r2 * second, r2 * third]
    rows += [(r2 - d) * second, r2 * (r2 - d - 2) * second, r2 * (r2 - d - 2) * third]
    rows += [r2 * (r2 - d - 1) * second + spread]
    integrands = np.stack(rows)
    return integrands @ weights, np.abs(integrands) @ weights


@guarded
def attention_moments(
    omega_bar: float, block_dim: int, context_length: int, *, rtol: float = 1e-9
) -> AttentionMoments:
    """Moments of the attention of a head with equal weights ω̄ on one block.

    E Σ p s = ω̄² (d − A) and, with P_k(a) = E[Σ p^k | ω̄ r = a],
    E (Σ p s)² = ω̄² E[r² P_2 (r² − d − 1) + ω̄² r⁴ (1 − 3 P_2 + 2 P_3)]. Both cancel when attention
    is saturated: from ω̄ of some hundreds they lose digits, as the error tells.

    Parameters
    ----------
    omega_bar : float
        ω̄, of either sign; ‖ω‖² = d ω̄².
    block_dim : int
        d, the number of entries of the block.
    context_length : int
        L, the number of context pairs; the query is not one of them.
    rtol : float
        Wanted relative error.

    Raises
    ------
    ValueError, TypeError
        If a size is no integer of at least 1, ω̄ is not finite or rtol is not positive.

    Examples
    --------
    >>> uniform = attention_moments(0.0, 5, 100)
    >>> round(100 * uniform.participation, 9), uniform.status
    (1.0, 'converged')
    >>> sharp = attention_moments(50.0, 5, 100)
    >>> bool(0.9 < sharp.participation < 1.0)
    True
    """
    omega, d, L = _head(omega_bar, block_dim, context_length)
    rtol = _check.real("rtol", rtol, above=0.0)

    def named(step: float) -> tuple[Array, Array]:
        m, size = averages(omega, d, L, step)
        square = omega * omega
        values = np.array([m[0], square * (d - m[1]), square * m[6], m[1], m[2]])
        return values, np.array([m[0], square * (d + m[1]), square * size[6], m[1], m[2]])

    values, _, relative = _refine(named, rtol)
    P, mean, square, A, B = values.tolist()
    return AttentionMoments(P, mean, square, A, B, relative, _status(relative, rtol))


@guarded
def exact_task_loss(
    omega_bar: float,
    mu: float,
    block_dim: int,
    signal: float,
    context_length: int,
    *,
    noise: float = 0.0,
    rtol: float = 1e-9,
) -> ExactLoss:
    """Loss of one task served by its own head alone (the formula at the top of the module).

    Parameters
    ----------
    omega_bar, block_dim, context_length, rtol
        As in `attention_moments`.
    mu : float
        μ, the head's output weight for the task.
    signal : float
        λ > 0, the variance of each entry of g.
    noise : float
        σ, the standard deviation of the noise on the context's labels.

    Raises
    ------
    ValueError, TypeError
        As `attention_moments` does, or if μ is not finite, λ is not positive or σ < 0.

    Examples
    --------
    One pair only: p = 1, and the prediction does not depend on the query.

    >>> exact_task_loss(1.0, 0.5, 3, 2.0, 1, noise=1.0).value == 2.0 * (3 + 0.25 * (3 + 1 / 2.0))
    True
    """
    dims = (_check.count("block_dim", block_dim),)
    lam = _check.real("signal", signal, above=0.0)
    task = MultiTask(dims, lam, context_length, noise=noise)
    return exact_loss([omega_bar], [_check.real("mu", mu)], task, rtol=rtol)


@guarded
def exact_loss(
    omega_bar: ArrayLike, mu: ArrayLike, task: MultiTask, *, rtol: float = 1e-9
) -> ExactLoss:
    """Loss summed over tasks, where head h has equal weights ω̄_h on block h and none elsewhere.

    A head on another block has p independent of X_{J_i}, and E[p_h | X_{J_i}, q_{J_i}] = 1/L, so
    to the loss of task i they add exactly

        (λ_i d_i + σ²) [ Σ_{h≠i} (μ_i^h)² E Σ p_h² + (1/L) Σ_{h≠h'} μ_i^h μ_i^{h'} ],

    the last sum over all ordered pairs, head i among them.

    Parameters
    ----------
    omega_bar : (H,)
        ω̄_h. H <= I; heads that share a block, or have several, are not covered: see
        `icl_loss_monte_carlo`.
    mu : (H,) or (H, I)
        μ_i^h; a vector is task-allocated, μ_i^h = μ_h δ_{hi}.
    task : MultiTask
        Block sizes d_i, L, λ_i and σ.
    rtol : float
        Wanted error relative to the loss.

    Raises
    ------
    ValueError, TypeError
        If shapes do not fit the task, a weight is not finite or rtol is not positive.

    Examples
    --------
    >>> task = MultiTask((10, 20), 1.0, context_length=100)
    >>> result = exact_loss([0.3, 0.2], [0.0, 0.0], task)
    >>> result.value, result.status
    (30.0, 'converged')
    """
    omega = _check.floating_array("omega_bar", omega_bar, 1).astype(np.float64)
    weights = _check.floating_array("mu", mu, (1, 2)).astype(np.float64)
    rtol = _check.real("rtol", rtol, above=0.0)
    checked_length(task.context_length)
    heads = len(omega)
    if heads > task.outputs:
        raise ValueError(f"omega_bar has {heads} heads, but there are {task.outputs} blocks")
    _check.same_length("the number of heads in mu", len(weights), "omega_bar", heads)
    if weights.ndim == 1:
        weights = np.pad(np.diag(weights), ((0, 0), (0, task.outputs - heads)))
    _check.same_length("the number of tasks in mu", weights.shape[1], "task", task.outputs)

    def total(step: float) -> tuple[Array, Array]:
        kinds = [(abs(w), d) for w, d in zip(omega.tolist(), task.block_dims, strict=False)]
        known = {kind: averages(*kind, task.context_length, step)[0] for kind in set(kinds)}
        terms = _terms(weights, omega, np.array([known[kind] for kind in kinds]), task)
        return np.array([terms.sum()]), np.array([np.abs(terms).sum()])

    value, error, relative = _refine(total, rtol)
    return ExactLoss(float(value[0]), float(error[0]), _status(relative, rtol))


def _terms(mu: Array, omega: Array, moments: Array, task: MultiTask) -> Array:
    """Every term of the loss of every task, so that their cancellation can be told."""
    heads, L = len(omega), task.context_length
    d = np.array(task.block_dims)
    signal = np.asarray(task.signal)
    own = np.zeros(task.outputs)
    own[:heads] = np.diagonal(mu)
    m = own.copy()
    m[:heads] *= omega
    P, A, B = np.zeros((3, task.outputs))
    P[:heads], A[:heads], B[:heads] = moments.T[:3]
    energy = signal * d + task.noise**2
    others = (mu**2 * P[:heads, None]).sum(axis=0) - own**2 * P
    pairs = (mu.sum(axis=0) ** 2 - (mu**2).sum(axis=0)) / L
    terms = [signal * d * (1 - m) ** 2, signal * A * own**2, signal * A * 2 * m]
    terms += [-3 * signal * A * m**2, 2 * signal * B * m**2, task.noise**2 * own**2 * P]
    return np.stack([*terms, energy * others, energy * pairs])


def _refine(
    evaluate: Callable[[float], tuple[Array, Array]], rtol: float
) -> tuple[Array, Array, float]:
    """Refine values and the sums of |terms| behind them until each is known to rtol.

    Returns the values, their errors, and the largest error relative to its value.
    """
    with np.errstate(over="ignore", invalid="ignore"):  # the status tells of NaN
        before = evaluate(STEPS[0])[0]
        for step in STEPS[1:]:
            values, scale = evaluate(step)
            error = np.abs(values - before) + ROUNDING * scale
            worst = float(np.max(error / np.where(values == 0, 1.0, np.abs(values))))
            if worst <= rtol:
                break
            before = values
    return values, error, worst


def _status(error: float, rtol: float) -> str:
    if error <= rtol:
        return CONVERGED
    return f"quadrature did not reach tolerance: reached {error:.1e}"


def _head(omega_bar: float, block_dim: int, context_length: int) -> tuple[float, int, int]:
    return (
        _check.real("omega_bar", omega_bar),
        _check.count("block_dim", block_dim),
        checked_length(context_length),
    )


def checked_length(context_length: int) -> int:
    """L, which the quadrature can tell from L + 1 in floating point."""
    if _check.count("context_length", context_length) > _LONGEST:
        raise ValueError(f"context_length must be <= {_LONGEST:.0e}, got {context_length}")
    return context_length
