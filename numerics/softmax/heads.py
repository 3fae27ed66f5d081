"""The least spectral loss of H softmax heads over all weights (ω, μ), found numerically.

Notation as in `numerics.softmax.spectral`. The loss is quadratic in μ, which is eliminated; what is
left is a function of ω (H, d) alone, minimised by L-BFGS from random starts.

With H ≥ 2 heads the infimum may lie at ω → 0, where μ diverges: the heads' common part meets
exp⟨ω, ω'⟩ ≈ 1, so the best μ sum to nearly zero over heads, and differences of heads act as linear
attention. So we write ω = ε U, ‖U‖_F = 1, and μ_i = Q S m_i/ε with an orthonormal Q whose first
column is 1/√H and S = diag(ε, 1, …, 1). In these variables, with u = S QᵀU and
X = (exp(ε² UUᵀ) − 1)/ε² entry by entry,

    ℓ = Σ_i λ_i { d_i − 2 m_iᵀ Σ_{J_i} u_j + ‖u_{J_i}ᵀ m_i‖²
                  + (d_i φ_i/L) m_iᵀ (H e₁e₁ᵀ + S QᵀXQ S) m_i }

is smooth and even in ε and does not diverge at ε = 0: a minimum there is found like any other.
Heads beyond d + 1 have no use and stay zero: d + 1 already bring every task to its own least loss,
as exp⟨ω, ω'⟩ − ⟨ω, ω'⟩ is positive semidefinite.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from numerics import _check
from numerics._guard import guarded
from numerics._repr import OneLine
from numerics.multitask import MultiTask

Array = NDArray[np.float64]

_SMALL = 1e-4  # ε below which the loss differs from that at ε = 0 by less than 1e-8 of itself


@dataclass(frozen=True, eq=False, repr=False)
class HeadsOptimum(OneLine):
    """The best of several searches.

    Attributes
    ----------
    loss : float
        The least ℓ found; an infimum where `scale` is 0.
    scale : float
        ε = ‖ω‖_F; 0 where the loss is only approached, as ω → 0.
    direction : (H, d)
        U = ω/ε.
    gradient_norm : float
        ‖∂ℓ/∂(ε, U)‖ at the best point.
    losses : (starts,)
        Where each search ended, ascending.
    status : str
        ``"converged"``, or what L-BFGS said of the best search.
    """

    loss: float
    scale: float
    direction: Array
    gradient_norm: float
    losses: Array
    status: str
    _problem: _Problem

    @property
    def attained(self) -> bool:
        """Whether weights of finite size have this loss."""
        return self.scale > 0

    @guarded
    def weights(self, scale: float | None = None) -> tuple[Array, Array]:
        """Ω (H, d) and the best μ (H, I) for it, at ‖ω‖_F = `scale` (that found if left out).

        Raises
        ------
        ValueError
            If the scale is not > 0: where the loss is only approached, one has to be chosen.
        """
        size = _check.real("scale", self.scale if scale is None else scale, above=0.0)
        used = self._problem.heads
        mu = np.zeros((len(self.direction), self._problem.task.outputs))
        mu[:used] = self._problem.values(size, self.direction[:used])
        return size * self.direction, mu


@guarded
def optimal_heads(
    block_dims: Sequence[int],
    signal: ArrayLike,
    context_length: int,
    heads: int,
    *,
    noise: float = 0.0,
    starts: int = 8,
    rng: Any = None,
) -> HeadsOptimum:
    """Minimise the spectral loss of H heads over all ω and μ.

    Parameters
    ----------
    block_dims, signal, context_length, noise
        d_i, λ_i (one for all, or one each), L and σ, as in `MultiTask`.
    heads : int
        H ≥ 1.
    starts : int
        Searches from random ω, each of L-BFGS with a hand-written gradient.
    rng
        Of the starts.

    Raises
    ------
    ValueError, TypeError
        For a size below 1 or what `MultiTask` refuses.

    Notes
    -----
    A search is local; at L beyond 10⁹ d it may stop short of a minimum at ω → 0.

    Examples
    --------
    One head shares ‖ω‖² = 1 among its tasks; two tasks alike get half of it each. Two heads
    approach a lower loss as ω → 0.

    >>> c = 10 / 100
    >>> one = optimal_heads((10, 10), 1.0, 100, heads=1, rng=0)
    >>> bool(np.isclose(one.loss, 20 * c / (c + 0.5 / np.e))), round(one.scale, 5)
    (True, 1.0)
    >>> two = optimal_heads((10, 10), 1.0, 100, heads=2, rng=0)
    >>> bool(np.isclose(two.loss, 20 * c / (c + 0.5))), two.attained
    (True, False)
    """
    task = MultiTask(block_dims, signal, context_length, noise=noise)
    starts = _check.count("starts", starts)
    problem = _Problem(task, min(_check.count("heads", heads), task.dimension + 1))
    generator = _check.generator("rng", rng)
    found = [problem.search(generator) for _ in range(starts)]
    best = min(found, key=lambda result: result.fun)
    scale, U = problem.split(best.x)
    # L-BFGS stops near ε = 0, not on it; so small a scale is no gain over the limit.
    loss, by_scale, by_U = problem.evaluate(scale, U)
    if problem.heads > 1 and scale < _SMALL:
        scale = 0.0
        loss, by_scale, by_U = problem.evaluate(scale, U)
    if not np.isfinite(loss):
        raise OverflowError("optimal_heads: signal is too large or too small for floating point")
    norm = float(np.hypot(by_scale, np.linalg.norm(by_U - U * np.vdot(U, by_U))))
    return HeadsOptimum(
        loss=loss,
        scale=scale,
        direction=np.pad(U, ((0, heads - problem.heads), (0, 0))),
        gradient_norm=norm,
        losses=np.sort([problem.objective(result.x)[0] for result in found]),
        status="converged" if best.success else str(best.message),
        _problem=problem,
    )


class _Problem:
    """The reduced loss of a task and its derivatives by (ε, U)."""

    def __init__(self, task: MultiTask, heads: int) -> None:
        self.task, self.heads = task, heads
        self.signal = np.asarray(task.signal)
        sizes = np.array(task.block_dims)
        self.noise = sizes * np.asarray(task.noise_factor) / task.context_length
        # Q of the QR factors of (1, e_1, …, e_H): its first column is ±1/√H.
        columns = np.column_stack([np.ones(heads), np.eye(heads)])
        self.basis = np.linalg.qr(columns)[0]

    def search(self, generator: np.random.Generator) -> Any:
        """One minimisation by L-BFGS, from ‖ω‖ = (0.3 … 1.5) √H, each block with a common part.

        It ends after 3000 steps, 6000 evaluations at the latest, and remembers 20 steps.
        """
        from scipy.optimize import minimize

        shape = (self.heads, self.task.dimension)
        start = generator.standard_normal(shape)
        start += generator.standard_normal((self.heads, self.task.outputs)).repeat(
            self.task.block_dims, axis=1
        )
        scale = np.sqrt(self.heads) * generator.uniform(0.3, 1.5)
        # The least ℓ of heads to spare: tolerances count in it, whatever L is.
        unit = np.sum(self.signal * self.task.block_dims * self.noise / (1 + self.noise))
        return minimize(
            lambda x: tuple(part / unit for part in self.objective(x)),
            np.append(scale, start.ravel()),
            jac=True,
            method="L-BFGS-B",
            options={"maxiter": 3000, "maxfun": 6000, "maxcor": 20, "gtol": 1e-10, "ftol": 1e-15},
        )

    def split(self, x: Array) -> tuple[float, Array]:
        """|ε| and U with ‖U‖_F = 1."""
        V = x[1:].reshape(self.heads, -1)
        return abs(float(x[0])), V / np.linalg.norm(V)

    def objective(self, x: Array) -> tuple[float, Array]:
        """ℓ and its gradient by (ε, V), U = V/‖V‖."""
        size = np.linalg.norm(x[1:])
        scale, U = float(x[0]), x[1:].reshape(self.heads, -1) / size
        with np.errstate(over="ignore", invalid="ignore"):
            loss, by_scale, by_U = self.evaluate(scale, U)
        if not np.isfinite(loss):
            return 1e300, np.zeros_like(x)  # a line search that overflows has to come back
        by_V = (by_U - U * np.vdot(U, by_U)) / size
        return loss, np.append(by_scale, by_V.ravel())

    def _solve(self, u: Array, kernel: Array) -> tuple[float, Array]:
        """ℓ and m (H, I) at u = S QᵀU and the kernel in the same basis."""
        m, loss = np.empty((self.heads, len(self.signal))), 0.0
        # Idle heads make what is solved singular: it gets a ridge above its rounding. And they may
        # be read out at large m: the kernel's rounding, at its largest, keeps ℓ above the infimum.
        rounding = 4 * self.heads * np.spacing(np.trace(kernel))
        for i, block in enumerate(self.task.blocks):
            part = u[:, block]
            total = part.sum(axis=1)
            matrix = part @ part.T + self.noise[i] * kernel
            matrix += self.heads * np.spacing(np.trace(matrix)) * np.eye(self.heads)
            m[:, i] = read = np.linalg.solve(matrix, total)
            left = 1 - read @ part
            spread = read @ kernel @ read + rounding * (read @ read)
            loss += float(self.signal[i] * (left @ left + self.noise[i] * spread))
        return loss, m

    def _stretch(self, scale: float) -> Array:
        return np.append(scale, np.ones(self.heads - 1))

    def _kernel(self, scale: float, gram: Array) -> tuple[Array, Array]:
        """X in the basis Q, and the kernel H e₁e₁ᵀ + S QᵀXQ S."""
        x = scale**2 * gram
        ratio = np.expm1(x) / scale**2 if scale else gram
        inner = self.basis.T @ ratio @ self.basis
        stretch = self._stretch(scale)
        kernel = stretch[:, None] * inner * stretch
        kernel[0, 0] += self.heads
        return inner, kernel

    def values(self, scale: float, U: Array) -> Array:
        """The best μ (H, I) for ω = ε U, ε > 0."""
        stretch = self._stretch(scale)
        _, kernel = self._kernel(scale, U @ U.T)
        m = self._solve(stretch[:, None] * (self.basis.T @ U), kernel)[1]
        return np.asarray(self.basis @ (stretch[:, None] * m) / scale)

    def evaluate(self, scale: float, U: Array) -> tuple[float, float, Array]:
        """ℓ and its derivatives by ε and by U, at the best m (envelope theorem)."""
        gram, stretch = U @ U.T, self._stretch(scale)
        inner, kernel = self._kernel(scale, gram)
        turned = self.basis.T @ U
        try:
            loss, m = self._solve(stretch[:, None] * turned, kernel)
        except np.linalg.LinAlgError:
            return np.inf, 0.0, np.zeros_like(U)
        spread = m.repeat(self.task.block_dims, axis=1)
        weight = self.signal.repeat(self.task.block_dims)
        gain = (spread * stretch[:, None] * turned).sum(axis=0)
        by_u = 2 * weight * spread * (gain - 1)
        pull = (m * self.signal * self.noise) @ m.T
        by_ratio = self.basis @ (stretch[:, None] * pull * stretch) @ self.basis.T
        x = scale**2 * gram
        by_U = self.basis @ (stretch[:, None] * by_u) + 2 * (by_ratio * np.exp(x)) @ U
        by_scale = by_u[0] @ turned[0] + 2 * (pull[0] * stretch) @ inner[:, 0]
        by_scale += 2 * scale * np.vdot(by_ratio, gram**2 * _curve(x))
        return loss, float(by_scale), by_U


def _curve(x: Array) -> Array:
    """(x eˣ − eˣ + 1)/x², = 1/2 + x/3 + x²/8 + … near 0."""
    near = np.abs(x) <= 1e-3
    safe = np.where(near, 1.0, x)
    exact = (safe * np.exp(safe) - np.expm1(safe)) / safe**2
    return np.asarray(np.where(near, 0.5 + x / 3 + x**2 / 8 + x**3 / 30, exact))


__all__ = ["HeadsOptimum", "optimal_heads"]
