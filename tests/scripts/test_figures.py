"""The figures: their files, what the numbers beside them say, and the command's manners."""

import csv
import io
import math
import xml.etree.ElementTree as ElementTree
from types import SimpleNamespace

import matplotlib
import numpy as np
import pytest

import analytic
import figures
from drawing import CATALOGUE, load
from drawing.base import HEADER, Settings, thin
from drawing.runs import CONTEXT, FOUR, HARMONIC


def read(path):
    with path.open(newline="") as file:
        table = list(csv.DictReader(file))
    assert tuple(table[0]) == HEADER
    for row in table:
        assert math.isfinite(float(row["x"]))
        assert math.isfinite(float(row["y"]))
    return table


def column(table, **wanted):
    rows = [r for r in table if all(r[name] == value for name, value in wanted.items())]
    return np.array([(float(r["x"]), float(r["y"])) for r in rows]).T


def plateaus(table, panel):
    levels = [r for r in table if r["panel"] == panel and r["series"].startswith("plateau ")]
    return np.array([float(r["y"]) for r in levels if r["kind"] == "predicted"])


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    """Some quick figures, made once by the command itself."""
    out = tmp_path_factory.mktemp("figures") / "made" / "on demand"
    assert figures.main(["fig1", "fig3", "fig4", "white", "--quick", "--out", str(out)]) == 0
    return SimpleNamespace(out=out, tables={p.stem: read(p) for p in out.glob("*.csv")})


def test_files_are_whole(quick):
    names = {f"{n}{s}" for n in ("fig1", "fig3", "fig4", "white") for s in (".svg", ".png", ".csv")}
    assert {path.name for path in quick.out.iterdir()} == names
    for path in quick.out.glob("*.svg"):
        assert ElementTree.parse(path).getroot().tag.endswith("svg")
    for path in quick.out.glob("*.png"):
        assert path.read_bytes().startswith(b"\x89PNG")


def test_plateaus_are_predicted_and_met(quick):
    for name, panel, eigenvalues in (("fig3", "a", FOUR), ("fig4", "all", HARMONIC)):
        expected = analytic.plateau_losses(eigenvalues, CONTEXT)
        np.testing.assert_allclose(plateaus(quick.tables[name], panel), expected, rtol=1e-9)
    for seed in ("seed 0", "seed 1"):
        _, loss = column(quick.tables["fig3"], panel="a", series=seed)
        # The log-time record lingers at every plateau.
        for level in analytic.plateau_losses(FOUR, CONTEXT):
            assert np.abs(loss - level).min() < 5e-3


def test_values_follow_the_scalar_flow(quick):
    for head in ("head 1", "head 2", "head 3", "head 4"):
        t, v = column(quick.tables["fig3"], panel="b", series=head, kind="measured")
        times, values = column(quick.tables["fig3"], panel="b", series=head, kind="predicted")
        inside = (t > times[0]) & (t < times[-1])
        close = np.interp(v[inside], values, times)
        rising = (v[inside] > 0.3 * v[-1]) & (v[inside] < 0.95 * v[-1])
        assert rising.any()
        np.testing.assert_allclose(close[rising], t[inside][rising], rtol=1e-2)
        assert v[-1] == pytest.approx(values[-1], rel=2e-3)


def test_keys_end_on_the_eigenvectors(quick):
    for d in range(1, 5):
        _, key = column(quick.tables["fig3"], panel="c, plateau 4", series=f"head {d}")
        _, mode = column(quick.tables["fig3"], panel="c, eigenvectors", series=f"mode {d}")
        np.testing.assert_allclose(key, mode, atol=0.05)


def test_network_and_attention_lie_over_each_other(quick):
    _, gap = column(quick.tables["fig1"], panel="difference")
    assert 0 < np.abs(gap).max() < 1e-12


@pytest.mark.parametrize("panel", ["aligned", "random"])
def test_white_time_course(quick, panel):
    table = quick.tables["white"]
    for norm in (1e-1, 1e-4):
        series = f"w_init={norm:g}"
        _, loss = column(table, panel=panel, series=series, kind="measured")
        _, formula = column(table, panel=panel, series=series, kind="predicted")
        # Random weights leave an error of the order of their size.
        tolerance = 1e-6 if panel == "aligned" else 10 * norm
        np.testing.assert_allclose(loss, formula, atol=tolerance)


@pytest.mark.parametrize("name", ["fig11", "cover"])
def test_drawing_leaves_global_settings_alone(name):
    before = dict(matplotlib.rcParams)
    drawing = load(name)
    result = drawing.compute(Settings(seed=3, quick=True))
    figure = drawing.draw(result)
    figure.savefig(io.BytesIO(), format="svg")
    assert dict(matplotlib.rcParams) == before
    assert all(math.isfinite(row[4]) and math.isfinite(row[6]) for row in drawing.table(result))


def test_thinning_keeps_ends_and_jumps():
    t = np.linspace(1, 1000, 5000)
    loss = np.where(t < 700, 1.0, 0.0)
    keep = thin(t, loss, count=50)
    assert keep[0] == 0
    assert keep[-1] == len(t) - 1
    assert len(keep) <= 50
    jump = t[keep][np.flatnonzero(np.diff(loss[keep]))]
    assert abs(jump[0] - 700) < 50


def test_list(capsys):
    assert figures.main(["--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(CATALOGUE)


def test_unknown_figure(tmp_path, capsys):
    assert figures.main(["fig1", "fig99", "--out", str(tmp_path / "out")]) == 2
    assert not (tmp_path / "out").exists()
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "'fig99'" in error


def test_unwritable_folder(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(figures, "make", lambda *_, **__: pytest.fail("computed in vain"))
    (tmp_path / "file").write_text("in the way")
    for out in (tmp_path / "file", tmp_path / "file" / "below"):
        assert figures.main(["fig1", "--out", str(out)]) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        assert "--out" in error


def test_interrupt_keeps_what_is_finished(tmp_path, capsys, monkeypatch):
    make = figures.make

    def interrupted(name, *rest, **options):
        if name == "fig1":
            raise KeyboardInterrupt
        return make(name, *rest, **options)

    monkeypatch.setattr(figures, "make", interrupted)
    argv = ["white", "fig1", "cover", "--quick", "--out", str(tmp_path)]
    assert figures.main(argv) == 130
    assert sorted(p.name for p in tmp_path.iterdir()) == ["white.csv", "white.png", "white.svg"]
    assert "white" in capsys.readouterr().err


def test_equal_seeds_give_equal_files(tmp_path):
    for folder in ("one", "two"):
        figures.make("white", _made(tmp_path / folder), quick=True, seed=5)
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()


def _made(path):
    path.mkdir()
    return path
