"""The layer's hand-written gradient against automatic differentiation of all tokens."""

import numpy as np
import pytest

from numerics.layers.attention import AttentionLayer
from numerics.layers.multitask import MultiTaskLayer
from tests.numerics.support import EPS, assert_same, state

torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install torch==2.13.0")


def torch_loss(layer, weights, X, y):
    """Every output token of the layer, with W^V written in full; then the last entry."""
    a, *rest = weights
    K = layer.dimension + 1
    values = torch.cat([torch.zeros(layer.heads, K - 1, K, dtype=a.dtype), a[:, None]], dim=1)
    if layer.rank is None:
        queries, keys = X[:, None] @ rest[0], X[:, None]
    else:
        keys, queries = (X[:, None] @ w.transpose(-1, -2) for w in rest)
    scores = queries @ keys.transpose(-1, -2)  # (P, H, query, token)
    if layer.attention == "softmax":
        scores = torch.softmax(scores, dim=-1)
    elif layer.divide_by_context:
        scores = scores / (X.shape[1] - 1)
    out = (scores @ (X[:, None] @ values.transpose(-1, -2))).sum(dim=1)
    return torch.mean((out[:, -1, -1] - y) ** 2)


@pytest.mark.parametrize("dimension", [3, 7])
@pytest.mark.parametrize("rank", [None, 1, 3])
@pytest.mark.parametrize("attention", ["linear", "softmax", "linear/N"])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_loss_and_gradient(dimension, rank, attention, dtype):
    kind, _, divide = attention.partition("/")
    layer = AttentionLayer(dimension, 4, rank, kind, bool(divide))
    generator = np.random.default_rng(0)
    X = generator.standard_normal((40, 12, dimension + 1)).astype(dtype)
    X[:, -1, -1] = 0
    y = generator.standard_normal(40).astype(dtype)
    theta = state(layer.size, scale=0.3).astype(dtype)
    check_against_autodiff(layer, torch_loss, theta, X, y)


def torch_multitask_loss(layer, weights, X, y):
    """[S]'s layer with every context token as a query too, its labels hidden; then the last."""
    O, V, K, Q = weights  # noqa: E741
    queries = X.clone()
    queries[:, :, layer.dimension :] = 0
    context = X[:, None, :-1]
    scores = (queries[:, None] @ Q.transpose(-1, -2)) @ (context @ K.transpose(-1, -2)).mT
    scores = scores / layer.embedding_dim**0.5  # (P, H, query, token)
    if layer.attention == "softmax":
        scores = torch.softmax(scores, dim=-1)
    elif layer.divide_by_context:
        scores = scores / context.shape[2]
    out = (scores @ (context @ V.transpose(-1, -2))) @ O.transpose(-1, -2)
    return torch.mean(((out.sum(dim=1)[:, -1] - y) ** 2).sum(dim=-1))


@pytest.mark.parametrize(("outputs", "embedding"), [(1, 4), (3, 2)])
@pytest.mark.parametrize("attention", ["linear", "softmax", "linear/L"])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_multitask_loss_and_gradient(outputs, embedding, attention, dtype):
    kind, _, divide = attention.partition("/")
    layer = MultiTaskLayer(5, outputs, 3, embedding, kind, bool(divide))
    generator = np.random.default_rng(0)
    X = generator.standard_normal((40, 12, 5 + outputs)).astype(dtype)
    X[:, -1, 5:] = 0
    y = generator.standard_normal((40, outputs)).astype(dtype)
    theta = state(layer.size, scale=0.3).astype(dtype)
    check_against_autodiff(layer, torch_multitask_loss, theta, X, y)


def check_against_autodiff(layer, loss_of, theta, X, y):
    weights = [torch.tensor(w, requires_grad=True) for w in layer.unpack(theta)]
    expected = loss_of(layer, weights, torch.tensor(X), torch.tensor(y))
    expected.backward()
    loss, gradient = layer.loss_and_gradient(theta, X, y, chunk=16)
    eps = float(np.finfo(theta.dtype).eps)
    assert loss == pytest.approx(expected.item(), rel=100 * eps)
    by_autodiff = np.concatenate([w.grad.numpy().ravel() for w in weights])
    assert gradient.dtype == by_autodiff.dtype == theta.dtype
    assert_same(gradient, by_autodiff, 500 * eps / EPS)
