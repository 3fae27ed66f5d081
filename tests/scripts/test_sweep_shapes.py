"""Sweeps of ATTN_M, of spectra given by a rule, and what the report makes of both."""

import csv
import math
from pathlib import Path

import numpy as np
import pytest

import analytic
import numerics
import sweep as script
from sweeping import LinearCase, MergedCase, Record, Store, case_of, compute, expand, spectra, sweep
from sweeping.picture import LINEAR, SHAPES, draw, medians
from sweeping.rows import row_of, rows_of
from sweeping.spectra import eigenvalues_of, exponent_of, rule_of
from sweeping.store import packed
from tests.scripts import support_sweep

_in_empty_folder = support_sweep.in_empty_folder


# ATTN_M


def test_a_merged_record_is_the_gradient_flow_beside_the_theory():
    """By another route in another basis: solver tolerances of 1e-8, over rates for times."""
    case = MergedCase([0.2, 0.5], 9, heads=3, noise=0.3, init=0.02, seed=3)
    record = compute(case)
    assert record.status == "finished"
    task = numerics.LinearTask.from_eigenvalues([0.2, 0.5], 9, noise=0.3)
    model = numerics.MergedAttention(2, 3)
    run = numerics.gradient_flow(model, numerics.population_moments(task),
                                 model.initial_weights(0.02, rng=case.generator()),
                                 float(record.values["t"][-1]))  # fmt: skip
    ends = analytic.plateau_losses([0.2, 0.5], 9, noise=0.3)[[0, -1]]
    drops = numerics.drop_times(run.t, run.loss, ends, loss_rate=run.loss_rate)
    np.testing.assert_allclose(record.values["plateaus_predicted"], ends, rtol=1e-14)
    np.testing.assert_allclose(record.values["drops"], drops, rtol=1e-6)
    assert record.number("final_loss") == pytest.approx(float(run.loss[-1]), rel=1e-6)
    # The aligned head settles to within 1e-4 of the drop; weights off it add O(init) to its time.
    left = (run.loss[-1] - ends[1]) / (ends[0] - ends[1])
    assert 0 < left < 2e-4
    assert record.number("drift") < 1e-6


def test_the_drop_of_merged_attention_comes_when_the_aligned_head_says():
    """What does not grow is O(init): a hundredth of the weights, a hundredth of the error.

    The constant differs between draws, so that of the worst of three a tenth is asked for.
    """
    worst = []
    for init in (1e-2, 1e-4):
        cases = expand({"kind": "merged", "eigenvalues": [0.6, 0.4], "context_length": 5,
                        "init": init, "seeds": 3})  # fmt: skip
        worst.append(max(abs(compute(case).values["drop_errors"][0]) for case in cases))
    assert 0 < worst[1] < worst[0] / 10


def test_a_merged_case_has_its_own_name_and_stream():
    merged, linear = MergedCase([0.5, 0.3], 9), LinearCase([0.5, 0.3], 9)
    assert merged.key != linear.key
    assert merged.generator().random() != linear.generator().random()
    assert case_of(merged.content()) == merged
    assert merged.canonical == (
        '{"context_length":9,"duration":null,"eigenvalues":[0.5,0.3],"heads":2,"init":0.001,'
        '"kind":"merged","noise":0,"seed":0}'
    )


# Rules


@pytest.mark.parametrize(("rule", "shape"), [
    ("power:1.5", lambda d: d**-1.5), ("geometric:0.7", lambda d: 0.7**d),
    ("white", lambda d: 1.0 + 0 * d),
])  # fmt: skip
@pytest.mark.parametrize("dimension", [1, 2, 7, 40])
def test_a_rule_gives_its_shape_and_trace_and_is_found_again(rule, shape, dimension):
    """Rounded to 12 digits: half a unit of the last, 5e-12 of a number that begins with 1."""
    values = np.array(eigenvalues_of(rule, dimension, 3.0))
    wanted = shape(np.arange(1.0, dimension + 1))
    np.testing.assert_allclose(values, 3 * wanted / wanted.sum(), rtol=5.1e-12)
    # One eigenvalue has no shape, and two of falling size are a power law.
    found = rule_of(tuple(values.tolist()))
    assert found == (None if dimension == 1 else rule) or (dimension == 2 and rule != "white")


def test_other_spectra_have_no_rule():
    power = eigenvalues_of("power:1", 6)
    for values in ((0.4, 0.3, 0.2, 0.1), power[::-1], (*power[:5], 0.99 * power[5]),
                   (1.0, 1e-200, 1e-250), (1.0, 1.0, 2.0, 1.0), (0.3, 0.5)):  # fmt: skip
        assert rule_of(values) is None
        assert math.isnan(exponent_of(values))
    assert spectra.text((0.4,) * 12 + (0.1,)) == "13: 0.4 0.4 0.4 0.4 0.4 … 0.1"


def test_rules_of_files_and_options_are_the_same_cases(capsys):
    Path("grid.toml").write_text(
        'kind = "merged"\nspectrum = ["power:0.5", "white"]\ndimension = [2, 4]\ntrace = 2\n'
        "context_length = 31\n",
        encoding="utf-8",
    )
    assert script.main(["run", "--grid", "grid.toml", "--dry-run"]) == 0
    lines = capsys.readouterr().out.splitlines()
    options = ["--merged", "--spectrum", "power:0.5", "white", "--dimension", "2", "4"]
    assert script.main(["run", *options, "--trace", "2", "--dry-run"]) == 0
    assert capsys.readouterr().out.splitlines() == lines
    assert [line.split('"heads":')[1][0] for line in lines] == ["2", "4", "2", "4"]
    assert '"eigenvalues":[0.5,0.5,0.5,0.5]' in lines[3]


# Reports


def row(case, drop, due, end=100.0):
    """A row of one drop, predicted at `due` and seen at `drop`."""
    values = {"t": [0.0, end], "loss": [1.0, 0.5], "drops": [drop], "drops_predicted": [due],
              "drop_errors": [drop / due - 1 if math.isfinite(drop) else math.nan]}  # fmt: skip
    return row_of(Record(case, "finished", {k: np.array(v) for k, v in values.items()}))


def test_a_drop_that_did_not_come_is_told():
    case = LinearCase([1.0], 5)
    for drop, due, missed in ((50.0, 60.0, 0), (math.inf, 60.0, 1), (math.inf, 160.0, 0)):
        assert row(case, drop, due).numbers["missed_drops"] == missed
    rows = [row(LinearCase([1.0], 5, seed=seed), math.inf, 60.0) for seed in (0, 1)]
    rows += [row(LinearCase([1.0], 5, rank=2), 66.0, 60.0)]
    cells = medians(rows, LINEAR, LINEAR.quantities[1], [1e-3], [1.0, 2.0])
    assert cells[0, 0] == math.inf
    assert cells[1, 0] == pytest.approx(10.0)


def test_settings_of_a_shape_diagram():
    """H = D by default is one setting over all D; H given is another, H = D among them."""

    def panels(heads):
        cases = [MergedCase(eigenvalues_of(rule, D), 31, heads=H)
                 for rule in ("white", "power:1") for D in (2, 3, 4) for H in heads]  # fmt: skip
        figure = draw([row(case, 50.0, 60.0) for case in cases], SHAPES)
        return [len(ax.images) for ax in figure.axes], [
            ax.images[0].get_array().shape for ax in figure.axes
        ]

    assert panels([None]) == ([1, 1], [(3, 2)] * 2)
    assert panels([2, 3]) == ([1] * 4, [(3, 2)] * 4)
    assert panels([None, 1]) == ([1] * 4, [(3, 2)] * 4)
    listed = [row(MergedCase([0.4, 0.3, 0.2], 31, seed=seed), 50.0, 60.0) for seed in (0, 1)]
    assert draw(listed, SHAPES) is None


def test_the_report_has_merged_cases_and_shapes(capsys):
    cases = expand({"kind": "merged", "spectrum": ["white", "power:1"], "dimension": [2, 3],
                    "context_length": 5, "init": 0.05})  # fmt: skip
    sweep(cases, "out")
    old = Store("out").path("0" * 32)
    old.write_bytes(packed(Record(cases[0], "finished", {})))
    assert script.main(["report", "out"]) == 0
    said = capsys.readouterr().out
    assert "ATTN_M: context_length 5" in said
    assert "3: power:1, trace 1" in said
    assert "holds another case than its name says" in said
    assert Path("out/report/merged_shapes.png").stat().st_size > 1000
    assert not Path("out/report/merged_drops.png").exists()
    with open("out/report/merged.csv", encoding="utf-8") as file:
        found = {line["key"]: line for line in csv.DictReader(file)}
    assert [found[case.key]["dimension"] for case in cases] == ["2", "3", "2", "3"]
    assert [found[case.key]["spectrum"] for case in cases] == ["white", "white"] + ["power:1"] * 2
    assert [len(each.case.eigenvalues) for each in rows_of("out")[0]] == [2, 2, 3, 3]


def test_a_file_of_another_format_is_told_and_left(monkeypatch):
    case = LinearCase([0.5], 9, init=0.1)
    store = Store("out")
    store.prepare()
    with monkeypatch.context() as patch:
        patch.setattr("sweeping.store.FORMAT", 0)
        patch.setattr("sweeping.case.FORMAT", 0)
        store.save(Record(case, "finished", {}))
    (before,) = store.keys()
    (line,) = store.records()
    assert line == f"{before}.npz: has format 0, not 1 (of another version of this program)"
    assert sweep([case], "out").summary() == "1 of 1 cases done"
    assert store.keys() == sorted([before, case.key])
