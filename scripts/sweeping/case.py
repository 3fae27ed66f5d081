"""One case of a sweep: everything that decides its numbers, and the names that follow from it.

A case is known by its canonical JSON: keys sorted, every default written out, numbers in the
shortest form that reads back the same. The hash of that, with the version of the file format,
names its file; the hash of what decides its draws seeds its random stream. Neither depends on
other cases, nor on where and when the case is computed.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, ClassVar

import numpy as np

from numerics import (
    LinearTask,
    MergedAttention,
    MultiTask,
    SeparateAttention,
    SpectralAttention,
    _check,
)

FORMAT = 1  # of the files; a change that makes other numbers counts as one


class _Case:
    """What all kinds share."""

    kind: ClassVar[str]
    UNDRAWN: ClassVar[tuple[str, ...]] = ("duration",)  # does not bear on the random draws

    def content(self) -> dict[str, Any]:
        """Every field by name, as JSON has it; N = ∞ is the text "inf"."""
        values = {name: _plain(value) for name, value in asdict(self).items()}  # type: ignore[call-overload]
        return {"kind": self.kind, **values}

    @property
    def canonical(self) -> str:
        """The one text of this case."""
        return _canonical(self.content())

    @property
    def key(self) -> str:
        """32 hexadecimal digits of the hash of the case and of the format's version."""
        return _digest({"format": FORMAT, **self.content()})[:32]

    def generator(self) -> np.random.Generator:
        """The random stream of this case, keyed by its content."""
        content = {k: v for k, v in self.content().items() if k not in self.UNDRAWN}
        return np.random.default_rng(np.random.SeedSequence(int(_digest(content), 16)))

    def _set(self, **values: Any) -> None:
        for name, value in values.items():
            object.__setattr__(self, name, value)


@dataclass(frozen=True)
class _OneTask(_Case):
    """What both kinds of linear attention have; the docstring of `LinearCase` says what is what."""

    eigenvalues: tuple[float, ...]
    context_length: float
    heads: int = None  # type: ignore[assignment]
    noise: float = 0.0
    init: float = 1e-3
    seed: int = 0
    duration: float | None = None

    def __post_init__(self) -> None:
        values = _check.floating_array("eigenvalues", self.eigenvalues, 1)
        length = math.inf if self.context_length == "inf" else self.context_length
        _check.floating_array("context_length", length, 0, finite=False)
        noise = _check.real("noise", self.noise, at_least=0.0)
        task = LinearTask.from_eigenvalues(values, length, noise=noise)
        self._set(
            eigenvalues=tuple(values.tolist()), context_length=float(length) + 0.0,
            heads=task.dimension if self.heads is None else self.heads, noise=noise + 0.0,
            init=_check.real("init", self.init, above=0.0),
            seed=_check.count("seed", self.seed, 0), duration=_duration(self.duration),
        )  # fmt: skip


@dataclass(frozen=True)
class LinearCase(_OneTask):
    """Gradient flow of ATTN_S on Gaussian tokens, from random weights ([L], arXiv 2501.16265v2).

    Parameters
    ----------
    eigenvalues : sequence of float
        λ > 0 of the token covariance; D is their number.
    context_length : float
        N >= 1, the number of context pairs, the query not counted; inf is allowed.
    heads : int, optional
        H; D if left out.
    noise : float
        σ >= 0 of the labels.
    init : float
        Standard deviation > 0 of every initial weight.
    seed : int
        One of the draws; another case with the same seed draws other weights.
    duration : float, optional
        Flow time in units of τ; until all modes are learned that can be, if left out.
    rank : int
        R, key-query pairs in each head.

    Raises
    ------
    ValueError, TypeError
        If a value is out of its range.

    Examples
    --------
    >>> case = LinearCase([0.4, 0.3], 31)
    >>> case.heads, case.key == LinearCase((0.4, 0.3), 31.0, heads=2).key
    (2, True)
    >>> bool(case.generator().random() == LinearCase([0.4, 0.3], 31, seed=1).generator().random())
    False
    """

    kind: ClassVar[str] = "linear"

    rank: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        model = SeparateAttention(len(self.eigenvalues), self.heads, self.rank)
        self._set(heads=int(model.heads), rank=int(model.rank))


@dataclass(frozen=True)
class MergedCase(_OneTask):
    """Gradient flow of ATTN_M, keys and queries merged, on Gaussian tokens ([L] §3).

    Parameters
    ----------
    eigenvalues, context_length, heads, noise, init, seed
        As in `LinearCase`.
    duration : float, optional
        Flow time in units of τ; until the loss has all but settled, if left out.

    Raises
    ------
    ValueError, TypeError
        If a value is out of its range.

    Examples
    --------
    >>> MergedCase([0.4, 0.3], 31).content()["heads"]
    2
    """

    kind: ClassVar[str] = "merged"

    def __post_init__(self) -> None:
        super().__post_init__()
        self._set(heads=int(MergedAttention(len(self.eigenvalues), self.heads).heads))


@dataclass(frozen=True)
class SoftmaxCase(_Case):
    """Heads of softmax attention on several tasks ([S], arXiv 2402.19442), d_i and L finite.

    Computed are the exact losses of the limit and of the best heads and, unless `init` is None,
    the spectral flow: from ω = `init` everywhere, and μ uniform in [0, ½] but 1 for the head
    that leads a task, another head for each, drawn at random.

    Parameters
    ----------
    block_dims : sequence of int
        d_i >= 1, one for each task.
    context_length : int
        L >= 1, the number of context pairs.
    signal : float or sequence
        λ_i > 0, one for all or one each.
    noise : float
        σ >= 0 of the labels.
    heads : int, optional
        H, at least one for each task, as the limit of [S] needs; that many if left out.
    embedding_dim : int, optional
        d_e; the sum of the d_i if left out.
    init : float or None
        ω(0) > 0.
    seed : int
        Of the initial μ.
    duration : float, optional
        Time of [S]'s flow; by default the predicted warm-up twice, and what settling takes.

    Raises
    ------
    ValueError, TypeError
        If a value is out of its range.

    Examples
    --------
    >>> SoftmaxCase([10, 10, 10], 100).content()["embedding_dim"]
    30
    """

    kind: ClassVar[str] = "softmax"

    block_dims: tuple[int, ...]
    context_length: int
    signal: tuple[float, ...] = 1.0  # type: ignore[assignment]
    noise: float = 0.0
    heads: int = None  # type: ignore[assignment]
    embedding_dim: int = None  # type: ignore[assignment]
    init: float | None = 0.01
    seed: int = 0
    duration: float | None = None

    def __post_init__(self) -> None:
        task = MultiTask(self.block_dims, self.signal, self.context_length, noise=self.noise)
        heads = task.outputs if self.heads is None else self.heads
        embedding_dim = task.dimension if self.embedding_dim is None else self.embedding_dim
        model = SpectralAttention(task.block_dims, heads, embedding_dim)
        if model.heads < task.outputs:
            raise ValueError(f"heads must be >= {task.outputs}, one for each task, got {heads}")
        init = None if self.init is None else _check.real("init", self.init, above=0.0)
        self._set(
            block_dims=tuple(task.block_dims), context_length=int(task.context_length),
            signal=tuple(np.asarray(task.signal).tolist()), noise=float(task.noise) + 0.0,
            heads=int(heads), embedding_dim=int(embedding_dim), init=init,
            seed=_check.count("seed", self.seed, 0), duration=_duration(self.duration),
        )  # fmt: skip


AnyCase = LinearCase | MergedCase | SoftmaxCase
KINDS: dict[str, type[LinearCase] | type[MergedCase] | type[SoftmaxCase]] = {
    cls.kind: cls for cls in (LinearCase, MergedCase, SoftmaxCase)
}


def case_of(content: Mapping[str, Any]) -> AnyCase:
    """Make a case of its fields by name; ``"kind"`` is linear if left out.

    Raises
    ------
    ValueError, TypeError
        If a name is unknown, one is missing, or a value is out of its range.

    Examples
    --------
    >>> case_of({"eigenvalues": [1.0], "context_length": "inf"}).context_length
    inf
    """
    given = dict(content)
    kind = given.pop("kind", "linear")
    if not isinstance(kind, str) or kind not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}, got {kind!r}")
    known = [field.name for field in fields(KINDS[kind])]
    for name in given:
        if name not in known:
            raise ValueError(f"{name} is not a field of a {kind} case; there are {known}")
    for name in known[:2]:
        if name not in given:
            raise ValueError(f"{name} is missing")
    return KINDS[kind](**given)


def _duration(value: Any) -> float | None:
    return None if value is None else _check.real("duration", value, above=0.0)


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(entry) for entry in value]
    if isinstance(value, float):
        if math.isinf(value):
            return "inf"
        return int(value) if value.is_integer() and abs(value) < 2**53 else value
    return value


def _canonical(content: dict[str, Any]) -> str:
    return json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _digest(content: dict[str, Any]) -> str:
    return hashlib.sha256(_canonical(content).encode()).hexdigest()
