"""Optimisers: the change of the weights in one step, and what they remember between steps.

What an optimiser remembers is one array of `slots` rows as long as the weights, so that a run can
be stopped and resumed from arrays alone. Steps are counted from 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from numerics import _check

Array = NDArray[Any]


class Optimiser(Protocol):
    """What a training loop needs of an optimiser."""

    @property
    def slots(self) -> int:
        """Rows of memory."""

    def change(self, gradient: Array, memory: Array, rate: float, step: int) -> Array:
        """θ_step − θ_(step−1), a fresh array; writes to memory (slots, size)."""


def _share(name: str, value: float) -> float:
    share = _check.real(name, value, at_least=0.0)
    if not share < 1:
        raise ValueError(f"{name} must be < 1, got {share:g}")
    return share


@dataclass(frozen=True)
class GradientDescent:
    """θ ← θ − η g.

    >>> GradientDescent().change(np.ones(2), np.empty((0, 2)), 0.1, 1).tolist()
    [-0.1, -0.1]
    """

    slots: ClassVar[int] = 0

    def change(self, gradient: Array, memory: Array, rate: float, step: int) -> Array:
        """−η g."""
        return -rate * gradient


@dataclass(frozen=True)
class Momentum:
    """Heavy ball: u ← β u + g, θ ← θ − η u.

    Raises
    ------
    ValueError, TypeError
        If the decay β is not in [0, 1).
    """

    decay: float = 0.9
    slots: ClassVar[int] = 1

    def __post_init__(self) -> None:
        _check.settle(self, decay=_share("decay", self.decay))

    def change(self, gradient: Array, memory: Array, rate: float, step: int) -> Array:
        """−η u."""
        memory[0] = self.decay * memory[0] + gradient
        return np.asarray(-rate * memory[0])


@dataclass(frozen=True)
class Adam:
    """Kingma & Ba 2015, Algorithm 1, with decays β1, β2 and ε added to the root.

    Raises
    ------
    ValueError, TypeError
        If a decay is not in [0, 1), or ε not positive.
    """

    first_decay: float = 0.9
    second_decay: float = 0.999
    epsilon: float = 1e-8
    slots: ClassVar[int] = 2

    def __post_init__(self) -> None:
        _check.settle(
            self,
            first_decay=_share("first_decay", self.first_decay),
            second_decay=_share("second_decay", self.second_decay),
            epsilon=_check.real("epsilon", self.epsilon, above=0.0),
        )

    def change(self, gradient: Array, memory: Array, rate: float, step: int) -> Array:
        """−η m̂ / (√v̂ + ε)."""
        b1, b2 = self.first_decay, self.second_decay
        memory[0] = b1 * memory[0] + (1 - b1) * gradient
        memory[1] = b2 * memory[1] + (1 - b2) * gradient**2
        scale = np.sqrt(memory[1] / (1 - b2**step)) + self.epsilon
        return np.asarray(-rate * (memory[0] / (1 - b1**step)) / scale)


OPTIMISERS: dict[str, Optimiser] = {
    "gradient-descent": GradientDescent(),
    "momentum": Momentum(),
    "adam": Adam(),
}


def as_optimiser(optimiser: str | Optimiser) -> Optimiser:
    """The optimiser of a name, with its usual constants; one that is given comes back.

    Raises
    ------
    ValueError, TypeError
        For a name that is not known, or what is neither a name nor an optimiser.

    Examples
    --------
    >>> as_optimiser("adam")
    Adam(first_decay=0.9, second_decay=0.999, epsilon=1e-08)
    """
    if isinstance(optimiser, str):
        return OPTIMISERS[_check.choice("optimiser", optimiser, OPTIMISERS)]
    if isinstance(optimiser, type) or not hasattr(optimiser, "slots"):
        raise TypeError(f"optimiser must be a name or an Optimiser, got {_check.shown(optimiser)}")
    return optimiser
