"""Rows on samples: a linear run of 80,000 sequences by their moments, and steps of softmax."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from benchmarking import by_jax, by_torch
from benchmarking.base import Array, Built, Entry, Growth, Row
from benchmarking.machine import copy_rate
from numerics import (
    AttentionLayer,
    LayerMomentsSystem,
    LayerSystem,
    LinearTask,
    MultiTask,
    MultiTaskLayer,
    gradient_descent,
    linear_layer_moments,
    sample_multitask,
    sample_sequences,
    tokens_of,
)

STEPS, RATE, CHUNK = 1000, 0.05, 2000
Sample = tuple[Array, Array]

ONE_OUTPUT = (
    ("every token, as the papers' code does", by_torch.all_tokens),
    ("the query alone, as the layer is written", by_torch.as_written),
    ("the query alone, weights folded into it", by_torch.folded),
)
SEVERAL = (
    ("every token, as the papers' code does", by_torch.several_all_tokens),
    ("the query alone, as the layer is written", by_torch.several_as_written),
    ("the query alone, weights folded into it", by_torch.several_folded),
)
XLA = "XLA fuses the elementwise passes over the scores, which ours makes one after another"


def rows(quick: bool) -> list[Row | Growth]:
    """The linear run and two layers of softmax."""
    cases = ((50, 31, 4, 5),) if quick else ((1000, 31, 4, 5),)
    several = several_outputs(20 if quick else 512)
    return [linear_run(400 if quick else 80_000), *(one_output(*case) for case in cases), several]


@cache
def sample(P: int, N: int, D: int) -> Sample:
    """Tokens (P, N+1, D+1) and targets (P,)."""
    sequences = sample_sequences(LinearTask(np.eye(D) / D, N), P, rng=0)
    return tokens_of(sequences), sequences.target


class LinearRun:
    """Full-batch training of the whole linear layer on P sequences, by each of the entries."""

    def __init__(self, P: int) -> None:
        self.P = P
        self.layer = AttentionLayer(4, 8, 1, divide_by_context=True)
        self.initial = self.layer.initial_weights(0.2, rng=0)

    @property
    def data(self) -> Sample:
        """Tokens and targets."""
        return sample(self.P, 31, 4)

    def by_moments(self) -> Built:
        """Ours."""

        def run() -> Array:
            moments = linear_layer_moments([self.data], divide_by_context=True)
            system = LayerMomentsSystem(self.layer, moments)
            return gradient_descent(system, self.initial, STEPS, RATE).loss

        return Built(run, note="one pass over the sequences, then moments alone")

    def by_samples(self, count: int) -> Built:
        """Ours, with the sequences read in each step."""
        system = LayerSystem(self.layer, *self.data)

        def run() -> Array:
            return gradient_descent(system, self.initial, count, RATE).loss[:count]

        return timed(run, count + 1)  # its record takes one gradient more

    def with_torch(self, form: by_torch.Form, count: int) -> Built:
        """PyTorch's, in pieces that bound the memory."""
        options: dict[str, Any] = {"steps": count, "rate": RATE, "chunk": CHUNK}
        return timed(
            by_torch.training(form, self.layer, self.initial, *self.data, **options), count
        )

    def with_jax(self) -> Built:
        """JAX's, a step alone."""
        built = by_jax.layer_step(self.layer, self.initial, *self.data)
        run = timed(lambda: built.call()[-1:], 1)
        return Built(run.call, built.compile_seconds, run.share, run.note)


def linear_run(P: int) -> Row:
    """Full-batch training of the whole linear layer on a sample."""
    case = LinearRun(P)
    torch = [
        Entry(
            f"PyTorch autograd, {name}",
            "theirs",
            lambda form=form, count=count: case.with_torch(form, count),  # type: ignore[misc]
            by_torch.NEEDS,
        )
        for (name, form), count in zip(ONE_OUTPUT, (1, 3, 3), strict=True)
    ]
    return Row(
        "sampled-linear",
        f"A linear run on P = {P:,} sampled sequences",
        f"{STEPS:,} steps of full-batch gradient descent of the whole layer, D = 4, N = 31, H = 8, "
        f"R = 1, rate {RATE:g}, weights N(0, 0.2²); drawing the sample is not timed",
        [
            Entry("`linear_layer_moments`, then `gradient_descent`", "ours", case.by_moments),
            Entry("`gradient_descent` on the samples", "ours", lambda: case.by_samples(3)),
            *torch,
            Entry(
                "JAX, the query alone, weights folded into it", "theirs", case.with_jax, ("jax",)
            ),
            Entry("the product F Fᵀ of its features", "floor", lambda: features(P)),
            Entry("reading the tokens once", "floor", lambda: reading(case.data[0])),
        ],
        reference=lambda: on_samples(case.layer, case.initial, *case.data),
        tolerance=1e-11,
        argument="rounding of averages over P terms; of as many steps as were timed",
        repeats=3,
        budget=15.0,
    )


def timed(run: Any, count: int) -> Built:
    """A run of a few of the steps."""
    return Built(run, share=count / STEPS, note=f"{count} of {STEPS:,} steps timed")


def on_samples(layer: AttentionLayer, theta: Array, tokens: Array, target: Array) -> Array:
    """Losses of the first steps, by the definition of the layer."""
    losses = []
    for _ in range(4):
        loss, gradient = definition(layer, theta, tokens, target)
        losses.append(loss)
        theta = theta - RATE * gradient
    return np.array(losses)


def definition(layer: AttentionLayer, theta: Array, X: Array, y: Array) -> tuple[float, Array]:
    """Loss and gradient, one einsum a product."""
    a, keys, queries = layer.unpack(theta)
    A = np.matmul(X.swapaxes(1, 2), X) / (X.shape[1] - 1)
    u = np.einsum("hrk,pk->phr", queries, X[:, -1])
    Ak = np.einsum("pik,hrk->phri", A, keys)
    s = np.einsum("phri,hi->phr", Ak, a)
    rest = 2 * (np.einsum("phr,phr->p", s, u) - y) / len(y)
    ga = np.einsum("p,phri,phr->hi", rest, Ak, u)
    gk = np.einsum("p,phr,phk->hrk", rest, u, np.einsum("pik,hi->phk", A, a))
    gq = np.einsum("p,phr,pk->hrk", rest, s, X[:, -1])
    loss = float(np.mean((np.einsum("phr,phr->p", s, u) - y) ** 2))
    return loss, np.concatenate([ga.ravel(), gk.ravel(), gq.ravel()])


def features(P: int) -> Built:
    """The product (F, P) (P, F), F = 60."""
    f = np.random.default_rng(0).standard_normal((P, 60))
    out = np.empty((60, 60))

    def run() -> None:
        np.dot(f.T, f, out=out)

    return Built(run)


def reading(tokens: Array) -> Built:
    """A sum reads, and does little else."""

    def run() -> None:
        tokens.sum()

    note = f"{tokens.nbytes / copy_rate() * 1e3:.3g} ms at the copy rate"
    return Built(run, note=note)


def step_row(name: str, title: str, layer: Any, data: Sample, forms: Any, scores: int) -> Row:
    """Loss and gradient of a softmax layer on one batch."""
    tokens, target = data
    theta = layer.initial_weights(0.2, rng=1)

    def ours() -> Built:
        system = LayerSystem(layer, tokens, target)
        note = "sequences laid out before, as in training on a fixed sample"
        return Built(lambda: joined(system.loss_and_gradient(theta)), note=note)

    def fresh() -> Built:
        return Built(lambda: joined(layer.loss_and_gradient(theta, tokens, target)))

    jax = Entry(
        "JAX, the query alone, weights folded into it",
        "theirs",
        lambda: by_jax.layer_step(layer, theta, tokens, target),
        ("jax",),
        XLA,
    )
    return Row(
        name,
        title,
        "loss and gradient of one batch, float64",
        [
            Entry("`LayerSystem.loss_and_gradient`", "ours", ours),
            Entry("`layer.loss_and_gradient`, a batch not seen before", "ours", fresh),
            *(
                Entry(
                    f"PyTorch autograd, {how}",
                    "theirs",
                    lambda form=form: joined_step(form, layer, theta, data),  # type: ignore[misc]
                    by_torch.NEEDS,
                )
                for how, form in forms
            ),
            *([jax] if forms is ONE_OUTPUT else []),
            Entry("its exponentials alone, `np.exp`", "floor", lambda: exponentials(scores)),
            Entry("reading the tokens once", "floor", lambda: reading(tokens)),
        ],
        reference=lambda: joined(layer.loss_and_gradient(theta, tokens, target)),
        tolerance=2000 * np.finfo(float).eps,
        argument="rounding of sums over the batch; all are compared with our second entry",
        repeats=9,
        budget=10.0,
    )


def joined(found: tuple[float, Array]) -> Array:
    """Loss and gradient in one array."""
    return np.append(found[1], found[0])


def joined_step(form: by_torch.Form, layer: Any, theta: Array, data: Sample) -> Built:
    """PyTorch's step."""
    gradient = by_torch.bound(form, layer, *data, len(data[1]))
    return Built(lambda: joined(gradient(theta)))


def exponentials(count: int) -> Built:
    """One for each score of each head."""
    scores = np.random.default_rng(0).standard_normal(count)
    out = np.empty_like(scores)

    def run() -> None:
        np.exp(scores, out=out)

    return Built(run)


def one_output(P: int, N: int, D: int, H: int) -> Row:
    """[L]'s layer."""
    layer = AttentionLayer(D, H, 1, "softmax")
    title = f"A step of softmax attention [L], B = {P}, N = {N}, D = {D}, H = {H}, R = 1"
    return step_row("softmax-one", title, layer, sample(P, N, D), ONE_OUTPUT, P * (N + 1) * H)


def several_outputs(P: int) -> Row:
    """[S]'s layer on three tasks."""
    layer = MultiTaskLayer(30, outputs=3, heads=3, embedding_dim=30)
    data = sample_multitask(MultiTask((10, 10, 10), signal=1.0, context_length=100), P, rng=0)
    title = f"A step of softmax attention [S], B = {P}, L = 100, d = 30, d_y = 3, H = 3"
    return step_row("softmax-three", title, layer, data, SEVERAL, P * 100 * 3)
