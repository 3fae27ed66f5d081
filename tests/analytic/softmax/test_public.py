"""`analytic.softmax` exports what it documents, and refuses what it cannot answer."""

import inspect
import math
import sys
from pathlib import Path

import numpy as np
import pytest
import sympy as sp

import analytic
from analytic import softmax

NAN = float("nan")
TWO = ([3, 4], [1.0, 0.5], 20)
HEADS = ([[0.1, 0.2, 0.3]], [[1.0, 2.0]])


def test_the_package_is_reached_from_the_top():
    assert analytic.softmax is softmax


def test_all_equals_the_public_functions():
    public = {
        name
        for name, value in vars(softmax).items()
        if not name.startswith("_") and (inspect.isfunction(value) or inspect.isclass(value))
    }
    assert set(softmax.__all__) == public
    assert len(softmax.__all__) == len(public)


def test_every_public_function_of_a_module_is_exported():
    for path in Path(softmax.__file__).parent.glob("[a-z]*.py"):
        module = sys.modules.get(f"analytic.softmax.{path.stem}")
        if module is None:
            continue
        own = {
            name
            for name, value in vars(module).items()
            if not name.startswith("_")
            and (inspect.isfunction(value) or inspect.isclass(value))
            and value.__module__ == module.__name__
        }
        assert own <= set(softmax.__all__), path


def test_every_function_has_an_example_and_every_type_a_sentence():
    for name in softmax.__all__:
        value = getattr(softmax, name)
        doc = inspect.getdoc(value) or ""
        assert doc if inspect.isclass(value) else ">>>" in doc, name


VALUE_ERRORS = [
    (lambda: softmax.noise_factor(0, 1.0), "block_dims must be positive and finite, got 0"),
    (lambda: softmax.noise_factor(3, -1.0), "signal must be positive"),
    (lambda: softmax.noise_factor(3, 1.0, noise=-1), "noise must be non-negative"),
    (
        lambda: softmax.limit_loss([3, 4], [1.0, 1.0, 1.0], 9),
        "signal must have one entry per block",
    ),
    (lambda: softmax.limit_loss([3, NAN], 1.0, 9), "block_dims must be positive"),
    (lambda: softmax.limit_loss([], 1.0, 9), r"block_dims must have shape"),
    (lambda: softmax.limit_loss(3, 1.0, 0), "context_length must be >= 1"),
    (lambda: softmax.generalised_loss(3, 1.0, 9, 0.5), "test_length must be >= 1"),
    (
        lambda: softmax.spectral_loss([0.1], [[1.0]], 1, 1.0, 9),
        r"omega must have shape \(\.\.\., H",
    ),
    (lambda: softmax.spectral_loss(HEADS[0], [1.0], 3, 1.0, 9), r"mu must have shape"),
    (
        lambda: softmax.spectral_loss(HEADS[0], [[1.0], [2.0]], 3, 1.0, 9),
        "same heads, got 1 and 2",
    ),
    (
        lambda: softmax.spectral_loss(*HEADS, [1, 1], 1.0, 9),
        r"block_dims must add up to the 3 columns of omega, got \(1, 1\)",
    ),
    (lambda: softmax.spectral_loss(*HEADS, [1, 1, 1], 1.0, 9), r"scalar or have shape \(2,\)"),
    (lambda: softmax.spectral_loss(*HEADS, [1, 2], [1.0], 9), r"signal must be a scalar or have"),
    (lambda: softmax.spectral_gradient([[NAN]], [[1.0]], 1, 1.0, 9), "omega must be finite"),
    (
        lambda: softmax.first_order_loss([[0.8]], [[1.0]], 1, 1.0, 9),
        "omega must be below 1/√2 in absolute value, got 0.8",
    ),
    (lambda: softmax.first_order_loss([[0.72]], [[1.0]], 1, 1.0, 9), "omega must be below 1/√2"),
    (lambda: softmax.neglected_share(0.0, 1.0, 4, 1.0, 9), "^omega_bar must be positive"),
    (lambda: softmax.neglected_share(0.1, 0.0, 4, 1.0, 9), "^mu must be positive"),
    (lambda: softmax.water_filling(*TWO, budget=0.0), "budget must be positive"),
    (lambda: softmax.water_filling(*TWO, cap=-1.0), "cap must be positive"),
    (
        lambda: softmax.water_filling([sp.Symbol("d"), 2], 1.0, 9),
        "must be numbers, not symbols",
    ),
    (lambda: softmax.allocation_loss(-0.1, *TWO), "allocation must be non-negative"),
    (lambda: softmax.allocation_loss([0.1, 0.2], 3, 1.0, 9), "allocation must be a scalar where"),
    (lambda: softmax.allocated_loss([0, 1], 3, 1.0, 9), r"block_dims or signal must have shape"),
    (lambda: softmax.allocated_loss([0], *TWO), r"assignment must have shape \(2,\), got \(1,\)"),
    (lambda: softmax.lower_bound(*TWO, 0), "heads must be >= 1, got 0"),
    (lambda: softmax.equiangular_allocation(3, 1.0, -0.6), "overlap must be between"),
    (lambda: softmax.equiangular_allocation(3, 1.0, 1.1), "overlap must be between"),
    (lambda: softmax.equiangular_allocation(3, -1.0, 0.0), "squared_norm must be non-negative"),
    (lambda: softmax.balanced_velocity(-0.1, 1.0, 3, 1.0, 9, 4), "omega_bar must be non-negative"),
    (lambda: softmax.warmup_time_course(2.0, 0.01, 1.0, 10, 1.0, 30), "t must be before the blow"),
    (
        lambda: softmax.warmup_time_course(0.1, 0.0, 1.0, 10, 1.0, 30),
        "initial_omega_bar must be pos",
    ),
    # e^{rt} would overflow here, long after the blow-up at 0.36.
    (lambda: softmax.warmup_time_course(1e3, 0.1, 3.0, 5, 1.0, 10), "t must be before the blow"),
    (lambda: softmax.warmup_time(0.001, 0.1, 1e-3, 10, 1.0, 30), "above the infimum"),
    (lambda: softmax.warmup_end(0.5, 2.0, 10, 1.0, 100, 30), "share must be between 1.1 and 1"),
    (lambda: softmax.equilibrium_value(-0.1, 3, 1.0, 9), "omega_bar must be non-negative"),
    (lambda: softmax.emergence_velocity(0.1, 3, 1.0, 9, 0), "embedding_dim must be positive"),
    (lambda: softmax.training_phase(0.1, 1.0, 3, 1.0, 9, share=1.5), "share must be between 0"),
    (lambda: softmax.training_phase(0.1, 1.0, 3, 1.0, 9, closeness=1), "closeness must be betw"),
    (lambda: softmax.hermite_response(-1, 0.1, 0.2), "degree must be between 0 and 10000, got -1"),
    (lambda: softmax.hermite_error(2, math.inf), "gain must be finite"),
    (lambda: softmax.saturation_scale(0.5), "context_length must be >= 1"),
    (lambda: softmax.participation_exponent(-0.1), "load must be non-negative"),
    (lambda: softmax.participation_exponent(sp.Symbol("u")), "load must be a number"),
    (lambda: softmax.ridge_risk(0.0, 1.0, 0.1), "gamma must be positive"),
    (lambda: softmax.ridge_risk(0.5, 0.0, 0.1), "snr must be positive, got 0.0"),
    (lambda: softmax.ridge_risk(0.5, 1.0, -0.1), "penalty must be non-negative"),
    (lambda: softmax.ridge_risk(1.0, 1.0, 0.0), "penalty must be positive where gamma is 1"),
    (lambda: softmax.ridge_risk([0.5, 1.0], 1.0, 0.0), "penalty must be positive where gamma is"),
    (lambda: softmax.bayes_risk(0.5, NAN), "snr must be"),
    (lambda: softmax.marchenko_pastur_moments(0.5, 0.0), "penalty must be positive"),
]

TYPE_ERRORS = [
    (lambda: softmax.spectral_loss(*HEADS, [1.5, 1.5], 1.0, 9), "block_dims must be an integer"),
    (lambda: softmax.limit_loss("ten", 1.0, 9), "block_dims must be a real number"),
    (lambda: softmax.lower_bound(*TWO, 2.0), "heads must be an integer"),
    (lambda: softmax.equiangular_budget(True), "heads must be an integer"),
    (lambda: softmax.allocated_loss([0.0, 1.0], *TWO), "assignment must be integers"),
    (lambda: softmax.hermite_gain(1.0), "degree must be an integer"),
    (lambda: softmax.bayes_risk(0.5, None), "snr must be a real number"),
]


@pytest.mark.parametrize(("call", "message"), VALUE_ERRORS)
def test_value_errors(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize(("call", "message"), TYPE_ERRORS)
def test_type_errors(call, message):
    with pytest.raises(TypeError, match=message):
        call()


def test_arrays_broadcast_where_one_head_is_meant():
    omegas = np.array([0.0, 1e-3, 0.1])
    rates = softmax.balanced_velocity(omegas, 0.5, 10, [[1.0], [2.0]], 100, 30)
    assert all(rate.shape == (2, 3) for rate in rates)
    risks = softmax.ridge_risk(np.geomspace(0.01, 100, 7)[:, None], [0.5, math.inf], 0.05)
    assert risks.shape == (7, 2)
