"""`verify.py --precision`: the table at a small size, its files, its exit status and misuse."""

import json

import pytest

import analytic
import verify
from precision import exact, flows, table
from precision.flows import Flow


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(table, "QUICK", 2)
    monkeypatch.setattr(flows, "all_flows", lambda full: [Flow("a_flow", "here", 1e-9, 1e-8)])


@pytest.mark.usefixtures("small")
def test_table_is_printed_and_written(tmp_path, capsys):
    other = tmp_path / "other.json"
    status = verify.main(["--precision", "--out", str(tmp_path / "r"), "--json", str(other)])
    out = capsys.readouterr().out
    assert status == 0
    assert f"{len(exact.ORACLES) + 1} rows, 0 above what is stated" in out
    records = json.loads((tmp_path / "r" / "precision.json").read_text(encoding="utf-8"))
    assert json.loads(other.read_text(encoding="utf-8")) == records
    assert [r["name"] for r in records] == [*exact.ORACLES, "a_flow"]
    page = (tmp_path / "r" / "precision.md").read_text(encoding="utf-8")
    for record in records:
        assert record["holds"]
        assert record["worst"] <= record["stated"]
        assert f"| {record['name']} |" in page
        assert record["name"] in out


@pytest.mark.usefixtures("small")
def test_a_form_that_is_less_precise_than_stated_fails(tmp_path, capsys, monkeypatch):
    right = analytic.escape_rate
    doc = right.__doc__

    def wrong(*arguments, **keywords):
        return right(*arguments, **keywords) * (1 + 1e-14)

    wrong.__doc__ = doc
    monkeypatch.setattr(analytic, "escape_rate", wrong)
    monkeypatch.setattr(flows, "all_flows", lambda full: [Flow("a_flow", "here", 1e-7, 1e-8)])
    assert verify.main(["--precision", "--out", str(tmp_path)]) == 1
    assert "2 above what is stated: escape_rate, a_flow" in capsys.readouterr().out
    records = json.loads((tmp_path / "precision.json").read_text(encoding="utf-8"))
    assert [r["name"] for r in records if not r["holds"]] == ["escape_rate", "a_flow"]


@pytest.mark.usefixtures("small")
def test_an_infinite_error_is_still_json(tmp_path, monkeypatch):
    monkeypatch.setattr(analytic, "mode_growth", analytic.visit_order)
    assert verify.main(["--precision", "--out", str(tmp_path)]) == 1
    json.loads((tmp_path / "precision.json").read_text(encoding="utf-8"))


def test_interrupt_keeps_what_is_finished(tmp_path, capsys, monkeypatch):
    def stop(count, seed, full):
        yield table.Row("x", "eps", 2.0, 1.0, count, "()")
        raise KeyboardInterrupt

    monkeypatch.setattr(table, "rows", stop)
    assert verify.main(["--precision", "--out", str(tmp_path)]) == 130
    assert len(json.loads((tmp_path / "precision.json").read_text(encoding="utf-8"))) == 1
    assert "interrupted" in capsys.readouterr().err


@pytest.mark.parametrize("option", [["--only", "L1"], ["--list"], ["--controls"]])
def test_misuse_is_one_line(option, tmp_path, capsys):
    assert verify.main(["--precision", *option, "--out", str(tmp_path / "r")]) == 2
    error = capsys.readouterr().err.strip()
    assert "--precision" in error
    assert "\n" not in error
    assert not (tmp_path / "r").exists()
