"""Hypothesis strategies for arguments: numbers, arrays and objects of any size, kind and shape."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tests.fuzz import hostile

DTYPES = st.sampled_from(["f8", "f4", "f2", "i8", "i1", "u8", ">f8", "?", "c16", "O", "U2"])
SCALARS = st.one_of(
    st.floats(), st.integers(), st.integers(-3, 10), st.booleans(), st.none(), st.text(max_size=3),
    st.complex_numbers(), st.fractions(), st.decimals(), st.sampled_from(hostile.SCALARS),
)  # fmt: skip
ARRAYS = hnp.arrays(DTYPES, hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4))
NESTED = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3), max_leaves=6)


def like(valid: Any) -> st.SearchStrategy[Any]:
    """An array of the same shape with any numbers, where the valid argument is one."""
    if not isinstance(valid, np.ndarray) or valid.dtype.kind != "f":
        return st.nothing()
    numbers = st.one_of(st.floats(), st.floats(-3, 3), st.floats(1e-9, 10))
    return hnp.arrays(np.float64, valid.shape, elements=numbers)


def value(valid: Any, kernel: bool) -> st.SearchStrategy[Any]:
    """Something in place of a valid argument."""
    if kernel:
        shapes = hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=12)
        return st.one_of(like(valid), hnp.arrays(np.float64, shapes))
    small = st.floats(-10, 10)
    return st.one_of(like(valid), like(valid), SCALARS, small, ARRAYS, NESTED)
