"""[S]'s spectral flow over many runs: `numerics.softmax.spectral` defines the loss, rows last.

    ℓ = Σ_i { λ_i ‖1 − Σ_h μ_i^h ω^h_{J_i}‖² + c_i Σ_{h,h'} μ_i^h μ_i^h' exp⟨ω^h, ω^h'⟩ },

ω^h = k q/√d_e (d,), μ^h = o v (I,). A state is all o, then v (H, I), then k, then q (H, d). The
velocity is −½ ∂ℓ/∂θ; [S]'s own time is τ = 1/2.
"""

from __future__ import annotations

import math
from itertools import accumulate, pairwise

import numpy as np

from gpu._arrays import Array, index, namespace, product, transposed, unit
from gpu.moments import SpectralMoments
from gpu.systems import JacobianSystem
from numerics.softmax.decomposable import SpectralAttention


class SpectralProblem:
    """The spectral loss with every row's signal and noise, rows last."""

    def __init__(self, model: SpectralAttention, moments: SpectralMoments) -> None:
        self.model, self.moments, self.size = model, moments, model.size
        xp = namespace(moments.signal)
        self._signal = moments.signal.T
        self._noise = moments.noise.T
        self._owner = index(moments.signal, model.owner)
        self._spread = xp.take(self._signal, self._owner, axis=0)
        # Of (o, k), (v, q), as the Jacobian is made, in the order o, v, k, q.
        n, a, places = model.combined_size, model.cuts[0], np.arange(model.size)
        order = [places[:a], places[n : n + a], places[a:n], places[n + a :]]
        self._order = index(moments.signal, np.concatenate(order))
        self._scale = 1.0 / math.sqrt(model.embedding_dim)
        self._blocks = [slice(*ends) for ends in pairwise([0, *accumulate(model.block_dims)])]

    def _parts(self, state: Array) -> tuple[Array, Array, Array, Array]:
        """O, v (H, I, rows), k and q (H, d, rows), views."""
        xp, H, rows = namespace(state), self.model.heads, state.shape[1]
        cuts = (0, *self.model.cuts, self.size)
        parts = (xp.reshape(state[a:b, :], (H, -1, rows)) for a, b in pairwise(cuts))
        o, v, k, q = parts
        return o, v, k, q

    def _combined(self, state: Array) -> tuple[Array, Array]:
        """ω (H, d, rows) and μ (H, I, rows)."""
        o, v, k, q = self._parts(state)
        return self._scale * (k * q), o * v

    def _by_entry(self, mu: Array) -> Array:
        """μ of each entry's task, (H, d, rows)."""
        return namespace(mu).take(mu, self._owner, axis=1)

    def _by_task(self, values: Array) -> Array:
        """Sums over the entries of each task, (…, I, rows) of (…, d, rows)."""
        xp = namespace(values)
        return xp.stack([xp.sum(values[..., b, :], axis=-2) for b in self._blocks], axis=-2)

    def _missing(self, omega: Array, mu: Array) -> Array:
        """1 − Σ_h μ^h ω^h, (d, rows)."""
        return 1.0 - namespace(mu).sum(self._by_entry(mu) * omega, axis=0)

    def task_losses(self, state: Array) -> Array:
        """The share of each task in ℓ, (I, rows)."""
        omega, mu = self._combined(state)
        xp, kernel = namespace(state), _kernel(omega)
        missing = self._missing(omega, mu)
        noise = xp.sum(mu * product(kernel, mu), axis=0)
        return self._signal * self._by_task(missing * missing) + self._noise * noise

    def loss(self, state: Array) -> Array:
        """ℓ (rows,)."""
        return namespace(state).sum(self.task_losses(state), axis=0)

    def _combined_velocity(self, omega: Array, mu: Array) -> tuple[Array, Array]:
        """−½ ∂ℓ/∂ω (H, d, rows) and −½ ∂ℓ/∂μ (H, I, rows)."""
        missing = self._spread * self._missing(omega, mu)
        kernel = _kernel(omega)
        by_mu = self._by_task(missing * omega) - product(kernel, mu) * self._noise
        pull = kernel * product(mu * self._noise, transposed(mu))
        return self._by_entry(mu) * missing - product(pull, omega), by_mu

    def velocity(self, state: Array) -> Array:
        """−½ ∂ℓ/∂θ (size, rows)."""
        return self._pullback(state, *self._combined_velocity(*self._combined(state)))

    def _pullback(self, state: Array, by_omega: Array, by_mu: Array) -> Array:
        """Derivatives by θ (size, rows) from those by ω and μ; bilinear in θ and them."""
        xp, (o, v, k, q) = namespace(state), self._parts(state)
        by_omega = self._scale * by_omega
        pairs = ((v, by_mu), (o, by_mu), (q, by_omega), (k, by_omega))
        return xp.concat([xp.reshape(part * g, (-1, state.shape[1])) for part, g in pairs])

    def jvp(self, state: Array, direction: Array) -> Array:
        """Derivative of the velocity along a direction of each row, (size, rows)."""
        (o, v, k, q), (do, dv, dk, dq) = self._parts(state), self._parts(direction)
        omega, mu = self._combined(state)
        d_omega, d_mu = self._scale * (dk * q + k * dq), do * v + o * dv
        along = self._combined_jvp(omega, mu, d_omega, d_mu)
        by_omega, by_mu = self._combined_velocity(omega, mu)
        return self._pullback(state, *along) + self._pullback(direction, by_omega, by_mu)

    def _combined_jvp(
        self, omega: Array, mu: Array, d_omega: Array, d_mu: Array
    ) -> tuple[Array, Array]:
        """Derivatives of `_combined_velocity` as ω and μ move by d_omega and d_mu."""
        xp, noise, kernel = namespace(mu), self._noise, _kernel(omega)
        spread, d_spread = self._by_entry(mu), self._by_entry(d_mu)
        missing = self._spread * self._missing(omega, mu)
        d_missing = -self._spread * xp.sum(d_spread * omega + spread * d_omega, axis=0)
        overlap = product(d_omega, transposed(omega))
        d_kernel = kernel * (overlap + transposed(overlap))
        pull, meet = product(mu * noise, transposed(mu)), product(d_mu * noise, transposed(mu))
        d_pull = d_kernel * pull + kernel * (meet + transposed(meet))
        d_noise = (product(d_kernel, mu) + product(kernel, d_mu)) * noise
        by_mu = self._by_task(d_missing * omega + missing * d_omega) - d_noise
        by_omega = d_spread * missing + spread * d_missing
        return by_omega - product(d_pull, omega) - product(kernel * pull, d_omega), by_mu

    def jacobian(self, state: Array) -> Array:
        """Derivative of the velocity, −½ Hessian of ℓ, (size, size, rows)."""
        xp, rows = namespace(state), state.shape[1]
        omega, mu = self._combined(state)
        by_omega, by_mu = self._combined_velocity(omega, mu)
        curvature = self._combined_jacobian(omega, mu)
        n, (a, b, c) = self.model.combined_size, self.model.cuts
        first = xp.concat([state[:a, :], self._scale * state[b:c, :]])
        second = xp.concat([state[a:b, :], self._scale * state[c:, :]])
        flat = [xp.reshape(part, (-1, rows)) for part in (by_mu, self._scale * by_omega)]
        mixed = unit(state, n)[:, :, None] * xp.concat(flat)[:, None, :]
        # (μ, ω) moves by `second` with (o, k) and by `first` with (v, q).
        oo = second[:, None, :] * curvature * second[None, :, :]
        vv = first[:, None, :] * curvature * first[None, :, :]
        ov = second[:, None, :] * curvature * first[None, :, :] + mixed
        whole = xp.concat([xp.concat([oo, ov], axis=1), xp.concat([transposed(ov), vv], axis=1)])
        return xp.take(xp.take(whole, self._order, axis=0), self._order, axis=1)

    def _combined_jacobian(self, omega: Array, mu: Array) -> Array:
        """−½ Hessian of ℓ by (μ, ω), (H(I + d), H(I + d), rows)."""
        xp, H, rows = namespace(mu), self.model.heads, mu.shape[2]
        kernel = _kernel(omega)
        n, m = H * self.model.tasks, H * self.model.dimension
        mm = xp.reshape(self._by_mu_mu(kernel, omega), (n, n, rows))
        mw = xp.reshape(self._by_mu_omega(kernel, omega, mu), (n, m, rows))
        ww = xp.reshape(self._by_omega_omega(kernel, omega, mu), (m, m, rows))
        upper = xp.concat([mm, mw], axis=1)
        return xp.concat([upper, xp.concat([transposed(mw), ww], axis=1)])

    def _by_mu_mu(self, kernel: Array, omega: Array) -> Array:
        """−δ_ik (λ_i ⟨ω^h, ω^g⟩ over J_i + c_i e^{⟨ω^h, ω^g⟩}) at (h, i, g, k)."""
        overlap = self._by_task(omega[:, None, ...] * omega[None, ...])  # (h, g, i)
        block = -self._signal * overlap - self._noise * kernel[:, :, None, :]
        block = namespace(omega).permute_dims(block, (0, 2, 1, 3))
        same = unit(omega, self.model.tasks)[None, :, None, :, None]
        return block[:, :, :, None, :] * same

    def _by_mu_omega(self, kernel: Array, omega: Array, mu: Array) -> Array:
        """Second derivatives by μ_i^h and ω_j^g at (h, i, g, j)."""
        model, spread = self.model, self._by_entry(mu)
        head = unit(mu, model.heads)[:, None, :, None, None]
        owns = namespace(mu).take(unit(mu, model.tasks), self._owner, axis=1)
        owns = owns[None, :, None, :, None]
        missing = self._spread * self._missing(omega, mu)
        pulled = kernel[:, :, None, :] * mu[None, ...]  # (h, g, i)
        total = namespace(mu).permute_dims(pulled, (0, 2, 1, 3))[:, :, :, None, :]
        far = total * omega[:, None, None, ...]
        # Σ_g e^{⟨ω^h, ω^g⟩} μ_i^g ω_j^g, the same for every g that equals h.
        near = namespace(mu).sum(total * omega[None, None, ...], axis=2, keepdims=True)
        gain = (self._spread * spread)[None, None, ...] * omega[:, None, None, ...]
        noise = self._noise[None, :, None, None, :]
        return owns * (head * missing - gain) - noise * (far + head * near)

    def _by_omega_omega(self, kernel: Array, omega: Array, mu: Array) -> Array:
        """Second derivatives by ω_j^h and ω_l^g at (h, j, g, l)."""
        xp, model = namespace(mu), self.model
        pull = kernel * product(mu * self._noise, transposed(mu))
        spread = self._by_entry(mu)
        head = unit(mu, model.heads)[:, None, :, None, None]
        entry = unit(mu, model.dimension)[None, :, None, :, None]
        wide = pull[:, None, :, None, :]
        across = xp.permute_dims(omega, (1, 0, 2))[None, :, :, None, :]
        far = wide * omega[:, None, None, ...] * across
        outer = omega[:, :, None, :] * omega[:, None, :, :]  # (g, j, l)
        near = xp.sum(pull[:, :, None, None, :] * outer[None, ...], axis=1)[:, :, None, ...]
        gain = self._spread * spread[:, None, ...] * spread[None, ...]  # (h, g, j)
        gain = xp.permute_dims(gain, (0, 2, 1, 3))[:, :, :, None, :]
        return -far - head * near - entry * (wide + gain)

    def invariants(self, state: Array) -> Array:
        """o² − v² and k² − q², (H(I + d), rows)."""
        xp, (o, v, k, q), rows = namespace(state), self._parts(state), state.shape[1]
        return xp.concat([xp.reshape(x, (-1, rows)) for x in (o * o - v * v, k * k - q * q)])

    def take(self, rows: Array) -> SpectralProblem:
        """The problem of some rows."""
        return SpectralProblem(self.model, self.moments.take(rows))


def _kernel(omega: Array) -> Array:
    """e^⟨ω^h, ω^g⟩, (H, H, rows)."""
    return namespace(omega).exp(product(omega, transposed(omega)))


class SpectralSystem(JacobianSystem):
    """`numerics.softmax.spectral.SpectralSystem` over rows of weights, each with its task.

    Parameters
    ----------
    model : SpectralAttention
        Of `numerics.softmax.spectral`.
    moments : SpectralMoments
        From `stack_moments` of `numerics.MultiTask`s.

    Raises
    ------
    ValueError, TypeError
        If the tasks' blocks are not the model's, or `moments` are of another kind.

    Examples
    --------
    >>> from gpu import stack_moments
    >>> from numerics import MultiTask
    >>> model = SpectralAttention(block_dims=(4,), heads=1, embedding_dim=4)
    >>> moments = stack_moments([MultiTask((4,), 1.0, context_length=L) for L in (8, 16)])
    >>> SpectralSystem(model, moments).loss(np.zeros((2, model.size))).tolist()
    [4.0, 4.0]
    """

    def __init__(self, model: SpectralAttention, moments: SpectralMoments) -> None:
        if not isinstance(moments, SpectralMoments):
            raise TypeError(
                f"moments must be stacked from MultiTask tasks, got {type(moments).__name__}"
            )
        if tuple(model.block_dims) != moments.block_dims:
            raise ValueError(
                f"model has block_dims {model.block_dims}, but the tasks have {moments.block_dims}"
            )
        super().__init__(model, SpectralProblem(model, moments))

    def task_losses(self, theta: Array) -> Array:
        """The share of each task in ℓ, (rows, I)."""
        return self._through(self.problem.task_losses, theta)


__all__ = ["SpectralProblem", "SpectralSystem"]
