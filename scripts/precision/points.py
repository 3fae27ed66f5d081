"""Points at which closed forms are tried: generic ones, and many more at the edges.

A `Source` answers three questions (which of these, a number between, an integer between), so that
one generator serves a seeded table (`Seeded`) and Hypothesis in the tests.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

NEXT = 1.0 + 2.0**-52


class Source(Protocol):
    """Where points come from."""

    def pick(self, options: Sequence[Any]) -> Any:
        """One of the options."""

    def uniform(self, low: float, high: float) -> float:
        """A number between."""

    def integer(self, low: int, high: int) -> int:
        """An integer between, both ends included."""


class Seeded:
    """A source of pseudo-random points."""

    def __init__(self, seed: Any) -> None:
        self._rng = np.random.default_rng(seed)

    def pick(self, options: Sequence[Any]) -> Any:
        """One of the options."""
        return options[int(self._rng.integers(len(options)))]

    def uniform(self, low: float, high: float) -> float:
        """A number between."""
        return float(self._rng.uniform(low, high))

    def integer(self, low: int, high: int) -> int:
        """An integer between, both ends included."""
        return int(self._rng.integers(low, high + 1))


@dataclass(frozen=True)
class Case:
    """Arguments of a closed form: floats, integers and nested lists of them."""

    arguments: tuple[Any, ...]
    keywords: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        named = [f"{name}={value!r}" for name, value in self.keywords.items()]
        return f"({', '.join([repr(value) for value in self.arguments] + named)})"


def positive(s: Source, low: float = -6, high: float = 6) -> float:
    """A number > 0, over the decades given, powers of ten and neighbours of 1 among them."""
    if s.integer(0, 4) == 0:
        edges = [1.0, NEXT, 2.0 - NEXT, 10.0**low, 10.0**high]
        return float(s.pick([e for e in edges if 10.0**low <= e <= 10.0**high]))
    return float(10.0 ** s.uniform(low, high))


def many(s: Source, count: int, low: float = -6, high: float = 6) -> list[float]:
    """`count` numbers > 0."""
    return [positive(s, low, high) for _ in range(count)]


def signed(s: Source, low: float = -3, high: float = 1) -> float:
    """A number of either sign, 0 among them."""
    return float(s.pick([-1.0, 1.0, 1.0, -1.0, 0.0]) * positive(s, low, high))


def rows(s: Source, height: int, width: int, low: float = -3, high: float = 1) -> list[list[float]]:
    """A table of numbers of either sign."""
    return [[signed(s, low, high) for _ in range(width)] for _ in range(height)]


def length(s: Source, infinite: bool = True) -> float:
    """N from 1 to 10⁹, and infinity."""
    edges = [1.0, NEXT, 2.0, 31.0, 1e9] + [math.inf] * infinite
    return float(s.pick(edges)) if s.integer(0, 1) else positive(s, 0, 9)


def noise(s: Source) -> float:
    """σ, most often 0 or moderate."""
    return float(s.pick([0.0, 1e-9, 0.3, 1e3])) if s.integer(0, 1) else positive(s, -3, 2)


def spectrum(s: Source, size: int) -> list[float]:
    """D eigenvalues > 0 over 12 decades: generic, degenerate, nearly so, or with λ → 0."""
    kind = s.pick(["generic", "generic", "degenerate", "near", "vanishing", "decay"])
    base = positive(s)
    if kind == "degenerate":
        pair = [base, positive(s)]
        return [pair[s.integer(0, 1)] for _ in range(size)]
    if kind == "near":
        return [base * (1 + 2.0**-52 * s.integer(-3, 3)) for _ in range(size)]
    if kind == "vanishing":
        return [*many(s, size - 1), 1e-60]
    if kind == "decay":
        return [base * float(d + 1) ** -1.5 for d in range(size)]
    return many(s, size)


def dimension(s: Source, largest: int = 12, smallest: int = 1) -> int:
    """D from 1 to 12."""
    return int(s.pick([d for d in (1, 2, 3, 5, 8, 12) if smallest <= d <= largest]))


def task_spectrum(s: Source, size: int) -> Any:
    """ω: 1, one number, or D of them with zeros among them."""
    kind = s.pick(["one", "scalar", "listed", "zeros"])
    if kind == "one":
        return 1.0
    if kind == "scalar":
        return positive(s, -3, 3)
    zeros = [1.0, 0.0] if kind == "zeros" else [1.0]
    return [s.pick(zeros) * w for w in many(s, size, -3, 3)]


def spectral(s: Source, largest: int = 12, smallest: int = 1) -> Case:
    """λ, N, ω, σ of every spectral closed form."""
    size = dimension(s, largest, smallest)
    given = {"task_eigenvalues": task_spectrum(s, size), "noise": noise(s)}
    return Case((spectrum(s, size), length(s)), given)


def subset(s: Source, size: int) -> list[bool]:
    """Which modes are learned."""
    return [bool(s.integer(0, 1)) for _ in range(size)]


def with_subset(s: Source, largest: int = 12) -> Case:
    """A subset before λ, N, ω, σ."""
    case = spectral(s, largest)
    return Case((subset(s, len(case.arguments[0])), *case.arguments), case.keywords)


def rotation(s: Source, size: int) -> np.ndarray:
    """An orthogonal matrix; a signed permutation now and then."""
    rng = np.random.default_rng(s.integer(0, 2**31))
    if s.integer(0, 3) == 0:
        return np.eye(size)[rng.permutation(size)]
    return np.asarray(np.linalg.qr(rng.standard_normal((size, size)))[0])


def symmetric(s: Source, size: int, zeros: bool = False) -> list[list[float]]:
    """QΛQᵀ over 3 decades, or a diagonal matrix over 12."""
    if s.integer(0, 2) == 0:
        return [list(map(float, row)) for row in np.diag(many(s, size))]
    basis, values = rotation(s, size), np.array(many(s, size, -1.5, 1.5))
    if zeros and s.integer(0, 3) == 0:
        values[: size // 2] = 0.0
    matrix = (basis * values) @ basis.T
    # A positive ridge of rounding keeps a semi-definite matrix from eigenvalues below zero.
    matrix = (matrix + matrix.T) / 2 + (1e-13 * np.eye(size) if (values == 0).any() else 0)
    return [list(map(float, row)) for row in matrix]


def matrices(s: Source, largest: int = 12) -> Case:
    """Λ (D, D), and Ω or none."""
    size = dimension(s, largest)
    task = s.pick([None, symmetric(s, size, zeros=True)])
    return Case((symmetric(s, size),), {"task_covariance": task})


def batch(draw: Callable[[Source], Case], count: int, seed: Any) -> list[Case]:
    """`count` seeded cases of one kind; the seed is an integer or a list of them."""
    base = np.atleast_1d(seed).tolist()
    return [draw(Seeded([*base, index])) for index in range(count)]
