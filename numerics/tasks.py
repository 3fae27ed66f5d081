"""Tasks: how a sequence of in-context linear regression is drawn.

Notation ([L] §2): tokens x ∈ R^D with second moment Λ, task vector w with mean 0 and second
moment Ω, context labels y_n = wᵀx_n + σ ε_n for n = 1…N, query x_q with target y_q = wᵀx_q
(the target carries no label noise). N counts the context pairs; the query is not among them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from numerics import _check
from numerics._guard import guarded
from numerics._repr import OneLine

Array = NDArray[np.floating]


def _context_lengths(value: Any) -> tuple[float, ...]:
    lengths = _check.floating_array("context_length", value, (0, 1), finite=False)
    if not (lengths >= 1).all():
        raise ValueError(f"context_length must be >= 1 (number of context pairs N), got {value!r}")
    return tuple(np.atleast_1d(lengths).tolist())


class _Task(OneLine):
    """What every task offers: E[1/N], Ω in full, and the dimension D."""

    context_length: float | Sequence[int]
    lengths: tuple[float, ...]
    task_covariance: Array
    noise: float

    def _settle(self, dimension: int, dtype: np.dtype[Any]) -> None:
        """Validate the fields that all tasks share and store them in full."""
        lengths = _context_lengths(self.context_length)
        object.__setattr__(self, "lengths", lengths)
        omega = self.task_covariance
        omega = np.eye(dimension) if omega is None else omega
        omega = _check.positive_semidefinite("task_covariance", omega).astype(dtype)
        _check.same_length(
            "the size of task_covariance", len(omega), "the dimension of the tokens", dimension
        )
        object.__setattr__(self, "task_covariance", omega)
        object.__setattr__(self, "noise", _check.real("noise", self.noise, at_least=0.0))

    @property
    def inverse_context_length(self) -> float:
        """E[1/N], the only way in which N enters the moments."""
        return math.fsum(1.0 / n for n in self.lengths) / len(self.lengths)


@dataclass(frozen=True, eq=False, repr=False)
class LinearTask(_Task):
    """Gaussian tokens x ~ N(0, Λ).

    Parameters
    ----------
    covariance : (D, D)
        Λ, symmetric positive definite.
    context_length : float or list of int
        N, the number of context pairs, at least 1 (``math.inf`` for the limit); a list means
        that each sequence draws its length from it, all entries equally likely.
    task_covariance : (D, D), optional
        Ω = E[wwᵀ]; the identity if left out.
    noise : float
        σ, the standard deviation of the label noise in the context.

    Raises
    ------
    ValueError, TypeError
        If Λ is not symmetric positive definite, Ω not positive semidefinite, N < 1 or σ < 0.

    Examples
    --------
    >>> task = LinearTask([[0.5, 0.1], [0.1, 0.3]], context_length=[15, 31])
    >>> task.dimension, round(task.inverse_context_length, 6)
    (2, 0.049462)
    """

    covariance: Array
    context_length: float | Sequence[int]
    task_covariance: Array = None  # type: ignore[assignment]
    noise: float = 0.0

    @guarded
    def __post_init__(self) -> None:
        covariance = _check.floating_array("covariance", self.covariance, (1, 2))
        if covariance.ndim == 1:
            raise ValueError(
                f"covariance must have 2 axes, got shape {covariance.shape}; for a list of "
                "eigenvalues there is LinearTask.from_eigenvalues"
            )
        covariance = _check.positive_definite("covariance", covariance)
        object.__setattr__(self, "covariance", covariance)
        self._settle(len(covariance), covariance.dtype)

    @classmethod
    def from_eigenvalues(
        cls,
        eigenvalues: ArrayLike,
        context_length: float | Sequence[int],
        *,
        task_eigenvalues: ArrayLike = 1.0,
        noise: float = 0.0,
        rng: Any = None,
    ) -> LinearTask:
        """Task whose Λ and Ω share eigenvectors: the axes, or a random rotation if `rng` is given.

        >>> LinearTask.from_eigenvalues([0.4, 0.3], 31).covariance.tolist()
        [[0.4, 0.0], [0.0, 0.3]]
        """
        spectrum = _check.floating_array("eigenvalues", eigenvalues, 1)
        if not (spectrum > 0).all():
            raise ValueError(f"eigenvalues must be > 0, got a smallest of {spectrum.min():.3g}")
        omega = _check.floating_array("task_eigenvalues", task_eigenvalues, (0, 1))
        if not (omega >= 0).all():
            raise ValueError(f"task_eigenvalues must be >= 0, got a smallest of {omega.min():.3g}")
        if omega.ndim:
            _check.same_length("the number of task_eigenvalues", len(omega), "eigenvalues",
                               len(spectrum))  # fmt: skip
        basis = np.eye(len(spectrum), dtype=spectrum.dtype)
        if rng is not None:
            basis = random_rotation(len(spectrum), rng=rng).astype(spectrum.dtype)
        return cls(
            (basis * spectrum) @ basis.T,
            context_length,
            (basis * np.broadcast_to(omega, spectrum.shape)) @ basis.T,
            noise,
        )

    @property
    def dimension(self) -> int:
        """D."""
        return len(self.covariance)


@dataclass(frozen=True, eq=False, repr=False)
class TokenTask(_Task):
    """Tokens drawn independently, with replacement, from the rows of a data matrix.

    Parameters
    ----------
    tokens : (P, D)
        At least two rows; Λ = tokensᵀ tokens / P must be positive definite, so centre and
        reduce the rows beforehand if you want the theory in those coordinates.
    context_length, task_covariance, noise
        As in `LinearTask`.

    Raises
    ------
    ValueError, TypeError
        If there are fewer than two rows, or a direction in which all tokens vanish.

    Examples
    --------
    >>> task = TokenTask([[1.0, 0.0], [0.0, 2.0]], context_length=3)
    >>> task.covariance.tolist()
    [[0.5, 0.0], [0.0, 2.0]]
    """

    tokens: Array
    context_length: float | Sequence[int]
    task_covariance: Array = None  # type: ignore[assignment]
    noise: float = 0.0

    @guarded
    def __post_init__(self) -> None:
        tokens = _check.floating_array("tokens", self.tokens, 2)
        if len(tokens) < 2:
            raise ValueError(f"tokens must have at least 2 rows, got shape {tokens.shape}")
        object.__setattr__(self, "tokens", tokens)
        self._settle(tokens.shape[1], tokens.dtype)
        _check.positive_definite("the second moment of tokens", self.covariance)

    @cached_property
    def covariance(self) -> Array:
        """Λ = E[xxᵀ] over the rows (not centred)."""
        second: Array = self.tokens.T @ self.tokens / len(self.tokens)
        return (second + second.T) / 2

    @cached_property
    def fourth_moment(self) -> Array:
        """E[x xᵀΩx xᵀ] over the rows, the only fourth moment that the loss sees."""
        energy = np.sum((self.tokens @ self.task_covariance) * self.tokens, axis=1)
        fourth: Array = (self.tokens * energy[:, None]).T @ self.tokens / len(self.tokens)
        return (fourth + fourth.T) / 2

    @property
    def dimension(self) -> int:
        """D."""
        return self.tokens.shape[1]


Task = LinearTask | TokenTask


@guarded
def random_rotation(dimension: int, *, rng: Any = None) -> Array:
    """Draw an orthogonal matrix (D, D) from the Haar measure.

    >>> Q = random_rotation(3, rng=0)
    >>> bool(np.allclose(Q @ Q.T, np.eye(3)))
    True
    """
    dimension = _check.count("dimension", dimension)
    normal = _check.generator("rng", rng).standard_normal((dimension, dimension))
    Q, R = np.linalg.qr(normal)
    return np.asarray(Q * np.sign(np.diagonal(R)))
