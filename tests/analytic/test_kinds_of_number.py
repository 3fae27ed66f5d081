"""One formula for every kind of number: the functions that tell the kinds apart."""

import math
from fractions import Fraction
from types import SimpleNamespace

import array_api_strict as strict
import mpmath
import numpy as np
import pytest
import sympy as sp

from analytic import _generic as generic

X = sp.Symbol("x")
HALF, THIRD = Fraction(1, 2), Fraction(1, 3)
ELEMENTARY = {
    "exp": sp.exp,
    "expm1": lambda x: sp.exp(x) - 1,
    "log": sp.log,
    "log1p": lambda x: sp.log(1 + x),
    "sqrt": sp.sqrt,
    "cbrt": sp.cbrt,
    "atan": sp.atan,
}


def objects(*values):
    """An array of Python objects."""
    out = np.empty(len(values), dtype=object)
    out[:] = values
    return out


def kind(value):
    """A name for the type of a number, or of the entries of an array."""
    if isinstance(value, np.ndarray) and value.dtype == object:
        return {kind(entry) for entry in value.flat}
    if hasattr(value, "dtype"):
        array = "" if isinstance(value, np.generic) else type(value).__module__.split(".")[0]
        return array + str(value.dtype).rpartition(".")[2]
    return type(value).__module__.split(".")[0]


@pytest.mark.parametrize(("name", "exact"), ELEMENTARY.items())
def test_elementary_functions_keep_the_kind_and_its_digits(name, exact):
    function = getattr(generic, name)
    value = float(exact(sp.Rational(3, 4)).evalf(20))
    single = np.float32(0.75)
    cases = {
        "builtins": [0.75, Fraction(3, 4)],
        "float32": [single],
        "float64": [np.float64(0.75)],
        "numpyfloat32": [np.array([single])],
        "numpyfloat64": [np.array(0.75)[None]],
        "array_api_strictfloat64": [strict.asarray([0.75])],
        "array_api_strictfloat32": [strict.asarray([0.75], dtype=strict.float32)],
    }
    for wanted, numbers in cases.items():
        for number in numbers:
            got = function(number)
            assert kind(got) == wanted
            # A few roundings in the precision of the argument.
            eps = 2.0**-24 if "32" in wanted else 2.0**-53
            assert float(np.asarray(got).item()) == pytest.approx(value, rel=8 * eps)
    assert function(objects(0.75, Fraction(3, 4))).tolist() == pytest.approx([value] * 2, rel=1e-15)


@pytest.mark.parametrize(("name", "exact"), ELEMENTARY.items())
def test_one_symbol_or_long_number_makes_an_elementary_function_exact(name, exact):
    function = getattr(generic, name)
    expected = exact(sp.Integer(3))
    assert function(sp.Integer(3)) == expected
    assert function(X) == exact(X)
    assert function(3, 2.0, X) == expected
    assert function(objects(3, X), 1).tolist() == [expected, exact(X)]
    assert function(objects(3, 3), objects(X)).tolist() == [expected] * 2
    with mpmath.workdps(40):
        for got in (function(mpmath.mpf(3)), function(3, 2.0, mpmath.mpf(1)),
                    *function(objects(3, 3), mpmath.mpf(1))):  # fmt: skip
            assert kind(got) == "mpmath"
            assert abs(got - sp.N(expected, 40)._to_mpmath(140)) < mpmath.mpf(10) ** -38


@pytest.mark.parametrize("name", ["expm1", "log1p"])
def test_small_arguments_keep_their_digits(name):
    function = getattr(generic, name)
    for number in (1e-20, np.float64(1e-20), np.array([1e-20]), strict.asarray([1e-20])):
        assert float(np.asarray(function(number)).item()) == 1e-20
    assert function(mpmath.mpf("1e-30")) == pytest.approx(mpmath.mpf("1e-30"), rel=1e-14)


def test_promotion_leaves_no_rounded_quotient():
    single, integers = np.float32([0.5]), np.array([1, 2])
    exact, mpf = objects(1, HALF), mpmath.mpf(2)
    cases = [
        ((1, 2.0), ["builtins", "builtins"]),
        ((1, HALF), ["fractions", "fractions"]),
        ((1, 0.5, X), ["sympy", "builtins", "sympy"]),
        ((1, HALF, mpf), ["mpmath", "mpmath", "mpmath"]),
        ((np.float64(1), np.int64(3)), ["builtins", "builtins"]),
        ((np.int64(3), HALF), ["fractions", "fractions"]),
        ((np.float32(1), 3), ["float32", "builtins"]),
        ((np.array(1.5), 3), ["builtins", "builtins"]),
        ((np.array(HALF, dtype=object), 3), ["fractions", "fractions"]),
        ((integers, 3), ["numpyfloat64", "builtins"]),
        ((integers, 3, single), ["numpyfloat32", "builtins", "numpyfloat32"]),
        ((integers, HALF), [{"fractions"}, "fractions"]),
        ((integers, X), [{"sympy"}, "sympy"]),
        ((integers, HALF, single), ["numpyfloat32", "builtins", "numpyfloat32"]),
        ((1, HALF, single), ["builtins", "builtins", "numpyfloat32"]),
        ((1, X, single), ["sympy", "sympy", "numpyfloat32"]),
        ((1, mpf, single), ["mpmath", "mpmath", "numpyfloat32"]),
        ((exact, 3), [{"fractions"}, "fractions"]),
        ((exact, 3, X), [{"sympy", "fractions"}, "sympy", "sympy"]),
        ((exact, 3, mpf), [{"mpmath"}, "mpmath", "mpmath"]),
        ((exact, single), [{"builtins"}, "numpyfloat32"]),
        ((np.uint8([7]), 2.5), ["numpyfloat64", "builtins"]),
        ((strict.asarray([1, 2]),), ["array_api_strictfloat64"]),
        ((integers, strict.asarray([1.0])), ["array_api_strictfloat64"] * 2),
        (
            (strict.asarray([1, 2]), strict.asarray([1.0], dtype=strict.float32)),
            ["array_api_strictfloat32", "array_api_strictfloat32"],
        ),
    ]
    for given, kinds in cases:
        got = generic.harmonise(*given)
        assert [kind(value) for value in got] == kinds, given
        for before, after in zip(given, got, strict=True):
            assert np.asarray(after).tolist() == np.asarray(before).tolist()


def test_a_third_as_a_long_number_has_its_digits():
    with mpmath.workdps(40):
        third, _ = generic.harmonise(THIRD, mpmath.mpf(1))
        assert abs(3 * third - 1) < mpmath.mpf(10) ** -39


def test_kinds_are_told_apart():
    arrays = [np.ones(2), np.array(1), objects(X), strict.asarray([1.0])]
    numbers = [1, 1.0, HALF, X, mpmath.mpf(1), np.float32(1), np.int64(1)]
    assert all(generic.is_array(value) for value in arrays)
    assert not any(generic.is_array(value) for value in numbers)
    assert [generic.is_object(value) for value in arrays] == [False, False, True, False]
    assert not any(generic.is_object(value) for value in numbers)
    assert generic.is_symbolic(X + 1)
    assert not any(generic.is_symbolic(value) for value in (sp.pi, sp.Integer(2), 1, 0.5, HALF))
    assert list(generic.entries(1, np.ones(2), objects(X, HALF), strict.asarray([1.0]), 0.5)) == [
        1, X, HALF, 0.5,
    ]  # fmt: skip


def test_letters_of_dtypes_are_numpys():
    for name in ("bool", "int32", "int64", "float32", "float64"):
        letter = np.dtype(name).kind
        assert generic.dtype_kind(np.ones(1, name)) == letter
        assert generic.dtype_kind(strict.ones(1, dtype=getattr(strict, name))) == letter
    assert generic.dtype_kind(strict.ones(1, dtype=strict.complex128)) == "?"
    assert generic.dtype_kind(np.ones(1, complex)) == "c"


def test_the_namespace_is_that_of_the_most_exact_number():
    assert generic.namespace(1, HALF, np.float32(1)) is np
    assert generic.namespace(1, 1.0, mpmath.mpf(1)) is mpmath
    assert generic.namespace(mpmath.mpf(1), objects(1, X)) is sp
    assert generic.namespace(X, strict.ones(1)) is strict


def test_nothing_is_left_of_a_number_over_an_infinite_length():
    for numerator in (3, 2.5, HALF, X):
        got = generic.over_length(numerator, math.inf)
        assert got == 0
        assert kind(got) == kind(numerator)
        assert generic.over_length(numerator, 2) == numerator / 2
    assert generic.over_length(0, math.inf) == 0
    assert generic.over_length(np.ones(2), np.array([2.0, math.inf])).tolist() == [0.5, 0]


@pytest.mark.parametrize("make", [np.asarray, strict.asarray])
def test_reductions_are_those_of_the_last_axis(make):
    value = make([[[1.0, 2.0, 4.0]], [[8.0, 16.0, 32.0]]])
    library = kind(value)
    cases = [
        (generic.total(value), [[7], [56]]),
        (generic.total(value, keepdims=True), [[[7]], [[56]]]),
        (generic.cumulative(value), [[[1, 3, 7]], [[8, 24, 56]]]),
        (generic.concat([value]), [[[1, 2, 4]], [[8, 16, 32]]]),
        (generic.concat([value, value]), [[[1, 2, 4] * 2], [[8, 16, 32] * 2]]),
        (generic.column(value), [[[[1], [2], [4]]], [[[8], [16], [32]]]]),
        (generic.column(make(3.0)), 3),
    ]
    for got, expected in cases:
        assert np.asarray(got).tolist() == expected
        assert kind(got) in (library, library.removeprefix("numpy"))
    assert generic.column(3.0) == 3.0


class Older(np.ndarray):
    """An array of a library that has the names of before the array API standard."""

    def __array_namespace__(self, api_version=None):
        return SimpleNamespace(cumsum=np.cumsum, concatenate=np.concatenate)


def test_libraries_of_before_the_standard_will_do():
    value = np.array([1.0, 2.0, 4.0]).view(Older)
    assert generic.cumulative(value).tolist() == [1, 3, 7]
    assert generic.concat([value, value]).tolist() == [1, 2, 4, 1, 2, 4]
