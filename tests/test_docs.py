"""The pages: generated parts are current, links lead somewhere, code runs, formulas render."""

import doctest
import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import sympy as sp

import analytic
import numerics
import write_docs
from claims import all_claims
from documents import page, pictures, verdicts
from drawing import CATALOGUE

ROOT = Path(write_docs.ROOT)
sys.path.insert(0, str(ROOT / "docs" / "examples"))

import diagonal  # noqa: E402 - lies beside the page that explains it
from test_diagonal import (  # noqa: E402, F401 - collected here, as the example is not on the path
    test_claim_holds_and_every_control_flips,
    test_gradient_is_the_complex_step_of_the_loss,
    test_optimum_solves_the_differentiated_loss,
    test_second_derivative_is_the_complex_step_of_the_first,
)

PAGES = write_docs.pages()
by_page = pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)


def text_of(path):
    return path.read_text(encoding="utf-8")


def prose(text):
    """The page without its blocks of code and code spans."""
    return re.sub(r"`[^`\n]+`", "", re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S))


def slug(heading):
    """The anchor that a code host gives a heading."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


@by_page
def test_generated_parts_are_current(path):
    printed = f"Formulas printed by SymPy {sp.__version__}."
    if printed not in text_of(ROOT / "docs" / "README.md"):
        pytest.skip(f"the pages were written with another SymPy than {sp.__version__}")
    assert write_docs.updated(path) == text_of(path), "run python scripts/write_docs.py"


def test_tables_have_every_claim_as_it_is_stated():
    findings, readme = text_of(ROOT / "docs" / "findings.md"), text_of(ROOT / "README.md")
    for claim in all_claims():
        row = f"| {claim.id} | {page.markdown_text(claim.statement)} | "
        hint = "run scripts/verify.py, then scripts/write_docs.py --report report"
        assert row in findings, hint
        assert row in readme, hint


@by_page
def test_links_and_pictures_lead_somewhere(path):
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(text_of(path))):
        if target.startswith("http"):
            continue
        file, _, anchor = target.partition("#")
        where = (path.parent / file).resolve() if file else path
        assert where.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.*)$", prose(text_of(where)), flags=re.M)
            assert anchor in [slug(heading) for heading in headings], target


def results_table():
    """The cells of `Where a result lives`, row by row, each row under the names of the columns."""
    section = text_of(ROOT / "docs" / "README.md").split("## Where a result lives\n")[1]
    lines = re.findall(r"^\|(.*)\|$", section.split("\n## ")[0], flags=re.M)
    head, _, *rows = [[cell.strip() for cell in line.split("|")] for line in lines]
    return [dict(zip(map(plain, head), row, strict=True)) for row in rows]


def plain(cell):
    """A cell of a head without its link."""
    return re.sub(r"\[(.*?)\]\(.*?\)", r"\1", cell)


def spans(cell):
    return re.findall(r"`([^`]+)`", cell)


def claims_of(cell):
    """The claims of a cell: L4 to L7 or L13, B5."""
    for part in cell.split(", "):
        first, _, last = part.partition(" to ")
        numbers = range(int(first[1:]), int((last or first)[1:]) + 1)
        yield from (f"{first[0]}{number}" for number in numbers)


def exists(package, name):
    """Whether a name is public in a package, or in a module of it: softmax.limit_weights."""
    module, _, public = name.rpartition(".")
    return public in getattr(getattr(package, module, None) if module else package, "__all__", ())


@pytest.mark.parametrize("row", results_table(), ids=lambda row: row["result"])
def test_where_a_result_lives(row):
    assert spans(row["closed form"])
    assert spans(row["from the definition"])
    assert [n for n in spans(row["closed form"]) if not exists(analytic, n)] == []
    assert [n for n in spans(row["from the definition"]) if not exists(numerics, n)] == []
    ((name, file),) = re.findall(r"\[`(\w+)`\]\((.*?)\)", row["derivation"])
    assert (ROOT / "docs" / file).is_file()
    assert Path(file).stem == name
    named = list(claims_of(row["claims"]))
    assert named
    assert [n for n in named if n not in {claim.id for claim in all_claims()}] == []
    assert [n for n in spans(row["figure"]) if n not in CATALOGUE] == []


def test_the_table_of_results_can_fail():
    assert len(results_table()) > 5
    assert not exists(analytic, "softmax.limit_wieghts")
    assert not exists(analytic, "softmx.limit_weights")
    assert list(claims_of("L4 to L6, B5")) == ["L4", "L5", "L6", "B5"]


def test_pictures_are_small_and_shown():
    gallery = text_of(ROOT / "docs" / "gallery.md")
    for picture in (ROOT / "docs" / "figures").iterdir():
        assert picture.stat().st_size <= pictures.LIMIT
        assert f"(figures/{picture.name})" in gallery


@by_page
def test_formulas_survive_markdown(path):
    """A backslash before punctuation is eaten before the formula is read, and | ends a cell.

    An inline formula stands on one line, apart from letters and digits.
    """
    text = prose(text_of(path))
    displayed = re.findall(r"^\$\$\n(.*?)\n\$\$$", text, flags=re.M | re.S)
    rest = re.sub(r"^\$\$\n.*?\n\$\$$", "", text, flags=re.M | re.S)
    rest = re.sub(r"<!--.*?-->", "", rest, flags=re.S)
    assert "$$" not in rest
    inline = list(re.finditer(r"(?<!\\)\$([^$]+)\$", rest))
    for formula in [*displayed, *(found[1] for found in inline)]:
        assert not re.search(r"\\[^a-zA-Z\s]", formula), formula
        assert formula.count("{") == formula.count("}"), formula
    for found in inline:
        around = rest[found.start() - 1 : found.start()] + rest[found.end() : found.end() + 1]
        assert "\n" not in found[1], found[0]
        assert found[1] == found[1].strip(), found[0]
        assert not re.search(r"[a-zA-Z0-9]", around), found[0]
        in_table = rest[: found.start()].rpartition("\n")[2].startswith("|")
        assert not (in_table and "|" in found[1]), found[0]


@pytest.mark.parametrize("path", PAGES[1:], ids=lambda path: path.stem)  # README.md is a doctest
def test_sessions_run(path, monkeypatch):
    """All sessions of a page in one namespace; quoted source has its doctests run where it lies."""
    monkeypatch.chdir(ROOT)
    blocks = [part["code"] for part in page.PART.finditer(text_of(path)) if part["code"]]
    sessions = "\n".join(block for block in blocks if ">>>" in block)
    test = doctest.DocTestParser().get_doctest(sessions, {}, path.stem, str(path), 0)
    found = doctest.DocTestRunner().run(test)
    assert found.failed == 0
    assert found.attempted == sessions.count(">>> ")


def test_examples_of_the_example_run():
    found = doctest.testmod(diagonal)
    assert found.attempted > 0
    assert found.failed == 0


def test_the_overlay_of_the_readme_runs_and_fits(tmp_path, monkeypatch):
    """It stands there without prompts, to be copied; a run of ours is the user's."""
    monkeypatch.setenv("MPLBACKEND", "agg")
    from matplotlib import pyplot as plt

    code = text_of(ROOT / "README.md").split("```py\n")[1].split("```")[0]
    assert len([line for line in code.splitlines() if line]) == 10
    model = numerics.SeparateAttention(dimension=4, heads=4)
    task = numerics.LinearTask.from_eigenvalues([0.4, 0.3, 0.2, 0.1], 31)
    moments = numerics.population_moments(task)
    run = numerics.gradient_flow(model, moments, model.initial_weights(0.02, rng=0), 2e4)
    (tmp_path / "training").mkdir()
    curve = np.column_stack([run.t / (2 * 0.18), run.loss])  # as their rate of 0.18 makes steps
    names = {"delimiter": ",", "header": "step,loss", "comments": ""}
    np.savetxt(tmp_path / "training" / "run.csv", curve, **names)
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "README.md", "exec"), {})
    drawn, *lines = plt.gca().lines
    plt.close("all")
    levels = [line.get_ydata()[0] for line in lines if line.get_linestyle() == "--"]
    np.testing.assert_allclose(drawn.get_xdata(), run.t, rtol=1e-12)
    # It has settled long before the end, up to the flow's rtol of 1e-8 and a few multiples of it.
    assert drawn.get_ydata()[-1] == pytest.approx(levels[4], rel=1e-6)
    assert (tmp_path / "overlay.png").stat().st_size > 0


PAGE = """# Title

```python
import sympy as sp
x = sp.Symbol("x")
sp.diff(x**2, x)
```

<!-- generated: value y -->
old
<!-- end -->
"""


def test_a_value_follows_its_block():
    from documents import formulas

    again = page.rebuilt(PAGE, {"value": formulas.value})
    assert "$$\ny = 2 x\n$$" in again
    assert "old" not in again
    assert page.rebuilt(again, {"value": formulas.value}) == again
    assert [kind for kind, *_ in page.sections(again)] == ["value"]


@pytest.mark.parametrize(
    ("old", "new", "word"),
    [
        ("value y", "valeu y", "valeu"),
        ("<!-- end -->", "", "no end"),
        ("sp.diff(x**2, x)", "y = 2", "no value"),
    ],
)
def test_a_page_that_is_wrong_says_so(old, new, word):
    from documents import formulas

    with pytest.raises(ValueError, match=word):
        page.rebuilt(PAGE.replace(old, new), {"value": formulas.value})


def test_markdown_marks_are_escaped():
    assert page.markdown_text("a|b <c> λ_d M*") == r"a\|b &lt;c> λ\_d M\*"


@pytest.mark.parametrize(
    ("argv", "word"),
    [
        (["--report", "/no/such/folder"], "--report"),
        (["--figures", "/no/such/folder"], "--figures"),
        (["--check", "--figures", "figures"], "--figures"),
        (["--loud"], "--loud"),
    ],
)
def test_misuse_is_one_line(argv, word, capsys):
    assert write_docs.main(argv) == 2
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    assert word in line


def test_check_tells_a_stale_page(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(write_docs, "ROOT", tmp_path)
    (tmp_path / "docs").mkdir()
    (tmp_path / "README.md").write_text("nothing generated\n", encoding="utf-8")
    stale = tmp_path / "docs" / "page.md"
    stale.write_text(PAGE, encoding="utf-8")
    assert write_docs.main(["--check"]) == 1
    assert stale.read_text(encoding="utf-8") == PAGE
    assert "page.md is not current" in capsys.readouterr().out
    assert write_docs.main([]) == 0
    assert write_docs.main(["--check"]) == 0


def test_a_report_fills_the_tables(tmp_path):
    check = {"quantity": "a|b", "predicted": 1.0, "measured": 1.5, "error": 0.5,
             "tolerance": 0.1, "holds": False, "beyond": True}  # fmt: skip
    record = {"id": "L1", "statement": "s", "regime": "r", "verdict": "narrower", "note": "n"}
    both = json.dumps([{**record, **check, "checks": [check]}])
    (tmp_path / "report.json").write_text(both, encoding="utf-8")
    (tmp_path / "report.md").write_text("- run: full\n- seed: 3\n", encoding="utf-8")
    report = verdicts.Report(tmp_path)
    assert "verify.py --full --seed 3" in report.origin()
    assert "| L1 | s | **narrower** | 1 | 1.5 | 5.0e-01 | 1.0e-01 |" in report.table("L")
    assert "L1" not in report.table("S")
    assert r"| a\|b | 1 | 1.5 | 5.0e-01 | 1.0e-01 | fails beyond the regime |" in report.checks(
        "L1"
    )
