"""[S]'s spectral flow: multi-head softmax attention with decomposable weights.

Notation ([S] §3, arXiv:2402.19442): head h has combined weights ω^h = k q/√d_e, one for each of the
d token entries, and μ^h = o v, one for each of the I tasks; task i sees the d_i entries J_i, with
signal λ_i, noise σ and φ_i = 1 + σ²/(λ_i d_i). To leading order in 1/L and 1/d ([S] Lemma 2; our
derivation) the loss of in-context learning is

    ℓ = Σ_i { λ_i d_i − 2λ_i Σ_h μ_i^h Σ_{j∈J_i} ω_j^h + λ_i ‖Σ_h μ_i^h ω^h_{J_i}‖²
              + c_i Σ_{h,h'} μ_i^h μ_i^h' exp⟨ω^h, ω^h'⟩ },     c_i = λ_i d_i φ_i/L.

Time. [S]'s gradient flow is dθ/dt = −∂ℓ/∂θ on the individual weights o, v, k, q; this project's is
τ dθ/dt = −½ ∂L/∂θ. Both are the same at τ = 1/2 (`PAPER_TAU`, which `spectral_flow` uses). There

    μ̇ = −(o² + v²) ∂ℓ/∂μ,    ω̇ = −((k² + q²)/d_e) ∂ℓ/∂ω,    o² − v² and k² − q² conserved.

A step θ ← θ − η ∂ℓ/∂θ of gradient descent lasts η in [S]'s time. A state θ is flat: all o, then v
(H, I), then k, then q (H, d).
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from numerics import _plot
from numerics._guard import guarded
from numerics.flow import system_flow
from numerics.multitask import MultiTask
from numerics.softmax.decomposable import SpectralAttention
from numerics.trajectory import Trajectory

Array = NDArray[Any]

PAPER_TAU = 0.5


class SpectralSystem:
    """The spectral loss ℓ as a gradient system in o, v, k, q.

    Its velocity is −½ ∂ℓ/∂θ, as that of every system here; `spectral_flow` integrates it in [S]'s
    time.

    Parameters
    ----------
    model : SpectralAttention
    task : MultiTask
        With d_i = `model.block_dims`.

    Raises
    ------
    ValueError
        If the task's blocks are not the model's.

    Examples
    --------
    >>> model = SpectralAttention(block_dims=(4,), heads=1, embedding_dim=4)
    >>> system = SpectralSystem(model, MultiTask((4,), 1.0, context_length=8))
    >>> float(system.loss(np.zeros(model.size)))
    4.0
    """

    @guarded
    def __init__(self, model: SpectralAttention, task: MultiTask) -> None:
        if tuple(task.block_dims) != tuple(model.block_dims):
            raise ValueError(
                f"model has block_dims {model.block_dims}, but the task has {task.block_dims}"
            )
        self.model, self.task, self.size = model, task, model.size
        energy = np.asarray(task.signal) * np.array(model.block_dims)
        self._signal = np.asarray(task.signal)
        self._spread = self._signal[model.owner]
        self._noise = energy * task.noise_factor / task.context_length
        self._scale = 1 / math.sqrt(model.embedding_dim)

    def task_losses(self, omega: Array, mu: Array) -> Array:
        """The share of each task in ℓ, (..., I), at ω (..., H, d) and μ (..., H, I)."""
        gain = np.sum(mu[..., self.model.owner] * omega, axis=-2)
        kernel = np.exp(omega @ omega.swapaxes(-1, -2))
        noise = np.sum(mu * (kernel @ mu), axis=-2)
        starts = np.cumsum([0, *self.model.block_dims[:-1]])
        missing = np.add.reduceat((1 - gain) ** 2, starts, axis=-1)
        return np.asarray(self._signal * missing + self._noise * noise)

    def loss(self, theta: Array) -> Array:
        """ℓ at states (..., size)."""
        return self.task_losses(*self.model.combined(theta)).sum(axis=-1)

    def combined_velocity(self, omega: Array, mu: Array) -> tuple[Array, Array]:
        """−½ ∂ℓ/∂ω (H, d) and −½ ∂ℓ/∂μ (H, I)."""
        model = self.model
        spread = mu[:, model.owner]
        missing = self._spread * (1 - (spread * omega).sum(axis=0))
        kernel = np.exp(omega @ omega.T)
        weighted = mu * self._noise
        by_mu = model.block_means(missing * omega) * model.block_dims - (kernel @ mu) * self._noise
        by_omega = spread * missing - (kernel * (weighted @ mu.T)) @ omega
        return by_omega, by_mu

    def velocity(self, theta: Array) -> Array:
        """−½ ∂ℓ/∂θ, a fresh array."""
        o, v, k, q = self.model.unpack(theta)
        by_omega, by_mu = self.combined_velocity(k * q * self._scale, o * v)
        by_omega = by_omega * self._scale
        return np.concatenate(
            [(part * g).ravel() for part, g in
             ((v, by_mu), (o, by_mu), (q, by_omega), (k, by_omega))]
        )  # fmt: skip

    def jvp(self, theta: Array, direction: Array) -> Array:
        """Derivative of the velocity along a direction."""
        return np.asarray(self.jacobian(theta) @ direction)

    def jacobian(self, theta: Array) -> Array:
        """Derivative of the velocity, −½ Hessian of ℓ, (size, size)."""
        omega, mu = self.model.combined(theta)
        by_omega, by_mu = self.combined_velocity(omega, mu)
        curvature = self.combined_jacobian(omega, mu)
        first, second, scale = self._halves(theta)
        g = scale * np.concatenate([by_mu.ravel(), by_omega.ravel()])
        n, a = self.model.combined_size, self.model.cuts[0]
        tangent = (scale * second, scale * first)  # of (μ, ω) by (o, k), then by (v, q)
        blocks = np.empty((2, n, 2, n), curvature.dtype)
        for i in (0, 1):
            for j in (0, 1):
                blocks[i, :, j] = tangent[i][:, None] * curvature * tangent[j]
        n_range = np.arange(n)
        blocks[0, n_range, 1, n_range] += g
        blocks[1, n_range, 0, n_range] += g
        halves = np.arange(self.size).reshape(2, n)  # (o, k), (v, q) → (o, v, k, q)
        order = np.concatenate([halves[0, :a], halves[1, :a], halves[0, a:], halves[1, a:]])
        return blocks.reshape(self.size, self.size)[np.ix_(order, order)]

    def _halves(self, theta: Array) -> tuple[Array, Array, Array]:
        """(o, k), (v, q) and the factors in (μ, ω) = factor · first · second, each (H(I + d),)."""
        a, b, c = self.model.cuts
        scale = np.ones(self.model.combined_size)
        scale[a:] = self._scale
        return (
            np.concatenate([theta[:a], theta[b:c]]),
            np.concatenate([theta[a:b], theta[c:]]),
            scale,
        )

    def combined_jacobian(self, omega: Array, mu: Array) -> Array:
        """−½ Hessian of ℓ by (μ, ω), (H(I + d), H(I + d))."""
        model, c = self.model, self._noise
        H, d, tasks, owner = model.heads, model.dimension, model.tasks, model.owner
        kernel = np.exp(omega @ omega.T)
        spread, heads, entries = mu[:, owner], np.arange(H), np.arange(d)
        missing = self._spread * (1 - (spread * omega).sum(axis=0))
        mm = np.zeros((H, tasks, H, tasks), kernel.dtype)
        for i, block in enumerate(self.task.blocks):
            part = omega[:, block]
            mm[:, i, :, i] = -self._signal[i] * (part @ part.T) - c[i] * kernel
        mw = np.zeros((H, tasks, H, d), kernel.dtype)
        mw -= np.einsum("i,hg,gi,hj->higj", c, kernel, mu, omega)
        mw[heads, :, heads] -= np.einsum("i,hg,gi,gj->hij", c, kernel, mu, omega)
        mw[:, owner, :, entries] -= np.einsum("j,gj,hj->jhg", self._spread, spread, omega)
        mw[heads[:, None], owner, heads[:, None], entries] += missing
        pull = kernel * ((mu * c) @ mu.T)
        ww = -np.einsum("hg,hl,gj->hjgl", pull, omega, omega)
        ww[heads, :, heads] -= np.einsum("hg,gj,gl->hjl", pull, omega, omega)
        ww[:, entries, :, entries] -= pull + np.einsum("j,hj,gj->jhg", self._spread, spread, spread)
        a, b = H * tasks, H * d
        mixed = mw.reshape(a, b)
        return np.block([[mm.reshape(a, a), mixed], [mixed.T, ww.reshape(b, b)]])

    def invariants(self, theta: Array) -> Array:
        """o² − v² and k² − q², for states (..., size)."""
        o, v, k, q = self.model.unpack(theta)
        parts = [x.reshape(*theta.shape[:-1], -1) for x in (o * o - v * v, k * k - q * q)]
        return np.concatenate(parts, axis=-1)


@guarded
def spectral_flow(
    system: SpectralSystem,
    initial: ArrayLike,
    duration: float,
    *,
    times: ArrayLike | None = None,
    method: str = "LSODA",
    rtol: float = 1e-8,
    atol: float = 1e-12,
    until_loss: float | None = None,
) -> Trajectory:
    """`system_flow` in [S]'s time, dθ/dt = −∂ℓ/∂θ, by an implicit solver.

    Once a head has emerged the rates of μ and of ω differ by d_i √d_e: the flow is stiff.
    Arguments and errors are those of `gradient_flow`, but for τ.

    Examples
    --------
    >>> model = SpectralAttention(block_dims=(10,), heads=1, embedding_dim=30)
    >>> system = SpectralSystem(model, MultiTask((10,), 1.0, context_length=100))
    >>> run = spectral_flow(system, model.leading_weights(0.01, 0.5, 1.0), 50.0)
    >>> run.status, round(float(run.loss[-1]), 4)  # d c e/(1 + c e), c = d/L
    ('finished', 2.1373)
    """
    run = system_flow(system, initial, duration, times=times, tau=PAPER_TAU, method=method,
                      rtol=rtol, atol=atol, until_loss=until_loss)  # fmt: skip
    return replace(run, unit=_plot.PAPER_TIME)


__all__ = ["PAPER_TAU", "SpectralAttention", "SpectralSystem", "spectral_flow"]
