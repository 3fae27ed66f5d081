"""`scripts/predict.py softmax`, against the functions it lays side by side."""

import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import numerics
import predict
from analytic import softmax as closed
from numerics.softmax.reduced import ReducedHead
from prediction.softmax import picture, theory
from prediction.softmax.phases import CLOSE, SHARE, find_phases
from tests.scripts import support_predict

_in_empty_folder = support_predict.in_empty_folder

FIG1 = ["--block-dims", "10", "10", "10"]
UNEQUAL = [
    "--block-dims",
    "5",
    "10",
    "20",
    "10",
    "--signal",
    "2",
    "1",
    "0.5",
    "1",
    "--noise",
    "0.7",
]
WORLD = ([5, 10, 20, 10], [2.0, 1.0, 0.5, 1.0])
ROUNDING = 1e-13  # of a sum of some terms
# Exact losses and roots of the same function of (d, L, σ²/λ), in other units: the tolerances of
# the quadrature (relative 1e-9) and of the root in ln‖ω‖² (1e-10, plus the quadrature's).
EXACT = 2e-9


def softmax(*arguments):
    """Run `predict.py softmax`, and read what it wrote."""
    assert predict.main(["softmax", *arguments, "--json", "out.json"]) == 0
    return json.loads(Path("out.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("heads", [1, 2, 4, 6])
def test_formulas_are_the_closed_forms(heads):
    result = softmax(*UNEQUAL, "--context-length", "60", "--heads", str(heads))
    given = (*WORLD, 60)
    single = closed.single_head_optimum(*given, noise=0.7)
    assert result["single_head_optimum_loss"] == pytest.approx(single.loss, rel=ROUNDING)
    bound = closed.lower_bound(*given, heads, noise=0.7)
    assert result["lower_bound_loss"] == pytest.approx(bound, rel=ROUNDING)
    heads_of = [task["single_head"] for task in result["tasks"]]
    np.testing.assert_allclose([h["omega"] for h in heads_of], single.omega_bar, rtol=ROUNDING)
    np.testing.assert_allclose([h["mu"] for h in heads_of], single.mu, rtol=ROUNDING)
    shares = [h["water_filling_allocation"] for h in heads_of]
    assert sum(shares) == pytest.approx(math.exp(-1), rel=ROUNDING)
    bayes = sum(
        lam * d * closed.bayes_risk(d / 60, lam * d / 0.49) for d, lam in zip(*WORLD, strict=True)
    )
    assert result["bayes_risk_proportional_limit"] == pytest.approx(bayes, rel=ROUNDING)
    if heads < 4:
        assert result["flow_limit_loss"] is None
        return
    limit = closed.limit_loss(*given, noise=0.7)
    assert result["flow_limit_loss"] == pytest.approx(limit, rel=ROUNDING)
    rates = closed.limit_escape_rate(*given, noise=0.7)
    np.testing.assert_allclose(result["stability"]["escape_rates"], rates, rtol=ROUNDING)
    assert result["stability"]["unstable_directions"] == 4 * (heads - 1)


def test_exact_losses_are_those_of_the_quadrature():
    result = softmax(*UNEQUAL, "--context-length", "60")
    task = numerics.MultiTask(WORLD[0], signal=WORLD[1], context_length=60, noise=0.7)
    point = closed.limit_weights(*WORLD, 60, noise=0.7)
    whole = numerics.exact_loss(point.omega_bar, point.mu, task)
    assert result["exact_flow_limit_loss"] == pytest.approx(whole.value, rel=EXACT)
    best = [numerics.exact_optimum(d, lam, 60, noise=0.7) for d, lam in zip(*WORLD, strict=True)]
    assert result["exact_optimum_loss"] == pytest.approx(sum(b.loss for b in best), rel=EXACT)
    norms = [b.squared_norm for b in best]
    np.testing.assert_allclose(result["exact_optimum_squared_norm"], norms, rtol=EXACT)
    assert result["exact_optimum_loss"] < result["exact_flow_limit_loss"]
    assert result["formula_relative_error"] == pytest.approx(
        result["flow_limit_loss"] / whole.value - 1, rel=1e-6
    )
    assert result["exact_flow_limit_status"] == result["exact_optimum_status"] == "converged"
    assert 0 < result["exact_flow_limit_error"] < EXACT * whole.value


def test_sums_are_over_tasks_and_scale_with_the_signal():
    result = softmax(*UNEQUAL)
    for name, key in {
        "flow_limit_loss": "flow_limit", "exact_flow_limit_loss": "exact_flow_limit",
        "exact_optimum_loss": "exact_optimum", "single_head_optimum_loss": "single_head",
        "lower_bound_loss": "lower_bound",
    }.items():  # fmt: skip
        parts = [task[key]["loss"] for task in result["tasks"]]
        assert result[name] == pytest.approx(sum(parts), rel=ROUNDING), name
        assert parts[1] == parts[3]
    larger = softmax(*UNEQUAL[:6], *["8", "4", "2", "4"], "--noise", "1.4")
    # λ and σ² four times larger: four times the loss, at the same weights; exact in binary.
    for name in ("flow_limit_loss", "exact_optimum_loss", "bayes_risk_proportional_limit"):
        assert larger[name] == pytest.approx(4 * result[name], rel=ROUNDING)
    assert larger["exact_optimum_squared_norm"] == result["exact_optimum_squared_norm"]


def test_equal_tasks_are_computed_once(monkeypatch):
    calls = []

    def counted(*arguments, **keywords):
        calls.append(arguments)
        return numerics.exact_optimum(*arguments, **keywords)

    monkeypatch.setattr(theory, "exact_optimum", counted)
    result = softmax("--block-dims", *["10"] * 20, "--signal", *["1"] * 19, "2", "--noise", "1")
    assert len(calls) == 2
    assert len(result["exact_optimum_squared_norm"]) == 20


def test_fewer_heads_than_tasks_have_no_limit(capsys):
    result = softmax(*FIG1, "--heads", "2", "--plot", "few.svg")
    for name in ("flow_limit_loss", "exact_flow_limit_loss", "exact_optimum_loss", "stability",
                 "exact_optimum_squared_norm", "formula_relative_error"):  # fmt: skip
        assert result[name] is None, name
    assert result["lower_bound_loss"] < result["single_head_optimum_loss"]
    assert "2 heads, 3 tasks" in result["flow_limit_missing"]
    assert result["flow_limit_missing"] in capsys.readouterr().out
    assert Path("few.svg").is_file()


@pytest.mark.parametrize(("length", "risk"), [(4, 18.0), (10, 0.0), (100, 0.0)])
def test_without_noise_bayes_is_what_is_not_seen(length, risk):
    # Σ λ (d − L)₊, exactly.
    result = softmax(*FIG1, "--context-length", str(length))
    assert result["bayes_risk_proportional_limit"] == pytest.approx(risk, rel=ROUNDING)


def test_noise_as_good_as_none_and_a_single_pair():
    small = softmax(*FIG1, "--noise", "1e-200", "--context-length", "4")
    assert small["bayes_risk_proportional_limit"] == pytest.approx(18.0, rel=ROUNDING)
    single = softmax(*FIG1, "--context-length", "1")
    assert single["exact_optimum_loss"] == 30.0
    assert single["exact_optimum_squared_norm"] == [0.0, 0.0, 0.0]
    assert any("one context pair" in warning for warning in single["warnings"])


def test_saddle_is_said_where_there_is_one():
    many, one = softmax(*FIG1), softmax("--block-dims", "10")
    (note,) = (warning for warning in many["warnings"] if "saddle" in warning)
    assert "6 unstable directions at rate 0.4973" in note
    assert not any("saddle" in warning for warning in one["warnings"])
    assert one["stability"]["unstable_directions"] == 0
    assert one["lower_bound_loss"] == pytest.approx(one["flow_limit_loss"], rel=ROUNDING)


def test_use_at_another_length():
    other = softmax(*UNEQUAL, "--test-length", "400")["generalisation"]
    formula = closed.generalised_loss(*WORLD, 100, 400, noise=0.7)
    assert other["flow_limit_loss"] == pytest.approx(formula, rel=ROUNDING)
    point = closed.limit_weights(*WORLD, 100, noise=0.7)
    task = numerics.MultiTask(WORLD[0], signal=WORLD[1], context_length=400, noise=0.7)
    exact = numerics.exact_loss(point.omega_bar, point.mu, task)
    assert other["exact_flow_limit"]["loss"] == pytest.approx(exact.value, rel=EXACT)
    same = softmax(*UNEQUAL, "--test-length", "100")
    for name in ("exact_flow_limit", "exact_optimum"):
        there = same["generalisation"][name]["loss"]
        assert there == pytest.approx(same[f"{name}_loss"], rel=EXACT)


def phases(length, embedding, omega, mu):
    """Predicted and integrated times of warm-up and emergence, d = 10, λ = 1, no noise."""
    tasks = theory.Tasks((10,), np.array([1.0]), 0.0, 1, embedding)
    predicted = find_phases(tasks, length, omega, mu)[0]
    head = ReducedHead(10, 1.0, length, embedding)
    duration = 2 * (predicted.warmup_time + predicted.emergence_time)
    times = np.unique(np.concatenate([x * duration for x in (
        np.linspace(0, 1, 2001), np.geomspace(1e-6, 1, 2001))]))  # fmt: skip
    run = head.flow(omega, mu, duration, times=times)
    bracket = run.mu * run.omega_bar * (1 + 10 * head.spread(run.omega_bar))
    end = run.t[np.argmax(bracket >= SHARE)]
    close = run.t[np.argmax(10 * run.omega_bar**2 >= 1 - CLOSE)]
    return predicted, float(end), float(close - end)


def test_phases_are_those_of_the_reduced_flow():
    # Context noise, neglected in the warm-up, is a share φμ0/(Lω0) = 100/L of dμ/dt. Beside it
    # only what is neglected of dω̄/dt remains, at most half of it.
    predicted, last, _ = phases(10**7, 30, 0.001, 0.1)
    assert predicted.warmup_time < last < predicted.warmup_time / (1 - SHARE)
    delays = [phases(length, 30, 0.001, 0.1)[1] - last for length in (300, 1200, 4800)]
    assert 0 < delays[2] < delays[1] / 2 < delays[0] / 4
    # μ is faster than ω̄ by a factor of order √d_e, ten times more at each.
    errors = []
    for embedding in (30, 3000, 300_000):
        predicted, _, measured = phases(1000, embedding, 0.001, 0.1)
        errors.append(abs(measured / predicted.emergence_time - 1))
    assert errors[2] < errors[1] / 2 < errors[0] / 4


def test_phases_are_reported_or_refused_a_number(capsys):
    entries = softmax(*UNEQUAL, "--init", "0.001", "0.1")["phases"]
    assert len(entries) == 4
    time = closed.blow_up_time(0.001, 0.1, 10, 1.0, 45)
    assert entries[1]["blow_up_time"] == pytest.approx(time, rel=ROUNDING)
    assert all(entry["warmup_time"] < entry["blow_up_time"] for entry in entries)
    assert "emergence takes" in capsys.readouterr().out
    late = softmax(*FIG1, "--init", "0.3", "5")
    assert late["phases"][0]["warmup_time"] is None
    assert any("beyond the warm-up" in warning for warning in late["warnings"])


MISUSE = [
    (["--block-dims"], "--block-dims", "at least one"),
    (["--block-dims", "10", "0"], "--block-dims", ">= 1"),
    (["--block-dims", "10", "-3"], "--block-dims", ">= 1"),
    (["--block-dims", "2.5"], "--block-dims", "whole"),
    (["--block-dims", "nan"], "--block-dims", "whole"),
    (["--block-dims", "9" * 23], "--block-dims", "<= 1e+09"),
    (["--block-dims", *["1"] * 1001], "--block-dims", "at most 1000 tasks"),
    ([*FIG1, "--heads", "0"], "--heads", ">= 1"),
    ([*FIG1, "--context-length", "0"], "--context-length", ">= 1"),
    ([*FIG1, "--context-length", "10.5"], "--context-length", "whole"),
    ([*FIG1, "--context-length", "inf"], "--context-length", "whole"),
    ([*FIG1, "--context-length", "10000000000"], "--context-length", "<= 1e+09"),
    ([*FIG1, "--signal", "1", "0", "1"], "--signal", "> 0"),
    ([*FIG1, "--signal", "-1"], "--signal", "> 0"),
    ([*FIG1, "--signal", "nan"], "--signal", "finite"),
    ([*FIG1, "--signal", "1e400"], "--signal", "finite"),
    ([*FIG1, "--signal", "1", "2"], "--signal", "1 number or 3"),
    ([*FIG1, "--noise", "-0.1"], "--noise", ">= 0"),
    ([*FIG1, "--noise", "inf"], "--noise", "finite"),
    ([*FIG1, "--noise", "1e9"], "--noise", "too strong for task 1"),
    ([*FIG1, "--test-length", "0"], "--test-length", ">= 1"),
    ([*FIG1, "--heads", "2", "--test-length", "9"], "--test-length", "at least 3, got 2"),
    ([*FIG1, "--heads", "2", "--init", "0.01", "1"], "--init", "at least 3, got 2"),
    ([*FIG1, "--init", "1"], "--init", "expected 2"),
    ([*FIG1, "--init", "0", "1"], "--init", "> 0"),
    ([*FIG1, "--init", "1", "1e-20"], "--init", "μ0 must be"),
    ([*FIG1, "--tokens", "x.npy"], "--tokens", "unrecognized"),
    ([*FIG1, "--plot", "none/run.png"], "--plot", "no folder"),
    ([*FIG1, "--plot", "run.jpg"], "--plot", ".png"),
    ([*FIG1, "--plot", "folder.png"], "--plot", "is a folder"),
    ([*FIG1, "--json", "run.txt"], "--json", ".json"),
    ([*FIG1, "--json", ""], "--json", "must name a file"),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "name", "says"), MISUSE)
def test_misuse_is_one_line_and_writes_nothing(arguments, name, says, capsys):
    Path("folder.png").mkdir()
    outputs = [] if "--json" in arguments else ["--json", "o.json"]
    assert predict.main(["softmax", *arguments, *outputs]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert captured.err.startswith("predict.py: error: ")
    assert name in captured.err
    assert says in captured.err
    assert [path.name for path in Path().iterdir()] == ["folder.png"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["--block-dims", "1000000000", "1", "--context-length", "1000000000"],
        ["--block-dims", "1000000000", "--context-length", "1", "--test-length", "1000000000"],
        ["--block-dims", "2", "--signal", "1e30", "--heads", "1000000000", "--init", "1e-9", "1e9"],
        ["--block-dims", "2", "--signal", "1e-30", "--init", "1e-30", "1e-30"],
    ],
)  # fmt: skip
def test_extremes_end_with_numbers(arguments):
    result = softmax(*arguments)
    for name in ("flow_limit_loss", "exact_flow_limit_loss", "exact_optimum_loss"):
        assert result[name] > 0
    assert result["exact_optimum_loss"] <= result["exact_flow_limit_loss"] * (1 + EXACT)
    assert result["exact_optimum_status"] == "converged"


def test_the_schema_does_not_depend_on_the_case():
    full, few = softmax(*UNEQUAL), softmax(*UNEQUAL, "--heads", "1")
    assert set(full) == set(few)
    assert [set(task) for task in full["tasks"]] == [set(task) for task in few["tasks"]]
    assert full["settings"]["embedding_dim"] == 45
    assert full["settings"]["heads"] == 4
    assert full["phases"] is full["generalisation"] is None


def test_picture_shows_the_given_length_and_exact_points():
    options = predict.make_parser().parse_args(["softmax", *FIG1])
    predict.check_softmax(options)
    prediction = theory.predict(options)
    curves = picture.compute(prediction)
    at = int(np.flatnonzero(curves.points == 100).item())
    result = softmax(*FIG1, "--plot", "run.png")
    assert curves.exact[at] == result["exact_flow_limit_loss"]
    assert curves.optimum[at] == result["exact_optimum_loss"]
    assert curves.limit_at_points(prediction.tasks)[at] == pytest.approx(
        result["flow_limit_loss"], rel=ROUNDING
    )
    assert (curves.bound < curves.limit).all()
    assert (curves.limit < curves.single).all()
    assert Path("run.png").read_bytes().startswith(b"\x89PNG")


def test_table_says_what_is_exact(capsys):
    assert predict.main(["softmax", *FIG1]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    lines = {line[:24].strip(): line for line in captured.out.splitlines()}
    assert "leading order" in lines["limit of the flow"]
    assert "% off" in lines["limit of the flow"]
    assert "exact, ±" in lines["best head for each task"]


def test_help_imports_nothing_heavy():
    folder = str(Path(predict.__file__).parent)
    code = (
        f"import sys; sys.path.insert(0, {folder!r}); import predict; "
        "status = predict.main(['softmax', '--help']); "
        "assert not {'numpy', 'scipy', 'matplotlib', 'analytic', 'numerics'} & set(sys.modules); "
        "sys.exit(status)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "predict.py softmax --block-dims 10 10 10" in done.stdout
