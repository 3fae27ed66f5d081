#!/usr/bin/env python3
"""One training step of softmax attention: loss and gradient by hand against PyTorch's autograd.

Prints Markdown tables. PyTorch computes the same loss and gradient in three ways: every output
token, as published training code does; the query's token, with keys and values of all tokens
projected first, as the layer is written; and the query's token with the products in the cheapest
order, weights folded into the query first. Repeats are interleaved, medians are quoted, one thread
for each side. The first rows of each precision are [L]'s layer, the last one [S]'s with several
outputs. A last table times runs of the linear layer on moments. Needs PyTorch:
`pip install torch==2.13.0`.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Callable

for _name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

import numpy as np

from numerics import (
    Layer,
    LinearTask,
    MultiTask,
    MultiTaskLayer,
    gradient_descent,
    sample_chunks,
    sample_multitask,
    sample_sequences,
)
from numerics.layers.attention import AttentionLayer
from numerics.layers.moments import LayerMomentsSystem, linear_layer_moments
from numerics.layers.system import LayerSystem
from numerics.layers.tokens import tokens_of

CASES = [
    (1000, 31, 4, 5, 1),
    (1000, 31, 4, 5, None),
    (512, 100, 30, 3, 30),
    (512, 100, 30, 3, None),
]


def all_tokens(torch, layer, weights, X):
    """(P, N+1) last entries of every output token."""
    a, keys, queries = split(layer, weights)
    K = X.shape[-1]
    values = torch.cat([torch.zeros(len(a), K - 1, K, dtype=a.dtype), a[:, None]], dim=1)
    q = X[:, None] @ (queries if keys is None else queries.transpose(-1, -2))
    k = X[:, None] if keys is None else X[:, None] @ keys.transpose(-1, -2)
    p = torch.softmax(q @ k.transpose(-1, -2), dim=-1)
    return (p @ (X[:, None] @ values.transpose(-1, -2))).sum(dim=1)[:, -1, -1]


def as_written(torch, layer, weights, X):
    """Query's token; keys and values of all tokens first, as multi-head attention is written."""
    a, keys, queries = split(layer, weights)
    P, M, K = X.shape
    H = len(a)
    flat = X.reshape(-1, K)
    if keys is None:
        q = torch.einsum("pi,hij->hpj", X[:, -1], queries)
        s = torch.einsum("hpj,pnj->phn", q, X)
    else:
        k = (flat @ keys.reshape(-1, K).T).reshape(P, M, H, -1).transpose(1, 2)
        q = (X[:, -1] @ queries.reshape(-1, K).T).reshape(P, H, -1, 1)
        s = (k @ q)[..., 0]
    v = (flat @ a.T).reshape(P, M, H).transpose(1, 2)
    return (torch.softmax(s, dim=-1) * v).sum(dim=(1, 2))


def folded(torch, layer, weights, X):
    """Query's token; weights folded into the query first, values last."""
    a, keys, queries = split(layer, weights)
    P, K = len(X), X.shape[-1]
    W = queries if keys is None else queries.transpose(-1, -2) @ keys
    u = (X[:, -1] @ W.transpose(0, 1).reshape(K, -1)).reshape(P, len(a), K)
    p = torch.softmax(u @ X.transpose(-1, -2), dim=-1)
    return ((p @ X) * a).sum(dim=(1, 2))


def split(layer, weights):
    """a, keys and queries; keys None for the merged layer."""
    a, *rest = weights
    return (a, None, rest[0]) if layer.rank is None else (a, *rest)


def several_all_tokens(torch, layer, weights, X):
    """(P, d_y) of every token as a query, of which the last is kept."""
    O, V, K, Q = (w.transpose(-1, -2) for w in weights)  # noqa: E741
    context, scale = X[:, None, :-1], layer.embedding**-0.5
    p = torch.softmax(((X[:, None] @ Q) @ (context @ K).transpose(-1, -2)) * scale, dim=-1)
    return (p @ (context @ V) @ O).sum(dim=1)[:, -1]


def several_as_written(torch, layer, weights, X):
    """Query's token; keys and values of all context tokens first, PyTorch's own attention."""
    O, V, K, Q = weights  # noqa: E741
    P, M, width = X.shape
    H, shape = layer.heads, (P, M - 1, layer.heads, layer.embedding)
    flat = X[:, :-1].reshape(-1, width)
    k, v = ((flat @ w.reshape(-1, width).T).reshape(shape).transpose(1, 2) for w in (K, V))
    q = (X[:, -1] @ Q.reshape(-1, width).T).reshape(P, H, 1, -1)
    mixed = torch.nn.functional.scaled_dot_product_attention(q, k, v).reshape(P, -1)
    return mixed @ O.transpose(-1, -2).reshape(-1, layer.outputs)


def several_folded(torch, layer, weights, X):
    """Query's token; weights folded into the query first, values last."""
    O, V, K, Q = weights  # noqa: E741
    P, width = len(X), X.shape[-1]
    B = Q.transpose(-1, -2) @ K * layer.embedding**-0.5
    u = (X[:, -1] @ B.transpose(0, 1).reshape(width, -1)).reshape(P, layer.heads, width)
    context = X[:, :-1]
    p = torch.softmax(u @ context.transpose(-1, -2), dim=-1)
    return (p @ context).reshape(P, -1) @ (O @ V).transpose(-1, -2).reshape(-1, layer.outputs)


ONE_OUTPUT = (folded, as_written, all_tokens)
SEVERAL = (several_folded, several_as_written, several_all_tokens)


def torch_step(form, layer, theta, X, y) -> Callable[[], tuple[float, np.ndarray]]:
    """Loss and flat gradient by autograd."""
    import torch

    torch.set_num_threads(1)
    weights = [torch.tensor(w, requires_grad=True) for w in layer.unpack(theta)]
    X, y = torch.tensor(X), torch.tensor(y)

    def step():
        loss = torch.sum((form(torch, layer, weights, X) - y) ** 2) / len(y)
        return loss.item(), torch.autograd.grad(loss, weights)

    return step


def interleaved(functions: list[Callable[[], object]], repeats: int, inner: int) -> list[float]:
    """Median seconds of one call of each, taken in turn.

    A turn is `inner` calls after one that is not timed, as in training, where a step finds in
    cache what the step before it left there and not what somebody else's did.
    """
    times: list[list[float]] = [[] for _ in functions]
    for _ in range(repeats):
        for function, record in zip(functions, times, strict=True):
            function()
            began = time.perf_counter()
            for _ in range(inner):
                function()
            record.append((time.perf_counter() - began) / inner)
    return [statistics.median(record) for record in times]


def attention_case(case: tuple[int, int, int, int, int | None]) -> tuple:
    """[L]'s layer: a name, the layer, tokens, target and PyTorch's forms."""
    P, N, D, H, R = case
    sequences = sample_sequences(LinearTask(np.eye(D), N), P, rng=0)
    kind = "merged" if R is None else f"separate R={R}"
    layer = AttentionLayer(D, H, R, "softmax")
    name = f"B={P} N={N} D={D} H={H} {kind}"
    return name, layer, tokens_of(sequences), sequences.target, ONE_OUTPUT


def multitask_case() -> tuple:
    """[S]'s layer on three tasks."""
    tokens, target = sample_multitask(MultiTask((10, 10, 10), 100), 512, rng=0)
    layer = MultiTaskLayer(30, outputs=3, heads=3, embedding=30)
    return "B=512 L=100 d=30 d_y=3 H=3 d_e=30", layer, tokens, target, SEVERAL


def step_row(name: str, layer: Layer, X, y, forms: tuple, dtype: type, repeats: int) -> str:
    """One line of the table of steps, once all four have agreed on loss and gradient."""
    X, y = X.astype(dtype), y.astype(dtype)
    theta = layer.initial_weights(0.2, rng=1).astype(dtype)
    system = LayerSystem(layer, X, y)
    loss, gradient = system.loss_and_gradient(theta)
    steps = [torch_step(form, layer, theta, X, y) for form in forms]
    for step in steps:
        other, parts = step()
        flat = np.concatenate([part.numpy().ravel() for part in parts])
        gap = np.abs(flat - gradient).max() / np.abs(gradient).max()
        if max(gap, abs(other - loss) / loss) > 2000 * np.finfo(dtype).eps:
            raise AssertionError(f"the steps of {name} disagree by {gap:.2g}")
    once = lambda: layer.loss_and_gradient(theta, X, y)  # noqa: E731 - sequences not laid out before
    bound = lambda: system.loss_and_gradient(theta)  # noqa: E731
    ours, fold = interleaved([bound, steps[0]], repeats, 10)
    near, written = interleaved([bound, steps[1]], repeats, 2)
    (fresh,) = interleaved([once], repeats, 2)
    again, full = interleaved([bound, steps[2]], 3, 1)
    return (
        f"| {name} {np.dtype(dtype).name} | {ours * 1e3:.2f} "
        f"| {fresh * 1e3:.2f} | {fold * 1e3:.2f} ({ours / fold:.2f}) "
        f"| {written * 1e3:.2f} ({near / written:.2f}) | {full * 1e3:.0f} (1/{full / again:.0f}) |"
    )


def moments_row(P: int, rank: int | None) -> str:
    """One line of the table of runs on moments: 6,001 recorded states, D=4, H=8."""
    chunks = sample_chunks(LinearTask(np.eye(4) / 4, 31), P, chunk=2000, rng=0)
    began = time.perf_counter()
    moments = linear_layer_moments((tokens_of(s), s.target) for s in chunks)
    drawn = time.perf_counter() - began
    layer = AttentionLayer(4, 8, rank)
    system = LayerMomentsSystem(layer, moments)
    initial = layer.initial_weights(1e-2, rng=0)
    run = lambda: gradient_descent(system, initial, 6001, 1e-4)  # noqa: E731
    (seconds,) = interleaved([run], 5, 1)
    kind = "merged" if rank is None else f"separate R={rank}"
    return f"| P={P} {kind} | {drawn:.2f} | {seconds:.2f} |"


def main() -> int:
    """Print the tables; 1 if PyTorch is missing."""
    try:
        import torch  # noqa: F401
    except ImportError:
        print("PyTorch is not installed: pip install torch==2.13.0", file=sys.stderr)
        return 1
    print("| step, ms (ours / theirs) | ours | ours, tokens not laid out before ", end="")
    print("| query only, folded | query only, as written | all tokens |")
    print("| --- | --- | --- | --- | --- | --- |")
    cases = [*map(attention_case, CASES), multitask_case()]
    for dtype in (np.float64, np.float32):
        for case in cases:
            print(step_row(*case, dtype, 15), flush=True)
    print("\n| linear layer on moments | drawing and one pass, s | 6,001 steps, s |")
    print("| --- | --- | --- |")
    for P in (5_000, 50_000):
        for rank in (None, 1):
            print(moments_row(P, rank), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
