"""The SymPy form of every closed form is the closed form, at numbers of forty digits."""

import random
import re
from fractions import Fraction

import mpmath
import numpy as np
import pytest
import sympy as sp

import analytic
from analytic import expressions, softmax, symbolic, to_latex
from analytic._routes import ROUTES
from analytic._symbols import REFUSED
from analytic.derivations import separate, symbols
from tests.fuzz.targets_analytic import RECORDS

# No expressions of their own: results, the two functions themselves, and a record of units.
OTHER = {*RECORDS, "symbolic", "to_latex", "Convention"}
FUNCTIONS = {
    prefix + name: getattr(package, name)
    for prefix, package in (("", analytic), ("softmax.", softmax))
    for name in package.__all__
    if name not in OTHER
}
FORMS = sorted(set(FUNCTIONS) - set(REFUSED))
DIGITS = 40

# Ranges in which every function is defined, by the symbol without its indices; spectra fall with
# the index, so that symbols stand in visit order.
RANGES = {
    "D": (2, 6), "H": (1, 5), "k": (1, 7), "N": (5, 50), "L": (50, 200), "L_test": (50, 200),
    "d": (3, 12), "d_e": (5, 30), "omegabar0": (0.001, 0.003), "omegabar": (0.05, 0.2),
    "omega": (0.2, 0.5), "mu0": (0.5, 1), "v": (0.2, 0.6), "v0": (0.01, 0.05), "t": (0.1, 0.4),
    "a": (1, 2), "b": (0.1, 0.6), "u": (0.7, 1.9),
}  # fmt: skip
OVER = {("softmax.condensed_participation", "u"): (2, 9)}
FALLING = {"lambda", "omega"}
FLOATS = {"softmax.hermite_gain", "softmax.hermite_error", "softmax.equiangular_budget"}


def drawn(symbol, name, source):
    """A rational number of 16 bits for a symbol, an integer where it is one."""
    base = symbol.name if symbol.name in RANGES else re.sub(r"[\d_]+$", "", symbol.name)
    low, high = OVER.get((name, base), RANGES.get(base, (0.3, 0.9)))
    if symbol.is_integer:
        return sp.Integer(source.randint(low, high))
    value = Fraction(round(source.uniform(low, high) * 2**16), 2**16)
    index = re.fullmatch(r"[a-z]+(\d)", symbol.name)
    if base in FALLING and index and not name.startswith("softmax."):
        value /= int(index[1])
    return sp.Rational(value.numerator, value.denominator)


def numbers(value, at):
    """The argument with 40-digit numbers for its symbols."""
    if isinstance(value, np.ndarray) and value.dtype == object:
        out = np.empty(value.shape, dtype=object)
        for index, entry in np.ndenumerate(value):
            out[index] = numbers(entry, at)
        return out
    if not isinstance(value, sp.Symbol):
        return value
    exact = at[value]
    return int(exact) if value.is_integer else mpmath.mpf(exact.p) / exact.q


def flat(value):
    """The entries of whatever a function returns."""
    if isinstance(value, tuple):
        return [entry for part in value for entry in flat(part)]
    if isinstance(value, sp.MatrixBase):
        return list(value)
    if isinstance(value, np.ndarray):
        return list(value.flat)
    return [value]


def arguments(name, **given):
    return expressions._arguments(FUNCTIONS[name], name, given)


def worst(name, seed, **given):
    """Largest difference between expression and function, over the largest entry."""
    source = random.Random(f"{name} {seed}")
    symbolic_arguments = arguments(name, **given)
    symbols_of = {
        entry
        for value in symbolic_arguments.values()
        for entry in flat(value)
        if isinstance(entry, sp.Symbol)
    }
    at = {s: drawn(s, name, source) for s in sorted(symbols_of, key=str)}
    with mpmath.workdps(DIGITS):
        if "probabilities" in symbolic_arguments:
            weights = list(symbolic_arguments["probabilities"].flat)
            at |= {p: at[p] / sum(at[p] for p in weights) for p in weights}
        called = {key: numbers(value, at) for key, value in symbolic_arguments.items()}
        expected = [mpmath.mpmathify(x) for x in flat(FUNCTIONS[name](**called))]
        got = [
            mpmath.mpmathify(sp.N(sp.sympify(x).subs(at), DIGITS))
            for x in flat(symbolic(FUNCTIONS[name], **given))
        ]
        assert len(got) == len(expected)
        largest = max(abs(x) for x in expected)
        return max(abs(g - e) for g, e in zip(got, expected, strict=True)) / largest


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize("seed", range(2))
def test_the_expression_is_the_function(name, seed):
    # Ten digits are left for sums that cancel; three functions answer in floats, to 4 eps.
    tolerance = 4 * 2.0**-52 if name in FLOATS else mpmath.mpf(10) ** (10 - DIGITS)
    assert worst(name, seed) <= tolerance


@pytest.mark.parametrize("name", FORMS)
def test_every_expression_is_latex(name):
    text = to_latex(FUNCTIONS[name])
    assert text.count("{") == text.count("}") > 0 or text == "H"
    assert not re.search(r"(?<![\\a-z{])(omega|lambda|sigma|growth)", text)


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("plateau_losses", {"dimension": 3, "noise": 0}),
        ("plateau_losses", {"context_length": float("inf")}),
        ("low_rank_velocity", {"dimension": 3, "heads": 2, "rank": 2}),
        ("ansatz_weights", {"subset": [True, False, True]}),
        ("softmax.limit_weights", {"tasks": 3}),
        ("softmax.spectral_loss", {"block_dims": [2, 1], "heads": 3}),
        ("softmax.separation", {"tasks": 3, "heads": 2}),
        ("softmax.lower_bound", {"heads": 1}),
        ("softmax.lower_bound", {"heads": 3}),
        ("softmax.lower_bound", {"heads": 3, "tasks": 4}),
        ("softmax.optimality_ratio", {"heads": 4, "tasks": 3}),
        ("softmax.participation_exponent", {"mean": False}),
        ("softmax.hermite_response", {"degree": 4}),
    ],
)
def test_sizes_and_values_may_be_given(name, given):
    assert worst(name, 0, **given) < mpmath.mpf(10) ** (10 - DIGITS)


@pytest.mark.parametrize("load", ["1/4", "3/5", "1", "3"])
@pytest.mark.parametrize("mean", [True, False])
def test_every_branch_of_the_participation_exponent(load, mean):
    function = softmax.participation_exponent
    value = symbolic(function, mean=mean).subs(sp.Symbol("u", positive=True), sp.Rational(load))
    # 6 eps of the function, on values of order one
    assert abs(float(value) - function(float(Fraction(load)), mean=mean)) <= 6 * 2.0**-52


def test_a_wrong_expression_is_found(monkeypatch):
    wrong = {**ROUTES, "learning_time": lambda initial_value, growth, tau: 2 * tau / growth}
    monkeypatch.setattr("analytic._routes.ROUTES", wrong)
    assert worst("learning_time", 0) > mpmath.mpf(10) ** -2


def test_few_functions_have_no_expression():
    assert set(REFUSED) == {
        "visit_order", "saddle_path", "fixed_point_subsets", "stability_index",  # compare, count
        "general_modes", "general_plateau_losses", "principal_component_prediction",  # singular
        "softmax.training_phase",
    }  # fmt: skip
    for name in REFUSED:
        with pytest.raises(TypeError, match=r"no symbolic form: .*symbolic\(|visit order"):
            symbolic(FUNCTIONS[name])


def test_what_a_refusal_names_has_an_expression():
    for reason in REFUSED.values():
        for name in re.findall(r"symbolic\(([\w.]+)", reason):
            symbolic(FUNCTIONS[name])


def test_symbols_are_those_of_the_derivations():
    gains = symbolic(analytic.mode_coefficients, dimension=2)
    assert sp.simplify(gains[0] - separate.learned_value(2, 0)) == 0
    assert gains.free_symbols == {*symbols.lam[:2], *symbols.omega[:2], symbols.N, symbols.sigma}


@pytest.mark.parametrize("name", FORMS)
def test_no_two_arguments_share_a_symbol(name):
    sets = [{s for s in flat(v) if isinstance(s, sp.Symbol)} for v in arguments(name).values()]
    assert len(set().union(*sets)) == sum(map(len, sets))


def test_results_keep_their_form():
    assert symbolic(softmax.limit_weights)._fields == ("omega_bar", "mu")
    assert symbolic(analytic.mode_growth, dimension=3).shape == (3, 1)
    assert symbolic(analytic.optimal_weights).shape == (2, 2)
    assert symbolic(analytic.learning_time, growth=2, initial_value=1) == symbols.tau / 2


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: symbolic(np.sqrt), TypeError, "function must be"),
        (lambda: symbolic(analytic.Convention), TypeError, "function must be"),
        (lambda: symbolic(analytic.learning_time, dimension=3), TypeError, "takes no dimension"),
        (lambda: symbolic(analytic.mode_growth, eigenvalue=1), TypeError, "takes no eigenvalue"),
        (lambda: symbolic(analytic.mode_growth, dimension=0), ValueError, "dimension must be"),
        (lambda: symbolic(analytic.mode_growth, dimension=21), ValueError, "dimension must be"),
        (lambda: symbolic(analytic.mode_growth, eigenvalues=[-1, 2]), ValueError, "eigenvalues"),
        (lambda: symbolic(softmax.water_filling, cap=1), TypeError, "cap must be None"),
        (lambda: to_latex(analytic.visit_order), TypeError, "visit order"),
    ],
)
def test_misuse_says_what_to_do(call, error, words):
    with pytest.raises(error, match=words):
        call()
