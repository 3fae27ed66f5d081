"""How many rows are integrated at once.

The memory of a chunk is rows × size × numbers for each weight, besides what the problem's own
velocity takes: 16 numbers for the explicit pair (seven stages, four states, the error, its
scale, three temporaries), as many for the stabilised method (four in its stack, the first velocity,
the power iteration's vector, the state and its next, the error, its scale, six temporaries), and
16 + 3·size for the implicit method (the Jacobian, its factors and one temporary), each plus twice
the recorded times.
"""

from __future__ import annotations

import os
from typing import Any

import array_api_compat

from gpu._arrays import Array, namespace, on_host

# On a host more rows at once gain little, and the states leave the cache. A flow of ATTN_S of 37
# components takes the explicit pair 5.1, 3.8, 3.2 and 2.9 µs of one core per row and step with 125,
# 250, 333 and 1,000 rows, and no less with 2,000; at size 36 the implicit method takes 101, 68 and
# 49 with 64, 128 and 256.
_HOST_NUMBERS = {"explicit": 40_000, "Chebyshev": 40_000, "implicit": 36 * 36 * 256}
_UNKNOWN = 2**31


def numbers_per_weight(size: int, recorded: int, method: str) -> int:
    """Numbers held for each weight of each row at once.

    >>> numbers_per_weight(36, 0, "explicit"), numbers_per_weight(36, 100, "implicit")
    (16, 324)
    """
    own = 16 + 3 * size if method == "implicit" else 16
    return own + 2 * recorded


def free_memory(state: Array) -> int:
    """Bytes that a run may take: half of what the device or the host has free now."""
    xp = namespace(state)
    if array_api_compat.is_cupy_namespace(xp):
        return int(xp.cuda.runtime.memGetInfo()[0]) // 2
    if not on_host(state):  # of PyTorch, whose other devices do not say
        known = state.device.type == "cuda"
        return int(xp.cuda.mem_get_info(state.device)[0]) // 2 if known else _UNKNOWN
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    except (AttributeError, ValueError, OSError):
        return _UNKNOWN


def rows_at_once(state: Array, recorded: int, method: str, memory: int | None) -> int:
    """Rows of a chunk, at least 1: what fits and, on a host, what pays."""
    xp, (size, rows) = namespace(state), state.shape
    room = free_memory(state) if memory is None else memory
    per_row = size * numbers_per_weight(size, recorded, method) * (xp.finfo(state.dtype).bits // 8)
    fits = max(1, min(rows, room // per_row))
    if not on_host(state):
        return fits
    per_row_numbers = size * size if method == "implicit" else size
    return min(fits, max(64, _HOST_NUMBERS[method] // per_row_numbers))


def spans(rows: int, at_once: int) -> list[tuple[int, int]]:
    """Ends of nearly equal chunks of no more than `at_once` rows.

    >>> spans(10, 4)
    [(0, 3), (3, 6), (6, 10)]
    """
    count: Any = -(-rows // at_once)
    return [(rows * i // count, rows * (i + 1) // count) for i in range(count)]
