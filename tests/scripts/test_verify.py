"""The verification script: verdicts, reports, controls and misuse."""

import json
import pkgutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

import claims
import verify
from claims import all_claims
from claims.base import Claim, Evidence, Settings, agree, same, shrinks, within_noise
from verifying.record import run_claim
from verifying.text import terminal_row

ROOT = Path(verify.__file__).parent.parent
FAST = ["L3", "L9", "L15", "L18", "B4"]
FIELDS = {
    "id", "source", "kind", "statement", "regime", "predicted", "measured", "error",
    "tolerance", "verdict", "seconds",
}  # fmt: skip


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    out = folder / "out"
    status = verify.main(
        ["--only", *FAST, "--controls", "--out", str(out), "--json", str(folder / "r.json")]
    )
    return status, out, json.loads((folder / "r.json").read_text(encoding="utf-8"))


def test_claims_hold_and_every_control_flips(report):
    status, _, results = report
    assert status == 0
    assert [r["id"] for r in results] == FAST
    for result in results:
        assert set(result) >= FIELDS
        assert result["verdict"] == "holds"
        assert result["controls_flip"] is True
        assert result["error"] <= result["tolerance"]


def test_report_is_self_contained(report):
    _, out, results = report
    page = (out / "report.html").read_text(encoding="utf-8")
    assert page.count("data:image/svg+xml;base64,") == len(FAST)
    assert "http" not in page
    text = (out / "report.md").read_text(encoding="utf-8")
    for result in results:
        assert result["statement"] in text
        assert (out / "pictures" / f"{result['id']}.svg").is_file()
    assert json.loads((out / "report.json").read_text(encoding="utf-8")) == results


def test_ids_are_unique_and_complete():
    ids = [claim.id for claim in all_claims()]
    assert len(set(ids)) == len(ids)
    numbers: dict[str, set[int]] = {}
    for name in ids:
        numbers.setdefault(name[0], set()).add(int(name[1:]))
    for letter, found in numbers.items():
        assert found == set(range(1, len(found) + 1)), f"a number of {letter} is left out"


def test_every_claim_that_a_module_makes_is_listed():
    modules = {info.name for info in pkgutil.walk_packages(claims.__path__, "claims.")}
    made = [entry for name in modules for entry in vars(import_module(name)).values()
            if isinstance(entry, Claim)]  # fmt: skip
    assert {claim.id for claim in made} == {claim.id for claim in all_claims()}


def test_list_runs_nothing_and_names_the_file_of_each_claim(capsys, tmp_path):
    assert verify.main(["--list", "--out", str(tmp_path / "no")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == [claim.id for claim in all_claims()]
    for line in lines:
        name, _, file = line.split()[:3]
        assert f'@claim(\n    "{name}",' in (ROOT / file).read_text(encoding="utf-8")
    assert not (tmp_path / "no").exists()


@pytest.mark.parametrize(
    ("argv", "word"),
    [
        (["--only", "L99"], "L99"),
        (["--seed", "-1"], "--seed"),
        (["--json", "/no/such/folder/r.json"], "--json"),
        (["--out", "/proc/iclflow"], "--out"),
        (["--quick", "--full"], "--full"),
        (["--out", ""], "--out"),
        (["--out", __file__], "test_verify.py is a file, not a folder"),
        (["--out", "r", "--json", ""], "--json"),
        (["--loud"], "--loud"),
    ],
)
def test_misuse_is_one_line_and_status_2(argv, word, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert verify.main(argv) == 2
    error = capsys.readouterr().err.strip()
    assert word in error
    assert "\n" not in error
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_failing_claim_gives_status_1(monkeypatch, tmp_path, capsys):
    def wrong(_settings):
        return Evidence([agree("two", 2.0, 2.1, 1e-3, "rounding")])

    def broken(_settings):
        raise ZeroDivisionError("no such thing")

    claims = [
        Claim("X1", "here", "identity", "two is 2.1", "never", wrong),
        Claim("X2", "here", "identity", "it runs", "never", broken),
    ]
    monkeypatch.setattr("claims.all_claims", lambda: claims)
    assert verify.main(["--out", str(tmp_path / "r")]) == 1
    out = capsys.readouterr().out
    assert "X1 fails: two" in out
    assert "ZeroDivisionError" in out
    assert "no such thing" in (tmp_path / "r" / "report.html").read_text(encoding="utf-8")


def test_interrupt_keeps_what_is_finished(monkeypatch, tmp_path, capsys):
    def good(_settings):
        return Evidence([agree("two", 2.0, 2.0, 1e-3, "rounding")])

    def interrupted(_settings):
        raise KeyboardInterrupt

    claims = [
        Claim("X1", "here", "identity", "two is two", "always", good),
        Claim("X2", "here", "identity", "never ends", "always", interrupted),
    ]
    monkeypatch.setattr("claims.all_claims", lambda: claims)
    assert verify.main(["--out", str(tmp_path / "r")]) == 130
    results = json.loads((tmp_path / "r" / "report.json").read_text(encoding="utf-8"))
    assert [r["id"] for r in results] == ["X1"]
    assert "interrupted" in capsys.readouterr().err


def test_an_early_interrupt_leaves_the_last_report(monkeypatch, tmp_path, capsys):
    def interrupted(_settings):
        raise KeyboardInterrupt

    (tmp_path / "report.json").write_text("the last one")
    claims = [Claim("X1", "here", "identity", "never ends", "always", interrupted)]
    monkeypatch.setattr("claims.all_claims", lambda: claims)
    assert verify.main(["--out", str(tmp_path)]) == 130
    assert (tmp_path / "report.json").read_text() == "the last one"


def test_pictures_of_other_runs_are_removed(monkeypatch, tmp_path):
    claims = [
        Claim("X1", "here", "identity", "two", "always", lambda _: Evidence([same("two", 2, 2)]))
    ]
    monkeypatch.setattr("claims.all_claims", lambda: claims)
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "X9.svg").write_text("old")
    assert verify.main(["--out", str(tmp_path)]) == 0
    assert [p.name for p in (tmp_path / "pictures").iterdir()] == ["X1.svg"]


def test_json_has_null_for_what_is_no_number(monkeypatch, tmp_path):
    def missing(_settings):
        return Evidence([agree("height", [1.0, 2.0], [1.0, np.nan], 1e-3, "rounding")])

    claims = [Claim("X1", "here", "identity", "no plateau", "never", missing)]
    monkeypatch.setattr("claims.all_claims", lambda: claims)
    assert verify.main(["--out", str(tmp_path)]) == 1

    def refuse(constant):
        raise AssertionError(constant)

    text = (tmp_path / "report.json").read_text(encoding="utf-8")
    (record,) = json.loads(text, parse_constant=refuse)
    assert record["measured"] is None
    assert record["error"] is None


def test_a_reader_that_leaves_does_not_stop_the_report(tmp_path):
    command = f"{sys.executable} scripts/verify.py --only L3 --out {tmp_path} | true"
    subprocess.run(["bash", "-c", command], cwd=ROOT, check=True, capture_output=True)
    assert (tmp_path / "report.json").is_file()


def test_narrower_when_only_checks_beyond_the_regime_fail():
    inside = agree("inside", 1.0, 1.0, 1e-6, "rounding")
    outside = same("outside", 3, 4, beyond=True)
    assert Evidence([inside, outside]).verdict == "narrower"
    assert Evidence([inside, same("outside", 3, 4)]).verdict == "fails"
    claim = Claim("X", "", "identity", "", "", lambda _: Evidence([inside, outside]))
    record = run_claim(claim, Settings(), controls=True)
    assert record.controls_flip is True
    assert record.decisive.quantity == "outside"


def test_nan_never_holds():
    assert not agree("x", 1.0, np.nan, 1.0, "").holds
    assert not within_noise("x", 1.0, np.nan, 1.0).holds
    assert not shrinks("x", [1.0, 0.1], [1.0, 1.0], [np.nan, 1.0], 1.0, "").holds


def test_shrinks_measures_the_exponent():
    x = np.array([1e-1, 1e-2, 1e-3])
    check = shrinks("x", x, np.ones(3), 1 + 0.3 * x**2, 2.0, "")
    # Rounding of 1 + 3e-7 is 1e-9 of the last error.
    assert check.measured == pytest.approx(2.0, abs=1e-6)
    assert check.holds
    assert not check.control().holds
    assert not shrinks("x", x, np.ones(3), 1 + 0.3 * x, 2.0, "").holds
    grows = shrinks("x", 1 / x, np.ones(3), 1 + 0.3 * x, -1.0, "")
    assert grows.holds


@pytest.mark.parametrize("width", [60, 80, 88, 89, 120, 200])
def test_rows_fit_the_terminal(width):
    statement = "word " * 40
    made = Claim("L21", "derived", "identity", statement, "all", lambda _: Evidence(
        [agree("quantity", 1.0, 1.0, 1e-9, "rounding")]))  # fmt: skip
    lines = terminal_row(run_claim(made, Settings()), width).splitlines()
    assert len(lines) == (2 if width < 89 else 1)
    # The numbers take 65 columns, which no terminal is expected to lack.
    assert max(map(len, lines)) <= max(width, 65)
    assert "word word" in lines[-1]


def test_help_imports_nothing_heavy():
    code = (
        "import sys; sys.path.insert(0, 'scripts'); import verify; verify.main(['--help']);"
        "assert not {'numpy', 'scipy', 'matplotlib', 'sympy'} & set(sys.modules), sys.modules"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "exit status" in done.stdout


def test_all_claims_and_all_controls(tmp_path):
    """What `verify.py --controls` runs, for a seed of its own."""
    assert verify.main(["--controls", "--seed", "12345", "--out", str(tmp_path / "r")]) == 0
