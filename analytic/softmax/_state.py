"""Validation shared by the modules on training: one head on one task, elementwise."""

from __future__ import annotations

import numpy as np

from .. import _check
from .._generic import Number, entries, harmonise, is_symbolic


def state(
    omega_bar: Number,
    mu: Number,
    block_dims: Number,
    signal: Number,
    context_length: Number,
    embedding_dim: Number,
    noise: Number,
    *,
    positive: bool = False,
) -> tuple[Number, ...]:
    """Validate ω̄, μ, d, λ, L, d_e, σ and promote them together."""
    sign = _check.positive if positive else _check.non_negative
    return harmonise(
        sign("omega_bar", omega_bar),
        sign("mu", mu),
        _check.positive("block_dims", block_dims),
        _check.positive("signal", signal),
        _check.context_length(context_length),
        _check.positive("embedding_dim", embedding_dim),
        _check.non_negative("noise", noise),
    )


def require_between(name: str, value: Number, low: Number, high: Number) -> None:
    """Require low < value < high, unless there are symbols among them."""
    if any(is_symbolic(entry) for entry in entries(value, low)):
        return
    if not bool(np.all((value > low) & (value < high))):
        raise ValueError(f"{name} must be between {low} and {high}, got {value}")


def require_positive(value: Number, message: str) -> None:
    """Require value > 0, unless there are symbols in it, or raise ValueError with the message."""
    try:
        _check.positive("", value)
    except ValueError:
        raise ValueError(message) from None
