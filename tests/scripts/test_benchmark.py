"""The benchmark: timing, fits, the page and its numbers, what is kept, and its manners."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import benchmark
from benchmarking import all_rows, base, machine, page
from benchmarking.base import Built, Entry, Growth, Row
from benchmarking.measure import core_time, fitted_exponent, grown, measured
from benchmarking.store import PARTIAL, Store

ROOT = Path(benchmark.__file__).parent.parent
HEAD = {"command": "c", "quick": True, "machine": "m", "versions": {"Python": "3"}}


def quiet(_):
    """Instead of progress."""


def spin(seconds):
    """Work that takes so much core time."""

    def call():
        end = core_time() + seconds
        while core_time() < end:
            pass

    return call


def row(*entries, **options):
    return Row("made", "Made up", "nothing", entries, **options)


def entry(kind, seconds, values=None, **options):
    call = spin(seconds)
    build = lambda: Built(lambda: (call(), values)[1], **options)  # noqa: E731
    return Entry(f"{kind} {seconds}", kind, build, why="it spins less")


@pytest.fixture
def no_jax(monkeypatch):
    known = base.util.find_spec
    monkeypatch.setattr(base.util, "find_spec", lambda n: None if n == "jax" else known(n))


def test_ratios_are_of_the_work_timed():
    result = measured(row(entry("ours", 0.04), entry("theirs", 0.01, share=0.125)), True, quiet)
    # 0.01 s are an eighth of 0.08 s. A loop that waits for the clock overshoots, never falls short.
    assert result["entries"][0]["core"] >= 0.04
    assert result["entries"][1]["core"] >= 0.08
    assert 1.4 < result["entries"][1]["over_ours"] < 2.8


def test_turns_are_interleaved_and_as_many_as_asked():
    calls = []
    entries = [
        Entry(name, "ours", lambda name=name: Built(lambda: (calls.append(name), spin(0.03)())[0]))
        for name in "ab"
    ]
    result = measured(row(*entries, repeats=3), False, quiet)
    assert "".join(calls) == "ab" * 4  # the first of each is not timed
    assert [e["turns"] for e in result["entries"]] == [3, 3]


def test_who_did_other_work_is_told():
    entries = [entry("ours", 0, np.ones(3)), entry("theirs", 0, np.array([1.0, 1.0, 1.1]))]
    result = measured(row(*entries, reference=lambda: np.ones(3), tolerance=1e-2), True, quiet)
    assert [e["agrees"] for e in result["entries"]] == [True, False]
    assert "**differs**" in page.markdown(whole([result]))


def test_a_loss_has_a_reason_and_a_win_has_none():
    slow, fast = entry("ours", 0.03), entry("theirs", 0.01)
    lost = page.markdown(whole([measured(row(slow, fast), True, quiet)]))
    won = page.markdown(whole([measured(row(fast, slow), True, quiet)]))
    assert "in 1 of the 1 rows" in lost
    assert "It spins less" in lost
    assert "in 0 of the 1 rows" in won
    assert "It spins less" not in won


def test_compilation_is_charged_once():
    def timed(name, theirs, compiled):
        entries = [
            {"label": "us", "kind": "ours", "core": 1.0, "compile": None},
            {"label": "Numba, loops, by hand", "kind": "theirs", "core": theirs,
             "compile": compiled},
        ]  # fmt: skip
        return {"name": name, "entries": entries}

    # The second row found the function compiled, in 0.6 s, by the first.
    rows = [timed("a", 0.1, 0.6), timed("b", 0.5, None), timed("c", 0.2, None)]
    assert page.lost_once(rows) == ["a", "c"]


def test_absent_library_is_skipped_with_a_word(no_jax):
    absent = Entry("JAX", "theirs", lambda: pytest.fail("built"), ("jax",))
    result = measured(row(entry("ours", 0), absent), True, quiet)
    assert len(result["entries"]) == 1
    assert "Not run: JAX: jax is not installed." in page.markdown(whole([result]))
    growth = Growth("g", "G", "n", [1, 2, 3], lambda n: pytest.fail("built"), (1, 1), "1", "theirs",
                    ("jax",))  # fmt: skip
    assert "jax is not installed" in page.markdown(whole([grown(growth, True, quiet)]))


@pytest.mark.parametrize("power", [0.0, 1.0, 2.5])
def test_exponent_of_synthetic_times(power):
    sizes = np.array([1, 2, 4, 8, 16])
    exponent, error = fitted_exponent(sizes, 3e-6 * sizes**power)
    assert exponent == pytest.approx(power, abs=1e-12)
    assert error < 1e-12
    noise = np.random.default_rng(0).normal(0, 0.1, (2000, 5))
    fits = np.array([fitted_exponent(sizes, sizes**power * np.exp(row)) for row in noise])
    spread = 0.1 / np.sqrt(np.sum((np.log(sizes) - np.log(sizes).mean()) ** 2))
    # Five standard errors of a mean and, by its own relative error 1/√(2n), of a spread.
    assert fits[:, 0].mean() == pytest.approx(power, abs=5 * spread / 2000**0.5)
    assert fits[:, 0].std() == pytest.approx(spread, rel=5 / 4000**0.5)
    assert np.mean(fits[:, 1] ** 2) == pytest.approx(spread**2, rel=5 * (2 / 3 / 2000) ** 0.5)


def test_growth_of_known_work():
    # Work of 2, 4 and 8 ms; the clock of a busy core is good to some tenths of a millisecond.
    growth = Growth("g", "G", "n", [1, 2, 4], lambda n: spin(2e-3 * n), (1, 1), "1")
    result = grown(growth, True, quiet)
    assert result["exponent"] == pytest.approx(1, abs=0.3)
    assert page.met({**result, "exponent": 1.0, "standard_error": 0.0}) == "as expected"
    assert page.met({**result, "exponent": 1.2, "standard_error": 0.0}) == "steeper"
    assert page.met({**result, "exponent": 0.8, "standard_error": 0.0}) == "flatter"


def whole(rows):
    return {**HEAD, "date": "d", "ceilings": {"gemm": 1e9, "copy": 1e9}, "rows": rows}


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    folder = tmp_path_factory.mktemp("benchmark")
    argv = ["--quick", "--only", "spectra", "growth-P-moments", "--out", str(folder)]
    command = [sys.executable, "scripts/benchmark.py", *argv]
    # A process of its own: threads are settled before NumPy is imported.
    environment = {k: v for k, v in os.environ.items() if not k.endswith("_NUM_THREADS")}
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    return folder


def table(text, name):
    """Lines of a row's table by label."""
    lines = text.split(f"`{name}`. ")[1].split("\n\n")[1].splitlines()[2:]
    return {line.split(" | ")[1]: line.strip("| ").split(" | ") for line in lines}


def test_numbers_and_table_agree(quick):
    text = (quick / "RESULTS.md").read_text(encoding="utf-8")
    results = json.loads((quick / "RESULTS.json").read_text(encoding="utf-8"))
    assert text == page.markdown(results)
    assert [r["name"] for r in results["rows"]] == ["spectra", "growth-P-moments"]
    spectra, growth = results["rows"]
    shown = table(text, "spectra")
    assert list(shown) == [e["label"] for e in spectra["entries"]]
    for e in spectra["entries"]:
        cells = shown[e["label"]]
        assert cells[0] == e["kind"]
        assert cells[2] == page.seconds(e["core"])
        # Rounded to three digits each, ratio and times.
        ratio = e["core"] / spectra["entries"][0]["core"]
        assert float(cells[4].replace(",", "")) == pytest.approx(ratio, rel=5e-3)
        assert e["agrees"] in (True, None)
    assert f"| {growth['exponent']:.2f} ± {growth['standard_error']:.2f} |" in text
    assert not (quick / PARTIAL).exists()


def test_page_names_machine_versions_and_command(quick):
    text = (quick / "RESULTS.md").read_text(encoding="utf-8")
    results = json.loads((quick / "RESULTS.json").read_text(encoding="utf-8"))
    assert results["machine"] in text
    assert f"numpy {np.__version__}" in text
    assert "`python scripts/benchmark.py --quick --only spectra" in text


def test_committed_results_are_current():
    folder = ROOT / "benchmarks"
    results = json.loads((folder / "RESULTS.json").read_text(encoding="utf-8"))
    assert (folder / "RESULTS.md").read_text(encoding="utf-8") == page.markdown(results)
    assert results["command"] == "python scripts/benchmark.py"
    assert not results["quick"]
    assert [r["name"] for r in results["rows"]] == [r.name for r in all_rows()]
    for result in results["rows"]:
        for e in result.get("entries", []):
            assert e["agrees"] is not False, (result["name"], e["label"])
            if e["kind"] == "theirs" and e["over_ours"] < page.LEVEL:
                assert e["why"], (result["name"], e["label"])


def test_rows_are_named_apart_and_ours_comes_first():
    rows = [*all_rows(), *all_rows(quick=True)]
    names = [row.name for row in all_rows()]
    assert len(set(names)) == len(names)
    for each in rows:
        if isinstance(each, Row):
            assert each.entries[0].kind == "ours"
            assert {e.kind for e in each.entries} <= set(base.KINDS)


def test_finished_rows_are_kept_for_the_same_machine_alone(tmp_path):
    store = Store(tmp_path, HEAD)
    store.ceilings = {"gemm": 1.0, "copy": 1.0}
    store.keep({"name": "a"})
    assert Store(tmp_path, HEAD).rows == {"a": {"name": "a"}}
    assert Store(tmp_path, {**HEAD, "versions": {"Python": "4"}}).rows == {}
    (tmp_path / PARTIAL).write_text("[", encoding="utf-8")
    assert Store(tmp_path, HEAD).rows == {}


def test_interrupted_run_goes_on(tmp_path, monkeypatch, capsys):
    measure = benchmark.measure
    made = [row(entry("ours", 0)), Row("later", "Later", "nothing", [entry("ours", 0)])]
    for name in ("gemm_rate", "copy_rate"):
        monkeypatch.setattr(machine, name, lambda: 1e9)
    monkeypatch.setattr(benchmark, "chosen", lambda args: made)
    monkeypatch.setattr(benchmark, "measure", stopping(measure, "later"))
    argv = ["--quick", "--out", str(tmp_path)]
    assert benchmark.main(argv) == 130
    assert "1 of 2 rows are kept" in capsys.readouterr().err
    assert not (tmp_path / "RESULTS.md").exists()
    monkeypatch.setattr(benchmark, "measure", measure)
    assert benchmark.main(argv) == 0
    assert "made: kept from before" in capsys.readouterr().out
    assert (tmp_path / "RESULTS.md").exists()


def stopping(measure, name):
    """Ctrl-C before a row."""

    def stopped(rows, args, store):
        measure([r for r in rows if r.name != name], args, store)
        raise KeyboardInterrupt

    return stopped


@pytest.mark.parametrize(
    ("argv", "word"),
    [
        (["--only", "nothing"], "nothing"),
        (["--out", ""], "--out"),
        (["--out", "/proc/benchmark"], "--out"),
        (["--device", "--quick"], "--device"),
        (["--loud"], "--loud"),
    ],
)
def test_misuse_is_one_line(argv, word, capsys):
    assert benchmark.main(argv) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert word in err


def test_list_measures_nothing(capsys):
    assert benchmark.main(["--list"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == [
        r.name for r in all_rows()
    ]


def test_device_says_what_is_missing(capsys, monkeypatch):
    known = base.util.find_spec
    monkeypatch.setattr(base.util, "find_spec", lambda n: None if n == "cupy" else known(n))
    assert benchmark.main(["--device"]) == 1
    assert "cupy is not installed" in capsys.readouterr().err
