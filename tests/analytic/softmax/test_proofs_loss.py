"""Softmax attention: the loss, its gradient and its limits against the derivation, with symbols."""

import numpy as np
import pytest
import sympy as sp

from analytic import softmax
from analytic.derivations import softmax_loss as base
from analytic.derivations import symbols as sy


def is_zero(expression):
    return sp.simplify(sp.sympify(expression)) == 0


def arguments(dims, heads):
    """The closed forms' arguments, with symbols for every number but the block sizes."""
    weights = np.array(base.omega(heads, sum(dims)).tolist(), dtype=object)
    read = np.array(base.mu(heads, len(dims)).tolist(), dtype=object)
    return (weights, read, list(dims), list(sy.lam[: len(dims)]), base.L), {"noise": sy.sigma}


def coefficients(expression, dims, heads):
    """The coefficients of all monomials in μ, λ, σ: each must vanish by itself."""
    names = [*base.mu(heads, len(dims)), *sy.lam[: len(dims)], sy.sigma]
    return sp.Poly(sp.expand(expression), *names).coeffs()


@pytest.mark.parametrize(("dims", "heads"), [((1,), 1), ((2,), 1), ((1, 1), 2)])
def test_first_order_loss_is_the_delta_method(dims, heads):
    arrays, keywords = arguments(dims, heads)
    gap = softmax.first_order_loss(*arrays, **keywords) - base.first_order_loss(dims, heads)
    assert all(is_zero(coefficient) for coefficient in coefficients(gap, dims, heads))


@pytest.mark.parametrize("count", [1, 2, 3])
def test_equal_coordinates_may_be_counted_instead_of_listed(count):
    # The symbolic count of `uniform_limit` against coordinates written out.
    arrays, keywords = arguments((count,), 1)
    w = base.omega(1, 1)[0]
    listed = softmax.first_order_loss(np.full((1, count), w), *arrays[1:], **keywords)
    counted = count * base.first_order_loss((1,), 1, base.d_count).subs(base.d_count, count)
    assert all(is_zero(entry) for entry in coefficients(listed - counted, (count,), 1))


def test_leading_order_in_the_dimension_is_the_spectral_loss():
    # ℓ/(λd) depends on b = dω², m = μ/√d, φ and c = φd/L only, so d = 1 shows the general case.
    closed = softmax.spectral_loss(
        np.array([[sp.sqrt(base.b)]]),
        np.array([[base.m]]),
        1,
        1,
        base.phi / base.c,
        noise=sp.sqrt(base.phi - 1),
    )
    assert is_zero(closed - base.uniform_limit())


@pytest.mark.parametrize(("dims", "heads"), [((1, 2), 2), ((2, 1, 1), 3)])
def test_spectral_loss_and_gradient(dims, heads):
    arrays, keywords = arguments(dims, heads)
    leading = base.leading_loss(dims, heads)
    assert sp.expand(softmax.spectral_loss(*arrays, **keywords) - leading) == 0
    d_omega, d_mu = softmax.spectral_gradient(*arrays, **keywords)
    for closed, names in ((d_omega, arrays[0]), (d_mu, arrays[1])):
        assert closed.shape == names.shape
        for entry, name in zip(closed.flat, names.flat, strict=True):
            assert sp.expand(entry - sp.diff(leading, name)) == 0


@pytest.mark.parametrize(("dims", "heads"), [((1, 1), 2), ((2, 1), 1)])
def test_small_weights_are_linear_attention(dims, heads):
    arrays, keywords = arguments(dims, heads)
    closed = softmax.linear_attention_loss(*arrays, **keywords)
    weights, read = base.omega(heads, sum(dims)), base.mu(heads, len(dims))
    mean_label = dropped = 0
    for j, task in enumerate(base.task_of(dims)):
        entry = sum(read[h, task] * weights[h, j] for h in range(heads))
        dropped += sy.lam[task] / base.L * entry**2
    for task, size in enumerate(dims):
        power = sy.lam[task] * size + sy.sigma**2
        mean_label += power / base.L * sum(read[h, task] for h in range(heads)) ** 2
    expected = base.linear_attention_loss(dims, heads) + mean_label - dropped
    assert sp.expand(closed - expected) == 0


def test_small_scores_give_centred_linear_attention():
    weights, scores = base.small_score_attention(3)
    mean = sum(scores) / 3
    for weight, score in zip(weights, scores, strict=True):
        assert is_zero(weight - (1 + base.epsilon * (score - mean)) / 3)


@pytest.mark.parametrize(("signs", "order"), [((1, 1), 2), ((1, -1), 4)])
def test_order_at_which_small_heads_leave_linear_attention(signs, order):
    # One pair of heads ±(εω, μ/ε): the even orders cancel for opposite signs.
    eps = base.epsilon
    weights = np.array([[s * eps * base.b] for s in signs])
    read = np.array([[s * base.m / eps] for s in signs])
    arrays = (weights, read, 1, sy.lam[0], base.L)
    gap = softmax.spectral_loss(*arrays) - softmax.linear_attention_loss(*arrays)
    leading = sp.limit(gap / eps**order, eps, 0)
    assert leading.is_positive
    assert sp.limit(gap / eps ** (order - 1), eps, 0) == 0
