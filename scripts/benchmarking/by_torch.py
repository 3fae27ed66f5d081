"""Theirs by PyTorch's autograd: a layer's loss and gradient, as training code computes them.

Three forms of each layer: every output token, as the papers' own code does; the query's token, with
keys and values of all tokens projected first, as the layer is written; and the query's token with
the weights folded into the query first, the cheapest order.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarking.base import Array, library

NEEDS = ("torch",)
Form = Callable[..., Any]


def attend(torch: Any, layer: Any, scores: Any, context: int) -> Any:
    """Attention from scores over the last axis."""
    if layer.attention == "softmax":
        return torch.softmax(scores, dim=-1)
    return scores / context if layer.divide_by_context else scores


def all_tokens(torch: Any, layer: Any, weights: Any, X: Any) -> Any:
    """(P,) from the last entries of every output token."""
    a, keys, queries = weights
    K, N = X.shape[-1], X.shape[1] - 1
    values = torch.cat([torch.zeros(len(a), K - 1, K, dtype=a.dtype), a[:, None]], dim=1)
    q, k = (X[:, None] @ w.transpose(-1, -2) for w in (queries, keys))
    p = attend(torch, layer, q @ k.transpose(-1, -2), N)
    return (p @ (X[:, None] @ values.transpose(-1, -2))).sum(dim=1)[:, -1, -1]


def as_written(torch: Any, layer: Any, weights: Any, X: Any) -> Any:
    """(P,); keys and values of all tokens first."""
    a, keys, queries = weights
    P, M, K = X.shape
    H, flat = len(a), X.reshape(-1, K)
    k = (flat @ keys.reshape(-1, K).T).reshape(P, M, H, -1).transpose(1, 2)
    q = (X[:, -1] @ queries.reshape(-1, K).T).reshape(P, H, -1, 1)
    v = (flat @ a.T).reshape(P, M, H).transpose(1, 2)
    return (attend(torch, layer, (k @ q)[..., 0], M - 1) * v).sum(dim=(1, 2))


def folded(torch: Any, layer: Any, weights: Any, X: Any) -> Any:
    """(P,); weights folded into the query first, values last."""
    a, keys, queries = weights
    P, M, K = X.shape
    W = queries.transpose(-1, -2) @ keys
    u = (X[:, -1] @ W.transpose(0, 1).reshape(K, -1)).reshape(P, len(a), K)
    p = attend(torch, layer, u @ X.transpose(-1, -2), M - 1)
    return ((p @ X) * a).sum(dim=(1, 2))


def several_all_tokens(torch: Any, layer: Any, weights: Any, X: Any) -> Any:
    """(P, d_y) of every token as a query, of which the last is kept."""
    O, V, K, Q = (w.transpose(-1, -2) for w in weights)  # noqa: E741
    context, scale = X[:, None, :-1], layer.embedding_dim**-0.5
    p = torch.softmax(((X[:, None] @ Q) @ (context @ K).transpose(-1, -2)) * scale, dim=-1)
    return (p @ (context @ V) @ O).sum(dim=1)[:, -1]


def several_as_written(torch: Any, layer: Any, weights: Any, X: Any) -> Any:
    """(P, d_y); keys and values of all context tokens first, PyTorch's own attention."""
    O, V, K, Q = weights  # noqa: E741
    P, M, width = X.shape
    H, shape = layer.heads, (P, M - 1, layer.heads, layer.embedding_dim)
    flat = X[:, :-1].reshape(-1, width)
    k, v = ((flat @ w.reshape(-1, width).T).reshape(shape).transpose(1, 2) for w in (K, V))
    q = (X[:, -1] @ Q.reshape(-1, width).T).reshape(P, H, 1, -1)
    mixed = torch.nn.functional.scaled_dot_product_attention(q, k, v).reshape(P, -1)
    return mixed @ O.transpose(-1, -2).reshape(-1, layer.outputs)


def several_folded(torch: Any, layer: Any, weights: Any, X: Any) -> Any:
    """(P, d_y); weights folded into the query first, values last."""
    O, V, K, Q = weights  # noqa: E741
    P, width = len(X), X.shape[-1]
    B = Q.transpose(-1, -2) @ K * layer.embedding_dim**-0.5
    u = (X[:, -1] @ B.transpose(0, 1).reshape(width, -1)).reshape(P, layer.heads, width)
    context = X[:, :-1]
    p = torch.softmax(u @ context.transpose(-1, -2), dim=-1)
    return (p @ context).reshape(P, -1) @ (O @ V).transpose(-1, -2).reshape(-1, layer.outputs)


def bound(
    form: Form, layer: Any, tokens: Array, target: Array, chunk: int
) -> Callable[[Array], tuple[float, Array]]:
    """Loss and ∂L/∂θ, summed over pieces of `chunk` sequences, which bound the memory."""
    torch = library("torch")
    torch.set_num_threads(1)
    X, y = torch.tensor(tokens), torch.tensor(target)

    def gradient(theta: Array) -> tuple[float, Array]:
        weights = [torch.tensor(w, requires_grad=True) for w in layer.unpack(theta)]
        total = 0.0
        for part, wanted in zip(X.split(chunk), y.split(chunk), strict=True):
            loss = ((form(torch, layer, weights, part) - wanted) ** 2).sum() / len(y)
            loss.backward()
            total += loss.item()
        return total, np.concatenate([w.grad.numpy().ravel() for w in weights])

    return gradient


def training(
    form: Form,
    layer: Any,
    theta: Array,
    tokens: Array,
    target: Array,
    *,
    steps: int,
    rate: float,
    chunk: int,
) -> Callable[[], Array]:
    """Losses before each of `steps` full-batch steps of gradient descent."""
    gradient = bound(form, layer, tokens, target, chunk)

    def run() -> Array:
        weights, losses = theta, []
        for _ in range(steps):
            loss, slope = gradient(weights)
            losses.append(loss)
            weights = weights - rate * slope
        return np.array(losses)

    return run
