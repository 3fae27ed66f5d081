"""What a step of training sees: a fixed sample, minibatches of one, or fresh sequences.

Batches are keyed, not streamed: the batch of a step depends on the run's entropy and the number of
the step alone, so that a run resumed in the middle sees what it would have seen.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from numerics import _check
from numerics._guard import guarded
from numerics.layers.base import Layer
from numerics.layers.system import LayerSystem
from numerics.moments import moments_of_sequences
from numerics.multitask import MultiTask, sample_multitask
from numerics.sampling import Sequences, sample_sequences, take_sequences
from numerics.systems import Attention, AttentionSystem, Trainable
from numerics.tasks import LinearTask, Task, TokenTask

Array = NDArray[Any]
Data = Sequences | tuple[Array, Array]
Sampler = Callable[..., Data]
Entropy = tuple[int, ...]


@runtime_checkable
class Batches(Protocol):
    """Where a training loop gets the system of each step from."""

    @property
    def model(self) -> Any:
        """What is trained."""

    def system(self, step: int, entropy: Entropy, dtype: Any) -> Trainable:
        """The model bound to the batch of update `step`, counted from 0."""


def keyed_generator(entropy: Entropy, *key: int) -> np.random.Generator:
    """A generator of its own for each key of a run.

    >>> a, b, c = (keyed_generator((7,), 0, step).random() for step in (1, 1, 2))
    >>> a == b, a == c
    (True, False)
    """
    return np.random.default_rng(np.random.SeedSequence(entropy, spawn_key=key))


def keyed_entropy(rng: Any) -> Entropy:
    """128 bits drawn from a generator, a seed, or the system's entropy."""
    numbers = _check.generator("rng", rng).integers(2**32, size=4, dtype=np.uint64)
    return tuple(int(number) for number in numbers)


def bind(model: Layer | Attention, data: Data, dtype: Any = np.float64) -> Trainable:
    """A model on data: a whole layer on its tokens, a reduced one on its moments.

    Raises
    ------
    TypeError
        If a reduced model is given tokens; it needs `Sequences`.
    """
    _check_data(data)
    if isinstance(model, Layer):
        if isinstance(data, Sequences):
            return LayerSystem.of(model, _cast(data, dtype))
        return LayerSystem(model, *(np.asarray(part, dtype) for part in data))
    if not isinstance(data, Sequences):
        raise TypeError(f"data must be Sequences for {type(model).__name__}, got a tuple of arrays")
    return AttentionSystem(model, moments_of_sequences(_cast(data, dtype)))


def _check_data(data: Any) -> None:
    if isinstance(data, Sequences):
        return
    if not (isinstance(data, tuple) and len(data) == 2 and all(map(np.ndim, data))):
        raise TypeError(
            f"data must be Sequences or a tuple (tokens, target), got {_check.shown(data)}"
        )


class Minibatches:
    """Batches of a sample in random order, each sequence once in an epoch.

    An epoch has P // size steps; what is left over differs from epoch to epoch, as each has an
    order of its own.

    Parameters
    ----------
    model
        A whole layer, or a reduced model (`MergedAttention`, `SeparateAttention`).
    data : Sequences, or (tokens (P, N+1, K), target)
        The sample.
    size : int
        Sequences in a batch, from 1 to P.

    Raises
    ------
    ValueError, TypeError
        If the size is out of range, or data do not fit the model.

    Examples
    --------
    >>> from numerics import AttentionLayer, LinearTask
    >>> sample = sample_sequences(LinearTask([[1.0]], 3), 100, rng=0)
    >>> batches = Minibatches(AttentionLayer(dimension=1, heads=1), sample, 30)
    >>> batches.steps_per_epoch
    3
    """

    @guarded
    def __init__(self, model: Layer | Attention, data: Data, size: int) -> None:
        _check_data(data)
        if not isinstance(data, Sequences):
            data = np.asarray(data[0]), np.asarray(data[1])
        self.model, self.data = model, data
        self.size = _check.count("size", size)
        self.count = len(data) if isinstance(data, Sequences) else len(data[0])
        if self.size > self.count:
            raise ValueError(f"size must be <= {self.count}, the sequences, got {self.size}")
        bind(model, _take(data, np.arange(1)))  # refuse what does not fit now, not in step 0
        self.steps_per_epoch = self.count // self.size
        self._order: tuple[Entropy, int, Array] | None = None

    def system(self, step: int, entropy: Entropy, dtype: Any) -> Trainable:
        """The model on the batch of a step."""
        epoch, number = divmod(step, self.steps_per_epoch)
        if self._order is None or self._order[:2] != (entropy, epoch):
            order = keyed_generator(entropy, 0, epoch).permutation(self.count)
            self._order = (entropy, epoch, order)
        rows = self._order[2][number * self.size : (number + 1) * self.size]
        return bind(self.model, _take(self.data, rows), dtype)


class FreshBatches:
    """New sequences in every step: training on the population with the noise of a finite batch.

    Parameters
    ----------
    model
        A whole layer, or a reduced model (`MergedAttention`, `SeparateAttention`).
    task : LinearTask, TokenTask, MultiTask or callable
        What sequences are drawn from; or a function ``draw(count, rng=generator)`` that returns
        `Sequences` or (tokens, target).
    size : int
        Sequences in a batch.

    Raises
    ------
    ValueError, TypeError
        If the size is below 1, or what is drawn does not fit the model.

    Examples
    --------
    >>> from numerics import AttentionLayer, LinearTask
    >>> layer = AttentionLayer(dimension=1, heads=1, attention="softmax")
    >>> batches = FreshBatches(layer, LinearTask([[1.0]], 3), 64)
    >>> one = batches.system(5, (0,), np.float64).loss(np.zeros(layer.size))
    >>> two = batches.system(5, (0,), np.float64).loss(np.zeros(layer.size))
    >>> bool(one == two)
    True
    """

    @guarded
    def __init__(
        self, model: Layer | Attention, task: Task | MultiTask | Sampler, size: int
    ) -> None:
        self.model, self.size = model, _check.count("size", size)
        self.draw = _sampler(task)
        bind(model, self.draw(1, rng=np.random.default_rng(0)))

    def system(self, step: int, entropy: Entropy, dtype: Any) -> Trainable:
        """The model on the sequences of a step."""
        return bind(self.model, self.draw(self.size, rng=keyed_generator(entropy, 1, step)), dtype)


class _FullBatch:
    """One system for every step."""

    def __init__(self, system: Trainable) -> None:
        self._system = system
        self.model = getattr(system, "model", system)

    def system(self, step: int, entropy: Entropy, dtype: Any) -> Trainable:
        return self._system


def as_batches(source: Batches | Trainable) -> Batches:
    """Batches; a system by itself is the batch of every step."""
    if isinstance(source, type) or not (isinstance(source, Batches) or hasattr(source, "velocity")):
        raise TypeError(f"batches must be batches or a system, got {_check.shown(source)}")
    if isinstance(source, Batches):
        return source
    return _FullBatch(source)


def loss_and_gradient(system: Trainable, theta: Array) -> tuple[float, Array]:
    """L and ∂L/∂θ, in one pass where the system can."""
    if isinstance(system, LayerSystem):
        return system.loss_and_gradient(theta)
    return float(system.loss(theta)), -2.0 * system.velocity(theta)


def _sampler(task: Task | MultiTask | Sampler) -> Sampler:
    if callable(task) and not isinstance(task, type):
        return task
    if not isinstance(task, MultiTask | LinearTask | TokenTask):
        raise TypeError(f"task must be a task or a function, got {_check.shown(task)}")
    sample: Any = sample_multitask if isinstance(task, MultiTask) else sample_sequences
    return lambda count, rng: sample(task, count, rng=rng)


def _take(data: Data, rows: Array) -> Data:
    if not isinstance(data, Sequences):
        return data[0][rows], data[1][rows]
    return take_sequences(data, rows)


def _cast(data: Sequences, dtype: Any) -> Sequences:
    if data.x.dtype == dtype:
        return data
    fields = ("x", "y", "query", "target", "w")
    return replace(data, **{name: getattr(data, name).astype(dtype) for name in fields})
