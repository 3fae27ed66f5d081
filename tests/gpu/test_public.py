"""What `gpu` offers: names of `numerics` wherever there is a twin, and no library unasked."""

import inspect
import subprocess
import sys

import pytest

import gpu
import numerics
from numerics.softmax import spectral

# What a batch needs and a single run does not.
OWN = {"Ensemble", "LayerMoments", "SpectralMoments", "initial_weights", "stack_moments"}


def test_every_name_has_its_twin():
    assert len(set(gpu.__all__)) == len(gpu.__all__)
    for name in gpu.__all__:
        assert hasattr(gpu, name)
        assert name in OWN or hasattr(numerics, name) or hasattr(spectral, name), name


@pytest.mark.parametrize("name", gpu.__all__)
def test_every_name_is_documented(name):
    thing = getattr(gpu, name)
    assert inspect.getdoc(thing)
    if inspect.isfunction(thing):
        assert "return" in thing.__annotations__


def test_cupy_is_not_imported_unasked():
    code = "import gpu, sys; print([m for m in ('cupy', 'torch', 'jax') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
