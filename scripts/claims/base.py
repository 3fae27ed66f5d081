"""What a claim is, and how it is judged.

A claim runs and returns `Evidence`: a list of checks, each one prediction beside one measurement
with a tolerance and the argument for it. A check can also answer for its negative control: the
same comparison with the prediction perturbed, which has to fail.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Array = NDArray[Any]
PERTURBATION = 1.01


@dataclass(frozen=True)
class Settings:
    """How thoroughly to check. `full` takes more seeds, longer ladders and larger samples.

    `backend` says on which arrays the claims about batches run: numpy, cupy or strict.
    """

    full: bool = False
    seed: int = 0
    backend: str = "numpy"

    def choose(self, quick: Any, full: Any) -> Any:
        """`full` in a full run, else `quick`."""
        return full if self.full else quick


@dataclass(frozen=True, eq=False)
class Check:
    """One quantity, predicted and measured.

    Attributes
    ----------
    quantity : str
        What is compared.
    predicted, measured : float or list
        The two values; of arrays, the entry where they differ most.
    error, tolerance : float
        Dimensionless distance, and how large it may be.
    because : str
        Why the tolerance is what it is.
    control : callable
        Gives the check with its prediction perturbed; that check must not hold.
    beyond : bool
        Whether the check tests the statement outside the regime in which it is derived; if only
        such checks fail, the claim holds in a narrower regime.
    """

    quantity: str
    predicted: Any
    measured: Any
    error: float
    tolerance: float
    because: str
    control: Callable[[], Check]
    beyond: bool = False

    @property
    def holds(self) -> bool:
        """Whether the error is a number within the tolerance."""
        return bool(self.error <= self.tolerance)


@dataclass(frozen=True, eq=False)
class Evidence:
    """The checks of one claim and, if it has one, a picture drawn into given axes."""

    checks: list[Check]
    draw: Callable[[Axes], None] | None = None
    note: str = ""

    @property
    def decisive(self) -> Check:
        """The check that comes closest to failing, or fails by most."""
        return max(self.checks, key=lambda c: _strain(c.error, c.tolerance))

    @property
    def verdict(self) -> str:
        """``holds``, ``narrower`` or ``fails``."""
        failed = [check for check in self.checks if not check.holds]
        if not failed:
            return "holds"
        return "narrower" if all(check.beyond for check in failed) else "fails"


def _strain(error: float, tolerance: float) -> float:
    if not np.isfinite(error):
        return float("inf")
    if tolerance > 0:
        return error / tolerance
    return float("inf") if error > 0 else 0.0


@dataclass(frozen=True, eq=False)
class Claim:
    """One statement of the theory that can be run."""

    id: str
    source: str
    kind: str
    statement: str
    regime: str
    run: Callable[[Settings], Evidence] = field(repr=False)


def claim(
    id: str, *, source: str, kind: str, statement: str, regime: str
) -> Callable[[Callable[[Settings], Evidence]], Claim]:
    """Turn a function of the settings into a claim.

    Raises
    ------
    ValueError
        If `kind` is not identity, asymptotic or qualitative.
    """
    if kind not in ("identity", "asymptotic", "qualitative"):
        raise ValueError(f"kind must be identity, asymptotic or qualitative, got {kind!r}")
    return lambda run: Claim(id, source, kind, statement, regime, run)


def agree(
    quantity: str,
    predicted: ArrayLike,
    measured: ArrayLike,
    tolerance: float,
    because: str,
    *,
    scale: ArrayLike | None = None,
    control: Callable[[], ArrayLike] | None = None,
    beyond: bool = False,
) -> Check:
    """Check max |measured − predicted| / scale ≤ tolerance.

    `scale` is the largest |predicted| unless given. The control multiplies the prediction by
    1.01, or, where the prediction enters the measurement (a gradient at a predicted point, say),
    `control` measures again at the perturbed prediction.
    """
    p, m = np.asarray(predicted, float), np.asarray(measured, float)
    size = np.abs(p).max() if scale is None else np.asarray(scale, float)
    p, m, distance = np.broadcast_arrays(p, m, np.abs(m - p) / size)
    worst = np.unravel_index(int(np.argmax(distance)), distance.shape)

    def perturbed() -> Check:
        if control is not None:
            again = np.asarray(control(), float)
            return agree(quantity, p, again, tolerance, because, scale=size)
        return agree(quantity, p * PERTURBATION, m, tolerance, because, scale=size)

    return Check(
        quantity,
        float(p[worst]),
        float(m[worst]),
        float(distance[worst]),
        tolerance,
        because,
        perturbed,
        beyond,
    )


def within_noise(
    quantity: str,
    predicted: ArrayLike,
    measured: ArrayLike,
    standard_error: ArrayLike,
    *,
    wrong: ArrayLike | None = None,
) -> Check:
    """Check that a Monte Carlo average lies within 4.5 standard errors, entry by entry.

    Where 1 % is less than the noise, the control takes the wrong prediction that it is given.
    """
    because = "4.5 standard errors; exceeded by chance about once in 150,000 entries"
    name = f"{quantity}, in standard errors"
    check = agree(name, predicted, measured, 4.5, because, scale=standard_error)
    if wrong is None:
        return check
    return replace(
        check, control=lambda: agree(name, wrong, measured, 4.5, because, scale=standard_error)
    )


def same(
    quantity: str,
    predicted: ArrayLike,
    measured: ArrayLike,
    *,
    control: Callable[[], ArrayLike] | None = None,
    beyond: bool = False,
) -> Check:
    """Check that counts, orders or signs are equal; the error is how many differ.

    The control reverses an order and adds one to counts.
    """
    p, m = np.atleast_1d(predicted), np.atleast_1d(measured)
    differing = float(p.size + m.size) if p.shape != m.shape else float((p != m).sum())

    def perturbed() -> Check:
        if control is not None:
            return same(quantity, p, control())
        is_order = p.ndim == 1 and p.size > 1 and sorted(p.tolist()) == list(range(p.size))
        return same(quantity, p[::-1] if is_order else p + 1, m)

    shown = (p.item(), m.item()) if p.size == m.size == 1 else (p.tolist(), m.tolist())
    return Check(quantity, *shown, differing, 0.0, "a count or an order", perturbed, beyond)


def at_least(quantity: str, least: int, measured: int, *, control: Callable[[], int]) -> Check:
    """Check that a search found enough for its result to mean something."""
    missing = float(max(0, least - measured))
    return Check(
        f"{quantity}, at least",
        least,
        measured,
        missing,
        0.0,
        "a search that finds little shows little",
        lambda: at_least(quantity, least, control(), control=control),
    )


def shrinks(
    quantity: str,
    parameter: ArrayLike,
    predicted: ArrayLike,
    measured: ArrayLike,
    exponent: float,
    because: str,
    *,
    slack: float = 0.25,
    wrong: ArrayLike | None = None,
    beyond: bool = False,
) -> Check:
    """Check that the relative error of rung i falls at least like parameter_i ** exponent.

    Entries along the first axis of `predicted` and `measured` are rungs; a rung's error is the
    norm of its difference over the norm of its prediction. The exponent is fitted by least
    squares to ln(error) over ln(parameter). `slack` allows for the logarithms and next orders
    that a ladder of finite length still sees. The control multiplies the prediction by 1.01 or,
    where such a factor would drown in the error, takes the wrong prediction that it is given.
    """
    x = np.asarray(parameter, float)
    p, m = (np.asarray(a, float).reshape(len(x), -1) for a in (predicted, measured))
    p = np.broadcast_to(p, np.broadcast_shapes(p.shape, m.shape))
    errors = np.linalg.norm(m - p, axis=1) / np.linalg.norm(p, axis=1)
    with np.errstate(divide="ignore"):
        fitted = float(np.polyfit(np.log(x), np.log(errors), 1)[0])

    def perturbed() -> Check:
        again = p * PERTURBATION if wrong is None else wrong
        return shrinks(quantity, x, again, m, exponent, because, slack=slack)

    return Check(
        quantity=f"{quantity}: exponent of the error, at least (errors {_brief(errors)})",
        predicted=exponent,
        measured=fitted,
        error=float(np.maximum(0.0, (exponent - fitted) * np.sign(exponent))),
        tolerance=slack,
        because=because,
        control=perturbed,
        beyond=beyond,
    )


def _brief(values: Array) -> str:
    return ", ".join(f"{v:.1e}" for v in values)
