"""The reduced flows of one softmax head on its own task ([S] Fig. 3).

One balanced head with equal weights ω̄ on the d_i entries of its task, zero elsewhere, and μ on its
label has the loss, in the notation of `numerics.softmax.spectral`,

    ℓ = λ d_i {1 − 2μω̄ + μ²ω̄² + (φ/L) μ² E},    E = exp(d_i ω̄²),

and in [S]'s time, dθ/dt = −∂ℓ/∂θ on o = v and k = q,

    μ̇ = 4λ d_i μ [ω̄ − μ(ω̄² + φE/L)],    ω̄̇ = (4λ/√d_e) μω̄ [1 − μω̄(1 + φ d_i E/L)].

In the warm-up, where the brackets are ω̄ and 1, μ − d_i √d_e ω̄ is conserved. Then μ follows
μ_eq(ω̄) = ω̄/(ω̄² + φE/L), which leaves one equation, that of emergence:

    ω̄̇ = (4λ/√d_e) ω̄² (φE/L) (1 − d_i ω̄²)/(ω̄² + φE/L)².

Both are our derivation.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from numerics import _check, _plot
from numerics._guard import guarded

Array = NDArray[Any]

_ANY = tuple(range(9))  # axes
_MOST = 1e6  # of a weight at the start; the solver does not return from much larger ones


@dataclass(frozen=True, eq=False)
class ReducedRun:
    """A run of a reduced flow: t in [S]'s time, ω̄, μ and ℓ, (T,) each, and how it ended."""

    t: Array
    omega_bar: Array
    mu: Array
    loss: Array
    status: str

    def __repr__(self) -> str:
        return (
            f"ReducedRun({self.status}, t={self.t[0]:g}…{self.t[-1]:g}, {len(self.t)} points, "
            f"loss {self.loss[0]:.6g} → {self.loss[-1]:.6g})"
        )

    def plot(self, ax: Any = None, **style: Any) -> Any:
        """Draw the loss over [S]'s time into `ax` or new axes; return the axes.

        Early points, but t = 0, are left out as `Trajectory.plot` does.

        >>> from matplotlib.figure import Figure
        >>> run = ReducedHead(10, 1.0, 100, embedding_dim=30).flow(0.01, 1.0, 50.0)
        >>> run.plot(Figure().subplots(), color="black").get_ylabel()
        'loss  ℓ'
        """
        ax = _plot.axes(ax, _plot.time_label(_plot.PAPER_TIME), "loss  ℓ")
        _plot.curve(ax, *_plot.visible(self.t, self.loss), style)
        return ax


@dataclass(frozen=True)
class ReducedHead:
    """One balanced head on one task.

    Parameters
    ----------
    block_dim, context_length, embedding_dim : int
        d_i, L and d_e, at least 1.
    signal : float
        λ > 0.
    noise : float
        σ ≥ 0; φ = 1 + σ²/(λ d_i).

    Raises
    ------
    ValueError, TypeError
        If a size is not an integer of at least 1, λ is not positive or σ is negative.

    Examples
    --------
    >>> head = ReducedHead(block_dim=10, signal=1.0, context_length=100, embedding_dim=30)
    >>> run = head.flow(0.01, 1.0, 200.0)
    >>> (run.omega_bar[-1] * np.sqrt(10)).round(6).item(), run.loss[-1].round(4).item()
    (1.0, 2.1373)
    """

    block_dim: int
    signal: float
    context_length: int
    embedding_dim: int
    noise: float = field(default=0.0, kw_only=True)

    def __post_init__(self) -> None:
        for name in ("block_dim", "context_length", "embedding_dim"):
            _check.count(name, getattr(self, name))
        object.__setattr__(self, "signal", _check.real("signal", self.signal, above=0.0))
        object.__setattr__(self, "noise", _check.real("noise", self.noise, at_least=0.0))

    @property
    def noise_factor(self) -> float:
        """φ."""
        return 1 + self.noise**2 / (self.signal * self.block_dim)

    @guarded
    def spread(self, omega_bar: ArrayLike) -> Array:
        """φE/L: the noise of the head's average over the context, at μ = 1, per λ d_i."""
        return self._spread(_check.floating_array("omega_bar", omega_bar, _ANY))

    def _spread(self, omega_bar: Array) -> Array:
        exponent = self.block_dim * np.square(omega_bar)
        return np.asarray(self.noise_factor * np.exp(exponent) / self.context_length)

    @guarded
    def loss(self, omega_bar: ArrayLike, mu: ArrayLike) -> Array:
        """ℓ of the task."""
        w = _check.floating_array("omega_bar", omega_bar, _ANY)
        m = _check.floating_array("mu", mu, _ANY)
        if m.ndim and w.ndim and m.shape != w.shape:
            raise ValueError(f"omega_bar and mu must have one shape, got {w.shape} and {m.shape}")
        return np.asarray(
            self.signal * self.block_dim * ((1 - m * w) ** 2 + m**2 * self._spread(w))
        )

    def velocity(self, omega_bar: Array, mu: Array) -> tuple[Array, Array]:
        """(ω̄̇, μ̇) in [S]'s time."""
        noise, d = self._spread(omega_bar), self.block_dim
        by_omega = 1 - mu * omega_bar * (1 + d * noise)
        by_mu = omega_bar - mu * (omega_bar**2 + noise)
        fast = 4 * self.signal / np.sqrt(self.embedding_dim)
        return fast * mu * omega_bar * by_omega, 4 * self.signal * d * mu * by_mu

    @guarded
    def equilibrium(self, omega_bar: ArrayLike) -> Array:
        """μ_eq(ω̄), where μ̇ = 0."""
        w = _check.floating_array("omega_bar", omega_bar, _ANY)
        return np.asarray(w / (w**2 + self._spread(w)))

    def emergence_rate(self, omega_bar: Array) -> Array:
        """ω̄̇ at μ = μ_eq(ω̄)."""
        noise = self._spread(omega_bar)
        missing = noise * (1 - self.block_dim * omega_bar**2)
        rate = 4 * self.signal / np.sqrt(self.embedding_dim)
        return np.asarray(rate * omega_bar**2 * missing / (omega_bar**2 + noise) ** 2)

    @guarded
    def flow(
        self, omega_bar: float, mu: float, duration: float, *, times: ArrayLike | None = None
    ) -> ReducedRun:
        """Integrate (ω̄, μ) from t = 0; `times` are the solver's own steps if left out.

        Raises
        ------
        ValueError, TypeError
            If ω̄ or μ is negative, or a time is out of range.
        """
        start = [_start("omega_bar", omega_bar), _start("mu", mu)]
        t, y, status = _integrate(lambda y: np.array(self.velocity(*y)), start, duration, times)
        return ReducedRun(t, y[0], y[1], self.loss(*y), status)

    @guarded
    def emergence(
        self, omega_bar: float, duration: float, *, times: ArrayLike | None = None
    ) -> ReducedRun:
        """Integrate the one equation of emergence from ω̄ at t = 0; μ is μ_eq(ω̄).

        Raises
        ------
        ValueError, TypeError
            As `flow` does.
        """
        start = [_start("omega_bar", omega_bar)]
        t, (w,), status = _integrate(self.emergence_rate, start, duration, times)
        m = self.equilibrium(w)
        return ReducedRun(t, w, m, self.loss(w, m), status)


def _start(name: str, value: Any) -> float:
    number = _check.real(name, value, at_least=0.0)
    if number > _MOST:
        raise ValueError(f"{name} must be <= {_MOST:g}, got {number:g}")
    return number


def _integrate(
    velocity: Callable[[Array], Array], start: list[float], duration: float, times: Any
) -> tuple[Array, Array, str]:
    """Integrate by an implicit method: μ is faster than ω̄ by d_i √d_e."""
    from scipy.integrate import solve_ivp

    end = _check.real("duration", duration, above=0.0)
    if times is not None:
        times = _check.floating_array("times", times, 1)
        if times[0] < 0 or times[-1] > end or not (np.diff(times) > 0).all():
            raise ValueError(f"times must increase within [0, {end:g}], got {times}")
    result = solve_ivp(
        lambda _t, y: velocity(y), (0.0, end), start, method="LSODA", t_eval=times,
        rtol=1e-10, atol=1e-14,
    )  # fmt: skip
    return result.t, result.y, "finished" if result.success else f"stopped: {result.message}"


__all__ = ["ReducedHead", "ReducedRun"]
