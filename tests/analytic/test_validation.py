"""Each misuse is refused with the name of the argument, what it was and what it must be."""

import math
from fractions import Fraction

import numpy as np
import pytest
import sympy as sp

import analytic

EYE = np.eye(2)
SKEW = [[1.0, 0.5], [0.0, 1.0]]
INDEFINITE = [[1.0, 2.0], [2.0, 1.0]]
NAN = float("nan")

VALUE_ERRORS = [
    (lambda: analytic.mode_gains([1.0, -2.0], 31), r"eigenvalues .*positive.* got -2.0 at index"),
    (lambda: analytic.mode_gains([1.0, 0.0], 31), "eigenvalues must be positive"),
    (lambda: analytic.mode_gains([1.0, NAN], 31), "eigenvalues must be positive"),
    (lambda: analytic.plateau_losses(np.diag([0.4, 0.3]), 31), r"0\.0 at index .*eigvalsh\(Λ\)$"),
    (lambda: analytic.mode_growth([[-0.4, 0.3], [0.3, 0.3]]), r"-0\.4 at index .*eigvalsh\(Λ\)$"),
    (lambda: analytic.mode_growth([np.diag([0.4, 0.3])] * 3), r"eigvalsh\(Λ\)$"),
    (lambda: analytic.mode_growth([[0.4, 0.0, 0.3]]), r"got 0\.0 at index \(0, 1\)$"),
    (lambda: analytic.mode_gains([1.0, math.inf], 31), "eigenvalues must be positive and finite"),
    (lambda: analytic.mode_gains(1.0, 31), r"eigenvalues must have shape \(\.\.\., D\)"),
    (lambda: analytic.mode_gains([], 31), r"eigenvalues must have shape"),
    (lambda: analytic.mode_gains([Fraction(-1, 2)], 31), "eigenvalues must be positive"),
    (lambda: analytic.mode_gains([sp.Symbol("x"), sp.Integer(-1)], 31), "eigenvalues must be pos"),
    (
        lambda: analytic.mode_gains([1.0], 0.5),
        r"context_length must be >= 1 \(number of context pairs N\), got 0.5",
    ),
    (lambda: analytic.mode_gains([1.0], NAN), "context_length must be >= 1"),
    (lambda: analytic.mode_gains([1.0], sp.nan), "context_length must be >= 1"),
    (lambda: analytic.mode_gains([1.0], [3.0, 0.0]), r"context_length .*at index \(1,\)"),
    (lambda: analytic.mode_gains([1.0], 31, noise=-0.1), "noise must be non-negative"),
    (lambda: analytic.mode_gains([1.0], 31, task_eigenvalues=-1), "task_eigenvalues must be non"),
    (
        lambda: analytic.mode_gains([1.0, 2.0], 31, task_eigenvalues=[1.0, 2.0, 3.0]),
        r"task_eigenvalues must be a scalar or have shape \(\.\.\., 2\)",
    ),
    (
        lambda: analytic.mode_growth([1.0, 2.0], task_eigenvalues=[1.0, 2.0, 3.0]),
        r"task_eigenvalues must be a scalar or have shape \(\.\.\., 2\)",
    ),
    (lambda: analytic.input_target_moment(SKEW), "covariance must be symmetric"),
    (lambda: analytic.input_target_moment(INDEFINITE), "covariance must be positive definite"),
    (lambda: analytic.input_target_moment([1.0]), r"covariance must have shape \(\.\.\., D, D\)"),
    (lambda: analytic.input_target_moment([[NAN]]), "covariance must be finite"),
    (lambda: analytic.input_target_moment(EYE, INDEFINITE), "task_covariance must be positive sem"),
    (lambda: analytic.input_target_moment(EYE, np.eye(3)), r"task_covariance .*2, 2\), got \(3, 3"),
    (lambda: analytic.token_second_moment(EYE, SKEW, 3), "fourth_moment must be symmetric"),
    (lambda: analytic.population_loss(np.eye(3), EYE, EYE), "weights must have shape"),
    (lambda: analytic.optimal_weights(EYE, INDEFINITE), "second_moment must be positive definite"),
    (lambda: analytic.effective_context_length([0.5]), "lengths must be >= 1"),
    (lambda: analytic.effective_context_length([2.0, 3.0], [0.5, 0.6]), "probabilities must sum"),
    (lambda: analytic.effective_context_length([2.0, 3.0], [1.5, -0.5]), "probabilities must be n"),
    (
        lambda: analytic.effective_context_length([2, 3], [Fraction(1, 2), Fraction(1, 3)]),
        "probabilities must sum to 1, got 5/6",
    ),
    (lambda: analytic.white_time_course(-1.0, 0.1, 4, 31), "t must be >= 0, got -1.0"),
    (lambda: analytic.white_time_course(1.0, 0.1, 0, 31), "dimension must be"),
    (lambda: analytic.white_time_course(1.0, 0.0, 4, 31), "initial_norm must be positive"),
    (lambda: analytic.white_loss_curve(1.0, 0.1, 4, 31, tau=0), "tau must be positive"),
    (lambda: analytic.white_loss_curve(1.0, 0.1, 4, 31, eigenvalue=-1), "eigenvalue must be posi"),
    (lambda: analytic.escape_time(-0.1, [1.0]), "initial_norm must be positive"),
    (lambda: analytic.escape_rate([1.0], tau=-1), "tau must be positive"),
    (lambda: analytic.aligned_velocity(0.1, [0.1, 0.2], [1.0], 31), "u must have one entry per"),
    (lambda: analytic.aligned_velocity(NAN, [0.1], [1.0], 31), "v must be finite"),
    (lambda: analytic.fixed_point_subsets(21), "dimension must be between 1 and 20, got 21"),
    (lambda: analytic.fixed_point_subsets(0), "dimension must be between 1 and 20, got 0"),
    (
        lambda: analytic.fixed_point_loss([True], [1.0, 2.0], 31),
        r"subset must have shape \(\.\.\., 2\), got \(1,\)",
    ),
    (
        lambda: analytic.ansatz_weights([True, True], [1.0, 2.0], 31, heads=1),
        "heads must be at least 2, the learned modes, got 1",
    ),
    (
        lambda: analytic.ansatz_weights([[True], [False]], [1.0], 31),
        "subset and eigenvalues must describe one fixed point",
    ),
    (lambda: analytic.value_velocity(0.1, -1.0, 1.0), "growth must be positive"),
    (lambda: analytic.value_velocity(0.1, 1.0, 0.0), "curvature must be positive"),
    (lambda: analytic.time_to_reach(0.9, 0.1, 4.0, 8.0), "value must be at most the limit"),
    (lambda: analytic.time_to_reach(0.1, 0.9, 4.0, 8.0), "initial_value must be below the limit"),
    (lambda: analytic.time_to_reach(0.0, 0.1, 4.0, 8.0), "value must be positive"),
    (lambda: analytic.time_to_reach(0.1, 0.0, 4.0, 8.0), "initial_value must be positive"),
    (lambda: analytic.time_to_reach([0.1, 0.9], 0.1, 4.0, 8.0), "value must be at most"),
    (lambda: analytic.learning_time(-0.1, 4.0), "initial_value must be positive"),
    (
        lambda: analytic.low_rank_velocity([0.1], [[0.1]], [[2]], [1.0, 1.0], [1.0, 1.0]),
        "modes must be in 0 … 1, got 2",
    ),
    (
        lambda: analytic.low_rank_velocity([0.1], [[0.1, 0.2]], [[0]], [1.0], [1.0]),
        r"v \(\.\.\., H\), kappa \(\.\.\., H, R\) and modes \(H, R\) must agree",
    ),
    (lambda: analytic.rotation_eigenvalues(0, 0, [1.0, 2.0], 31), "unlearned must differ"),
    (
        lambda: analytic.rotation_eigenvalues(2, 0, [1.0, 2.0], 31),
        "learned must be between 0 and 1",
    ),
    (
        lambda: analytic.rotation_eigenvalues(0, 2, [1.0, 2.0], 31),
        "unlearned must be between 0 and 1, got 2",
    ),
    (
        lambda: analytic.stability_index([True], [1.0, 2.0], 31),
        r"subset must have shape \(\.\.\., 2\), got \(1,\)",
    ),
    (lambda: analytic.merged_zero_index(0), "heads must be >= 1, got 0"),
    (lambda: analytic.general_modes(EYE[None], EYE), "covariance must be one matrix"),
    (lambda: analytic.in_context_weights(3, [1.0, 2.0], EYE, 31), "components must be between 0"),
    (lambda: analytic.in_context_weights(1, [[1.0, 2.0]], EYE, 31), "eigenvalues must have shape"),
    (lambda: analytic.predict([[1.0]], [1.0], [1.0, 2.0]), "query must have 1 entries"),
    (
        lambda: analytic.principal_component_prediction(3, [1.0, 1.0], [1.0, 1.0], EYE, 31),
        "components must be between 0 and 2, got 3",
    ),
    (
        lambda: analytic.ansatz_weights([True, False], [1.0, 2.0], 31, eigenvectors=np.eye(3)),
        r"eigenvectors must have shape \(\.\.\., 2, 2\), got \(3, 3\)",
    ),
    (
        lambda: analytic.in_context_weights(1, [1.0, 2.0], np.eye(3), 31),
        r"eigenvectors must have shape \(\.\.\., 2, 2\), got \(3, 3\)",
    ),
    (
        lambda: analytic.predict(np.eye(3), [1.0, 2.0], [1.0, 2.0]),
        r"weights must have shape \(\.\.\., 2, 2\), got \(3, 3\)",
    ),
    *[
        (call, r"second_moment must have shape \(\.\.\., 2, 2\), got \(3, 3\)")
        for call in (
            lambda: analytic.population_loss(EYE, EYE, np.eye(3)),
            lambda: analytic.optimal_weights(EYE, np.eye(3)),
            lambda: analytic.minimum_loss(EYE, np.eye(3)),
        )
    ],
    (
        lambda: analytic.general_modes(EYE, np.eye(3)),
        r"second_moment must have shape \(\.\.\., 2, 2\), got \(3, 3\)",
    ),
    *[
        (
            lambda value=value: analytic.principal_component_prediction(
                1, [1.0, 1.0], [1.0, 1.0], **({"covariance": EYE, "context_length": 31} | value)
            ),
            message,
        )
        for value, message in (
            ({"context_length": [31.0]}, r"^context_length must be one number, got shape \(1,\)"),
            ({"noise": [0.1]}, r"^noise must be one number, got shape \(1,\)"),
            ({"covariance": EYE[None]}, r"^covariance must be one matrix \(D, D\)"),
            ({"covariance": EYE.astype(object)}, r"^covariance must be one matrix \(D, D\)"),
            ({"task_covariance": EYE[None]}, r"^task_covariance must be one matrix \(D, D\)"),
        )
    ],
    (lambda: analytic.Convention(loss_factor=0.0), "loss_factor must be positive"),
    (lambda: analytic.Convention(context_scale=-1.0), "context_scale must be positive"),
    (lambda: analytic.Convention(factors=0), "factors must be >= 1"),
    (lambda: analytic.Convention(tau=math.inf), "tau must be positive and finite"),
    (lambda: analytic.Convention().flow_time(10, 0.0), "learning_rate must be positive"),
    (lambda: analytic.Convention().steps(-1.0, 0.1), "time must be non-negative"),
]

TYPE_ERRORS = [
    (lambda: analytic.mode_gains("ab", 31), "eigenvalues must be a real number or an array"),
    (lambda: analytic.mode_gains([1.0, None], 31), "eigenvalues must hold real numbers, got None"),
    (lambda: analytic.mode_gains([1.0, 1j], 31), "eigenvalues must be real numbers"),
    (lambda: analytic.mode_gains([True, True], 31), "eigenvalues must be real numbers"),
    (lambda: analytic.mode_gains([sp.I, sp.Symbol("x")], 31), "eigenvalues must hold real"),
    (lambda: analytic.mode_gains([1.0], "31"), "context_length must be a real number"),
    (lambda: analytic.mode_gains([1.0], None), "context_length must be a real number"),
    (lambda: analytic.fixed_point_subsets(2.0), "dimension must be an integer, got 2.0"),
    (lambda: analytic.fixed_point_loss([0, 1], [1.0, 2.0], 31), "subset must be a boolean mask"),
    (
        lambda: analytic.low_rank_velocity([0.1], [[0.1]], [[0.0]], [1.0], [1.0]),
        "modes must be integers",
    ),
    (lambda: analytic.merged_zero_index(True), "heads must be an integer"),
    (lambda: analytic.Convention(factors=2.5), "factors must be an integer"),
]


@pytest.mark.parametrize(("call", "message"), VALUE_ERRORS)
def test_value_errors(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize(("call", "message"), TYPE_ERRORS)
def test_type_errors(call, message):
    with pytest.raises(TypeError, match=message):
        call()


def test_ragged_input_is_named():
    with pytest.raises(ValueError, match="eigenvalues must be a rectangular array"):
        analytic.mode_gains([[1.0], [1.0, 2.0]], 31)


def test_rounding_does_not_make_a_matrix_asymmetric():
    root = np.random.default_rng(5).normal(size=(6, 6))
    cov = root @ np.diag(np.arange(1.0, 7.0)) @ root.T
    analytic.input_target_moment(cov, root @ root.T)


def test_a_rank_deficient_task_is_allowed():
    w = np.array([1.0, 2.0, -1.0])
    analytic.input_target_moment(np.eye(3), np.outer(w, w))
