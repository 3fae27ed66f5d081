"""Reading somebody's training run from a .npz file; every error is one line that names the array.

Sizes: P sequences, N context pairs, D dimensions, H heads, R key-query pairs in a head. Weights are
as `torch.nn.Linear` stores them, (out, in), heads stacked along the first axis.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

import console

from .archive import Stored, check_finite, load, wrong
from .sample import Sample

Array = NDArray[Any]

VALUE, MERGED = "init_value_weight", "init_kq_weight"
KEY, QUERY = "init_key_weight", "init_query_weight"
FIRST, SECOND = "init_fc1_weight", "init_fc2_weight"
SAMPLE = ("x", "y_q")
KNOWN = (*SAMPLE, "lr", "loss", VALUE, MERGED, KEY, QUERY, FIRST, SECOND)


@dataclass(frozen=True, eq=False)
class Run:
    """A run made elsewhere, in float64; its sequences are still in the file.

    Attributes
    ----------
    design : str
        ``"merged"``, ``"separate"`` or ``"network"``.
    sample : Sample
        x, (P, N+1, D+1) tokens or for a network (P, D²) features z, and y_q.
    weights : tuple of arrays
        Value and key-query; value, key and query; or first and second layer: as in the file.
    loss : (steps,), optional
        The mean square error before each update, as they recorded it.
    heads : int
        H, or the width of the network.
    rank : int, optional
        R of a separate layer.
    stored_as : str
        The narrowest floating type in the file.
    """

    design: str
    sample: Sample
    rate: float
    weights: tuple[Array, ...]
    loss: Array | None
    heads: int
    rank: int | None
    stored_as: str

    @property
    def dimension(self) -> int:
        """D."""
        return isqrt(self.sample.shape[1]) if self.design == "network" else self.sample.shape[2] - 1

    @property
    def context_length(self) -> int | None:
        """N; None for a network, whose features do not tell."""
        return None if self.design == "network" else self.sample.shape[1] - 1


def read_run(source: str) -> Run:
    """Read and check a run; the numbers of its sample are checked when they are read.

    Raises
    ------
    console.InputError
        If the file is missing or damaged, or an array is missing, of a wrong shape or not finite.
    """
    arrays = load(source, KNOWN, SAMPLE)
    stored_as = min((a.dtype for a in arrays.values() if a.dtype.kind == "f"),
                    key=lambda dtype: dtype.itemsize, default=np.dtype(float)).name  # fmt: skip
    numbers = {name: _numbers(source, name, array) for name, array in arrays.items()}
    x, target, rate = (_need(source, numbers, name) for name in ("x", "y_q", "lr"))
    if rate.size != 1 or not rate.item() > 0:
        raise wrong(source, "lr", f"must be one number > 0, got {_shown(rate)}")
    if x.ndim not in (2, 3):
        raise wrong(source, "x", "must have shape (P, N+1, D+1), or (P, D²) for a two-layer "
                     f"network, got {x.shape}")  # fmt: skip
    _shape(source, "y_q", target, x.shape[:1], "one target for each sequence in x")
    loss = numbers.get("loss")
    if loss is not None and (loss.ndim != 1 or not np.isfinite(loss[:1]).all()):
        raise wrong(source, "loss", f"must be (steps,), beginning finite, got {_shown(loss)}")
    design, weights, heads, rank = (_network if x.ndim == 2 else _attention)(source, numbers, x)
    return Run(design, Sample(x, target), rate.item(), weights, loss, heads, rank, stored_as)


def _numbers(source: str, name: str, array: Any) -> Any:
    """As float64, finite; a recorded loss may run into infinity, where training diverged."""
    if array.dtype.kind not in "fiu":
        raise wrong(source, name, f"must hold real numbers, got dtype {array.dtype}")
    if not array.size:
        raise wrong(source, name, f"is empty, shape {array.shape}")
    if isinstance(array, Stored):
        return array
    array = array.astype(np.float64, copy=False)
    finite = np.isfinite(array)
    if name == "loss":
        finite = finite[: len(finite) - _tail(finite)] if finite.ndim == 1 else finite
    check_finite(source, name, array, finite)
    return array


def _tail(finite: Array) -> int:
    """How many entries at the end are not finite."""
    return int(np.argmax(finite[::-1])) if finite.any() else len(finite)


def _attention(
    source: str, arrays: dict[str, Any], x: Stored
) -> tuple[str, tuple[Array, ...], int, int | None]:
    """Design, weights, H and R of an attention layer."""
    if x.shape[1] < 2 or x.shape[2] < 2:
        raise wrong(source, "x", "must have shape (P, N+1, D+1) with N and D at least 1, "
                     f"got {x.shape}")  # fmt: skip
    width = x.shape[2]
    value = _need(source, arrays, VALUE)
    heads = _divide(source, VALUE, value, width, width, "H(D+1)", "D+1")
    both = MERGED in arrays and (KEY in arrays or QUERY in arrays)
    if both or not (MERGED in arrays or KEY in arrays or QUERY in arrays):
        raise console.InputError(
            f"{source}: {'has both' if both else 'lacks key-query weights: give'} {MERGED} (merged "
            f"layer) {'and' if both else 'or'} {KEY}, {QUERY} (separate layer)"
            + ("; give one of the two" if both else "")
        )
    if MERGED in arrays:
        merged = arrays[MERGED]
        _shape(source, MERGED, merged, (heads * width, width), f"(H(D+1), D+1) for H = {heads}")
        return "merged", (value, merged), heads, None
    key, query = _need(source, arrays, KEY), _need(source, arrays, QUERY)
    rank = _divide(source, KEY, key, heads, width, "HR", f"D+1, for H = {heads}")
    _shape(source, QUERY, query, key.shape, f"that of {KEY}")
    return "separate", (value, key, query), heads, rank


def _network(
    source: str, arrays: dict[str, Any], x: Stored
) -> tuple[str, tuple[Array, ...], int, int | None]:
    """Design, weights and width of a two-layer network."""
    features = x.shape[1]
    if isqrt(features) ** 2 != features:
        raise wrong(source, "x", "must hold D² cubic features z, or have three axes for an "
                     f"attention layer, got shape {x.shape}")  # fmt: skip
    first, second = _need(source, arrays, FIRST), _need(source, arrays, SECOND)
    width = _divide(source, FIRST, first, 1, features, "H", "D²")
    _shape(source, SECOND, second, (1, width), f"(1, H), as {FIRST} has H = {width} rows")
    return "network", (first, second), width, None


def _need(source: str, arrays: dict[str, Any], name: str) -> Any:
    if name not in arrays:
        listed = ", ".join(arrays) or "none that is known"
        raise console.InputError(f"{source}: lacks the array {name}; it has {listed}")
    return arrays[name]


def _divide(
    source: str, name: str, array: Array, rows: int, columns: int, first: str, second: str
) -> int:
    """How many blocks of `rows` rows a weight (…, columns) holds."""
    if array.ndim != 2 or array.shape[1] != columns or array.shape[0] % rows:
        raise wrong(source, name, f"must have shape ({first}, {second}): rows a multiple of "
                     f"{rows}, {columns} columns; got {array.shape}")  # fmt: skip
    return array.shape[0] // rows


def _shape(source: str, name: str, array: Array | Stored, shape: tuple[int, ...], why: str) -> None:
    if array.shape != shape:
        raise wrong(source, name, f"must have shape {shape}, {why}; got {array.shape}")


def _shown(array: Array) -> str:
    return f"{array.item():g}" if array.size == 1 else f"shape {array.shape}"
