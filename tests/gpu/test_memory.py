"""Where arrays lie, and how many rows of them go at once."""

from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from gpu._arrays import index, like, on_host, to_host
from gpu.integrate import chunks
from tests.gpu.support import PLACES

SIZE, ROWS = 100, 5000


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("method", ["explicit", "implicit", "Chebyshev"])
def test_the_host_takes_what_pays_and_a_device_what_fits(method, place):
    state = place.put(np.zeros((SIZE, ROWS)))
    assert on_host(state) == (place.name != "cupy")
    assert isinstance(chunks.free_memory(state), int)
    ample = 2**50
    rows = chunks.rows_at_once(state, 0, method, ample)
    assert rows == ROWS if place.name == "cupy" else 64 <= rows < ROWS
    weight = 8 * chunks.numbers_per_weight(SIZE, 0, method)
    assert chunks.rows_at_once(state, 0, method, 10 * SIZE * weight) == 10


@pytest.mark.parametrize("place", PLACES)
def test_half_precision_of_numbers_is_twice_the_rows(place):
    found = [
        chunks.rows_at_once(place.put(np.zeros((SIZE, ROWS)), dtype), 0, "explicit", 10**5)
        for dtype in ("float32", "float64")
    ]
    assert found == [2 * (10**5 // (8 * 16 * SIZE)) + 1, 10**5 // (8 * 16 * SIZE)]


@pytest.mark.parametrize(
    ("library", "free", "expected"),
    [
        ("cupy", {"runtime": SimpleNamespace(memGetInfo=lambda: (1000, 4000))}, 500),
        ("torch", {"mem_get_info": lambda device: (800, 4000)}, 400),
    ],
)
def test_a_device_is_asked_in_its_librarys_words(library, free, expected, monkeypatch):
    """Neither library is there: what is asked of it is what its manual names."""
    xp = ModuleType(library)
    xp.cuda = SimpleNamespace(**free)
    monkeypatch.setattr(chunks, "namespace", lambda state: xp)
    monkeypatch.setattr(chunks, "on_host", lambda state: False)
    state = SimpleNamespace(device=SimpleNamespace(type="cuda"))
    assert chunks.free_memory(state) == expected


@pytest.mark.parametrize("place", PLACES)
def test_numbers_of_the_host_may_be_frozen_reversed_or_a_list(place):
    frozen = np.array([1.0, 2.0])
    frozen.flags.writeable = False
    beside = place.put([0.0])
    for given in (frozen, np.array([2.0, 1.0])[::-1], [1, 2]):
        found = like(beside, given)
        assert place.holds(found)
        assert to_host(found).tolist() == [1.0, 2.0]
        assert place.holds(index(beside, given), "int64")
