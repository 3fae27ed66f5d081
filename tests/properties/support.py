"""Comparisons, derivatives and group actions that several properties share.

A tolerance counts roundings: a product of two or three small matrices is a few dozen roundings of
its largest term, and 500 leave room for the cancellation between terms of one size. Flows run at
rtol = 1e-8; from weights of order one, which only relax, errors do not grow, and some hundred steps
add up to less than `RELAXING` (measured against rtol = 1e-12: LSODA is off by 4e-9, Radau by 5e-10,
BDF by 2e-8).
"""

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from numerics import AttentionLayer, MultiTaskLayer

EPS = float(np.finfo(float).eps)
RELAXING = 1e-6
STEP = 1e-40  # a complex step has no cancellation, so it may be as small as one likes


def share(part):
    """Fewer examples than the profile's, for what takes long; the long profile has more of them."""
    return settings(max_examples=max(2, round(settings().max_examples * part)))


def rejects(check, *drawn):
    """Some example of the strategies must fail the check: the negative control of a property."""

    @settings(
        phases=[Phase.generate],
        report_multiple_bugs=False,
        derandomize=True,
        database=None,
        max_examples=100,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.tuples(*drawn))
    def attempt(values):
        check(*values)

    with pytest.raises(AssertionError):
        attempt()


def assert_same(actual, expected, roundings=500.0, scale=0.0):
    """Equal up to so many roundings of the largest entry of either, or of `scale` if that is more.

    `scale` is the size of what cancels in the comparison.
    """
    actual, expected = np.asarray(actual), np.asarray(expected)
    assert actual.shape == expected.shape
    largest = max(np.abs(actual).max(initial=0.0), np.abs(expected).max(initial=0.0), scale)
    assert np.abs(actual - expected).max(initial=0.0) <= roundings * EPS * largest


def assert_each(actual, expected, roundings):
    """Every entry equal up to so many roundings of its own."""
    np.testing.assert_allclose(actual, expected, rtol=roundings * EPS, atol=0)


def complex_gradient(f, theta):
    """∂f/∂θ, exact to rounding for an analytic f."""
    return np.array([np.imag(f(theta + 1j * STEP * e)) / STEP for e in np.eye(len(theta))])


def complex_directional(f, theta, direction):
    """Derivative of f along a direction, exact to rounding for an analytic f."""
    return np.imag(f(theta + 1j * STEP * direction)) / STEP


def parts(model, theta):
    """The weights of a model in its own order, each (..., H, ...)."""
    return list(model.unpack(theta))


def joined(pieces, batch):
    """The state that `parts` came from."""
    return np.concatenate([piece.reshape(*batch, -1) for piece in pieces], axis=-1)


def permuted_heads(model, theta, order):
    """The same network with its heads renumbered, for states (..., size)."""
    batch = theta.shape[:-1]
    axis = len(batch)
    return joined([np.take(part, order, axis=axis) for part in parts(model, theta)], batch)


def rotated_tokens(model, theta, Q):
    """Weights of a whole layer that do to tokens Qᵀx what these do to x; labels stay."""
    K = parts(model, theta)
    width = K[-1].shape[-1]
    wide = np.eye(width)
    wide[: len(Q), : len(Q)] = Q
    if isinstance(model, MultiTaskLayer):
        O, V, key, query = K  # noqa: E741 - the paper's letter
        return joined([O, V @ wide, key @ wide, query @ wide], ())
    assert isinstance(model, AttentionLayer)
    if model.rank is None:
        return joined([K[0] @ wide, wide.T @ K[1] @ wide], ())
    return joined([part @ wide for part in K], ())
