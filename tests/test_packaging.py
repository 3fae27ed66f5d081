"""What `pyproject.toml`, `MANIFEST.in` and `CITATION.cff` say agrees with what is here."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
TOOL = PYPROJECT["tool"]
CITATION = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")


def folders_of_packages():
    """Dotted names of all folders of code below the packages that are installed."""
    for top in ("analytic", "gpu", "numerics"):
        for file in (ROOT / top).rglob("*.py"):
            yield ".".join(file.parent.relative_to(ROOT).parts)


def test_every_package_is_installed():
    listed = set(TOOL["setuptools"]["packages"])
    mapped = TOOL["setuptools"]["package-dir"]
    assert listed - set(mapped) == set(folders_of_packages()), "packages in pyproject.toml"
    for name, folder in mapped.items():
        assert name in listed
        assert (ROOT / folder / "__init__.py").is_file()


def test_the_property_tests_import_nothing_of_the_repository():
    """They run from a wheel, which has neither `scripts` nor the other tests."""
    for path in (ROOT / "tests" / "properties").glob("*.py"):
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"^\s*(from|import) (tests|scripts|claims|precision)\b", text, re.M)


def test_warnings_are_errors():
    assert TOOL["pytest"]["ini_options"]["filterwarnings"] == ["error"]


def test_every_folder_and_page_is_in_the_sdist():
    manifest = (ROOT / "MANIFEST.in").read_text(encoding="utf-8")
    grafted = set(re.findall(r"^graft (\S+)$", manifest, re.M))
    assert {"benchmarks", "docs", "scripts", "tests"} <= grafted
    for folder in grafted:
        assert (ROOT / folder).is_dir()
    included = re.search(r"^include (.*)$", manifest, re.M)[1].split()
    for name in included:
        assert (ROOT / name).is_file()
    pages = {path.name for path in ROOT.glob("*.md")} - {"README.md"}
    assert pages <= set(included)


@pytest.mark.parametrize("key", ["cff-version", "message", "title", "authors"])
def test_citation_has_what_its_schema_requires(key):
    """The whole schema is checked by `scripts/environments.py wheel`."""
    assert len(re.findall(rf"^{key}:", CITATION, re.M)) == 1
    assert re.search(r"^cff-version: 1\.2\.0$", CITATION, re.M)


def test_one_version_and_date_everywhere():
    log = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    newest, date = re.search(r"^## (\S+) \((\S+)\)$", log, re.M).groups()
    assert newest == PYPROJECT["project"]["version"]
    assert re.search(r"^version: (\S+)$", CITATION, re.M)[1] == newest
    assert re.search(r"^date-released: (\S+)$", CITATION, re.M)[1] == date


def test_citation_has_the_papers_of_the_readme():
    papers = set(re.findall(r"arXiv:(\d{4}\.\d{5})", README))
    assert len(papers) == 2
    for paper in papers:
        assert f"arxiv.org/abs/{paper}" in CITATION
