"""Closed forms with one signature each, so that a property can be asked of all of them."""

import math

from analytic import softmax


def keywords(omega, noise):
    """Of the closed forms of a spectrum, f(λ, N, task_eigenvalues=ω, noise=σ)."""
    return {"task_eigenvalues": omega, "noise": noise}


def single_head_loss(*arguments, noise):
    return softmax.single_head_optimum(*arguments, noise=noise).loss


def shared_two_by_two(dims, signal, length, *, noise):
    """Two tasks to a head."""
    heads = [i // 2 for i in range(len(dims))]
    return softmax.allocated_loss(heads, dims, signal, length, noise=noise)


def at_thrice_the_length(dims, signal, length, *, noise):
    return softmax.generalised_loss(dims, signal, length, 3 * length, noise=noise)


def allocated_a_third(dims, signal, length, *, noise):
    return softmax.allocation_loss(1 / 3, dims, signal, length, noise=noise)


def bound(heads):
    def lower_bound(*arguments, noise):
        return softmax.lower_bound(*arguments, heads, noise=noise)

    return lower_bound


def bayes(dims, signal, length, *, noise):
    """Σ λ_i d_i times the Bayes risk at γ = d_i/L and s = λ_i d_i/σ²."""
    return sum(
        lam * d * softmax.bayes_risk(d / length, lam * d / noise**2 if noise else math.inf)
        for d, lam in zip(dims, signal, strict=True)
    )


# Of several tasks: f(d (I,), λ (I,), L, noise=σ), in units of y², summed over tasks.
SOFTMAX_LOSSES = [
    softmax.limit_loss,
    single_head_loss,
    shared_two_by_two,
    at_thrice_the_length,
    allocated_a_third,
    bound(2),
    bound(9),
    bayes,
]
# The same for each task apart, (I,).
TASK_LOSSES = [softmax.task_limit_losses, softmax.long_context_optimum_loss]
