"""Every closed form within the accuracy that its docstring states, against its oracle.

The points come from two sources: seeded ones, edge-biased, and those that Hypothesis draws through
the same generators.
"""

import ast
import math
from pathlib import Path

import mpmath
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import analytic
from precision import exact, integrals, points, table
from precision.exact import EPS, ORACLES, flat, reference, worst
from precision.forms import CONTAINERS, SYMBOLIC

FOLDER = Path(exact.__file__).parent
NAMES = sorted(ORACLES)
INEXACT = [name for name in NAMES if table.stated_accuracy(name)]


class Drawn:
    """A source of points that Hypothesis draws, and shrinks."""

    def __init__(self, data):
        self._data = data

    def pick(self, options):
        return self._data.draw(st.sampled_from(list(options)))

    def uniform(self, low, high):
        return self._data.draw(st.floats(low, high))

    def integer(self, low, high):
        return self._data.draw(st.integers(low, high))


def test_every_public_name_has_an_oracle_or_is_a_container():
    public = {*analytic.__all__, *(f"softmax.{name}" for name in analytic.softmax.__all__)}
    assert public == {*ORACLES, *CONTAINERS, *SYMBOLIC}
    assert not set(ORACLES) & set(CONTAINERS)


@pytest.mark.parametrize("name", CONTAINERS)
def test_containers_compute_nothing(name):
    kind = table.function_of(name)
    assert isinstance(kind, type)
    own = {key for key, value in vars(kind).items() if callable(value) and key[0] != "_"}
    assert own <= {"index", "count"}


def test_oracles_import_nothing_of_the_code_under_test():
    under_test = {"analytic", "numerics", "gpu", "sympy", "scipy"}
    for path in FOLDER.glob("*.py"):
        names = set()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                names.add((node.module or "").split(".")[0])
        # The table calls the forms, and the flows are those of `numerics`.
        allowed = {"table.py": {"analytic"}, "flows.py": {"numerics"}}.get(path.name, set())
        assert names & under_test <= allowed, path


@pytest.mark.parametrize("name", NAMES)
def test_stated_accuracy_holds_at_the_edges(name):
    row = table.measure(ORACLES[name], 12, seed=1)
    assert row.worst <= table.stated_accuracy(name), row


@pytest.mark.parametrize("name", NAMES)
def test_stated_accuracy_holds_at_drawn_points(name):
    form, stated = ORACLES[name], table.stated_accuracy(name)

    @settings(max_examples=max(4, settings.default.max_examples // 4))
    @given(st.data())
    def check(data):
        case = form.draw(Drawn(data))
        assert table.error_of(form, case) <= stated, case

    check()


@pytest.mark.parametrize("name", INEXACT)
def test_a_wrong_last_digit_or_a_wrong_percent_is_found(name):
    """Twice the stated error, and a relative error of 10⁻⁶: what the sizes are loose by is less."""
    form, stated = ORACLES[name], table.stated_accuracy(name)
    nudged, scaled = [], []
    for case in points.batch(form.draw, 8, [2, *name.encode()]):
        got = flat(form.call(table.function_of(name), case))
        values, sizes = reference(form, case)
        if not got or not all(map(math.isfinite, map(float, values))):
            continue
        off = 2 * (stated + 1) * EPS
        nudge = [g + off * float(abs(s)) if s != 0 else g for g, s in zip(got, sizes, strict=True)]
        nudged.append((any(s != 0 for s in sizes), worst(nudge, (values, sizes))))
        scaled.append(worst([g * (1 + 1e-6) for g in got], (values, sizes)))
    assert nudged
    assert all(error > stated for some, error in nudged if some)
    assert max(scaled) > stated


def test_exact_answers_differ_from_wrong_ones():
    for name in set(NAMES) - set(INEXACT):
        form = ORACLES[name]
        case = points.batch(form.draw, 1, [3, *name.encode()])[0]
        values, sizes = reference(form, case)
        wrong = [1 - v if isinstance(v, bool) else v + 1 for v in map(int, values)]
        assert worst(wrong, (values, sizes)) > 0


def test_a_missing_accuracy_is_an_error(monkeypatch):
    monkeypatch.setattr(analytic.mode_growth, "__doc__", "Return λ²ω.")
    with pytest.raises(ValueError, match="mode_growth must state its accuracy"):
        table.stated_accuracy("mode_growth")


def test_distance_counts_units():
    assert exact.distance(1.0 + EPS, 1, 1) == 1.0
    assert exact.distance(1.0, mpmath.mpf(1), mpmath.mpf(1)) == 0.0
    assert exact.distance(math.inf, math.inf, math.inf) == 0.0
    assert exact.distance(math.inf, 1, 1) == math.inf
    assert exact.distance(math.nan, 1, 1) == math.inf
    assert exact.distance(1e-300, 0, 0) == math.inf
    assert worst([1.0], ([1, 2], [1, 2])) == math.inf


def test_cases_are_the_same_in_every_run():
    form = ORACLES["plateau_losses"]
    assert points.batch(form.draw, 5, 7) == points.batch(form.draw, 5, 7)
    assert points.batch(form.draw, 5, 7) != points.batch(form.draw, 5, 8)


def test_extrapolated_midpoint_reaches_its_digits():
    with mpmath.workdps(integrals.DIGITS):
        start = [mpmath.mpf(1), mpmath.mpf(0)]
        x, y = integrals.integrate(lambda p: [-p[1], p[0]], start, mpmath.mpf(3), 10)
        # Order 22 in steps of 0.3: 0.3²² is 3e-12, over factorials of about 22!.
        assert abs(x - mpmath.cos(3)) < mpmath.mpf(10) ** -24
        assert abs(y - mpmath.sin(3)) < mpmath.mpf(10) ** -24


@pytest.mark.parametrize("length", [2, 3])
def test_few_token_losses_without_attention(length):
    # ω = 0: p = 1/L, and the loss is λ[d + μ²(d + σ²/λ)/L].
    reference = {2: integrals.two_token_loss, 3: integrals.three_token_loss}[length]
    mu, d, lam, noise = 0.7, 3, 2.0, 0.5
    expected = lam * (d + mu**2 * (d + noise**2 / lam) / length)
    assert math.isclose(float(reference(mu, 0.0, d, lam, noise)), expected, rel_tol=1e-13)


def test_rare_participation_keeps_fifty_digits():
    with mpmath.workdps(50):
        u = mpmath.mpf(2) / 3 + mpmath.mpf(10) ** -20
        kappa, scale = 1 / u + mpmath.mpf(1) / 2, mpmath.log(1000)
        expected = (
            mpmath.exp(-((2 - u) ** 2) * scale / (8 * u))
            * mpmath.gamma(kappa) * mpmath.gamma(2 - kappa) / mpmath.sqrt(2 * mpmath.pi * u * scale)
        )  # fmt: skip
        got = analytic.softmax.rare_participation(u, mpmath.mpf(1000))
        # 2 − κ is 10⁻²⁰·9/4 here, so that the oracle's gamma has 30 digits.
        assert abs(got / expected - 1) < mpmath.mpf(10) ** -28
