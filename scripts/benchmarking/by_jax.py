"""Theirs by JAX and diffrax: gradient flow, right-hand sides and training steps, compiled, float64.

JAX is imported when an entry is built, not before.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarking.base import Array, Built, library
from benchmarking.case import ATOL, RTOL, Case

NEEDS = ("jax", "diffrax")


def jax_modules() -> tuple[Any, Any]:
    """JAX in double precision, and its NumPy."""
    jax = library("jax")
    jax.config.update("jax_enable_x64", True)
    return jax, library("jax.numpy")


def compiled(function: Callable[..., Any], *arguments: Any) -> tuple[Callable[..., Any], float]:
    """A function compiled for these arguments, and core seconds to trace and compile it."""
    jax, _ = jax_modules()
    began = time.process_time()
    made = jax.jit(function).lower(*arguments).compile()
    return made, time.process_time() - began


def dynamics(case: Case, gradient: str) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Loss and velocity in the eigenbasis, the gradient ``"autodiff"`` or ``"by hand"``."""
    jax, jnp = jax_modules()
    C, W, energy = jnp.asarray(case.form.correlation), jnp.asarray(case.form.weights), case.energy
    H, R, D = case.model.heads, case.model.rank, case.model.dimension
    end = H + H * R * D

    def unpack(theta: Any) -> tuple[Any, Any, Any]:
        k, q = theta[H:end].reshape(H, R * D), theta[end:].reshape(H * R, D)
        return theta[:H], k, q

    def loss(theta: Any) -> Any:
        v, k, q = unpack(theta)
        M = (v[:, None] * k).reshape(H * R, D).T @ q
        return energy - jnp.sum((2 * C - W * M) * M)

    def by_autodiff(theta: Any) -> Any:
        return -0.5 * jax.grad(loss)(theta)

    def by_hand(theta: Any) -> Any:
        v, k, q = unpack(theta)
        vk = (v[:, None] * k).reshape(H * R, D)
        G = C - W * (vk.T @ q)
        Gq = (q @ G.T).reshape(H, R * D)
        dv = jnp.sum(k * Gq, axis=1)
        return jnp.concatenate([dv, (v[:, None] * Gq).ravel(), (vk @ G).ravel()])

    return loss, by_autodiff if gradient == "autodiff" else by_hand


def flow(case: Case, gradient: str, solver: str = "Tsit5") -> Built:
    """Losses at the case's times by diffrax, of one start (size,) or of many (rows, size)."""
    jax, jnp = jax_modules()
    diffrax = library("diffrax")
    loss, velocity = dynamics(case, gradient)
    start, times = jnp.asarray(case.start), jnp.asarray(case.times)

    def solve(theta: Any) -> Any:
        return diffrax.diffeqsolve(
            diffrax.ODETerm(lambda t, y, _: velocity(y)),
            getattr(diffrax, solver)(),
            0.0,
            case.times[-1],
            None,
            theta,
            stepsize_controller=diffrax.PIDController(rtol=RTOL, atol=ATOL),
            saveat=diffrax.SaveAt(ts=times, fn=lambda t, y, _: loss(y)),
            max_steps=10**7,
        ).ys

    run, seconds = compiled(solve if start.ndim == 1 else jax.vmap(solve), start)
    return Built(lambda: np.asarray(run(start)), seconds)


def euler(case: Case, gradient: str, steps: int, size: float) -> Built:
    """Explicit steps in one compiled loop; their end, per step."""
    jax, jnp = jax_modules()
    _, velocity = dynamics(case, gradient)
    start = jnp.asarray(case.start)

    def walk(theta: Any) -> Any:
        return jax.lax.fori_loop(0, steps, lambda _, y: y + size * velocity(y), theta)

    run, seconds = compiled(walk, start)
    return Built(lambda: np.asarray(run(start)), seconds, share=steps)


def plateau_losses(eigenvalues: Array, context_length: int) -> Built:
    """Plateau losses of many spectra."""
    _, jnp = jax_modules()
    spectra = jnp.asarray(eigenvalues)

    def losses(spectra: Any) -> Any:
        trace = spectra.sum(axis=-1, keepdims=True)
        gains = spectra / (1 + (1 + trace / spectra) / context_length)
        order = jnp.argsort(-spectra, axis=-1, stable=True)
        gains = jnp.take_along_axis(gains, order, axis=-1)
        zero = jnp.zeros((len(gains), 1))
        return trace - jnp.concatenate([zero, jnp.cumsum(gains, axis=-1)], axis=-1)

    run, seconds = compiled(losses, spectra)
    return Built(lambda: np.asarray(run(spectra)), seconds)


def layer_step(layer: Any, theta: Array, tokens: Array, target: Array) -> Built:
    """Gradient, then loss, of a layer with one output, its weights folded into the query first."""
    jax, jnp = jax_modules()
    X, y = jnp.asarray(tokens), jnp.asarray(target)
    linear, N = layer.attention == "linear", tokens.shape[1] - 1
    factor = 1 / N if layer.divide_by_context else 1.0

    def loss(weights: Any) -> Any:
        a, keys, queries = weights
        B = jnp.einsum("hri,hrj->hij", queries, keys)
        s = jnp.einsum("phj,pnj->phn", jnp.einsum("pi,hij->phj", X[:, -1], B), X)
        p = factor * s if linear else jax.nn.softmax(s, axis=-1)
        predicted = jnp.sum(jnp.einsum("phn,pnk->phk", p, X) * a, axis=(1, 2))
        return jnp.mean((predicted - y) ** 2)

    start = tuple(jnp.asarray(w) for w in layer.unpack(theta))
    run, seconds = compiled(jax.value_and_grad(loss), start)

    def step() -> Array:
        value, parts = run(start)
        return np.concatenate([*(np.ravel(part) for part in parts), [value]])

    return Built(step, seconds)
