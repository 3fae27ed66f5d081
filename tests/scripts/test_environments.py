"""The command's own logic: floors, copies, command lines, statuses and misuse; installs nothing."""

import doctest
import json
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

import pytest

import console
import environments
from installing import fresh, source, wheel

ROOT = source.ROOT
PROJECT = source.Project("thing", "1.2", "3.11", ("numpy>=2.0",), {"test": ("pytest>=8.2",)})
needs_git = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")


class Recorder(fresh.Environment):
    """An environment that installs nothing, and remembers what it was asked for."""

    log: list = []  # noqa: RUF012 - emptied for each test
    status = 0

    @classmethod
    def made(cls, python, folder):
        cls.log.append(("made", python))
        return cls(folder)

    def install(self, *what):
        self.log.append(("install", *what))

    def versions(self, names):
        return {"Python": "3.11.0", **dict.fromkeys(names, "1")}

    def behind(self, names):
        return {}

    def tests(self, folder, *arguments):
        self.log.append(("tests", folder, *arguments))
        return self.status


@pytest.fixture
def recorded(monkeypatch):
    """Run the command with nothing installed and the copy left small; return what it did."""
    monkeypatch.setattr(Recorder, "log", [])
    monkeypatch.setattr(environments, "Environment", Recorder)

    def copied(options, target):
        target.mkdir()
        shutil.copy(ROOT / "pyproject.toml", target)
        return ["pyproject.toml"]

    monkeypatch.setattr(environments, "copied", copied)
    return Recorder


def called(recorder, kind):
    """The one call of a kind."""
    (found,) = [entry[1:] for entry in recorder.log if entry[0] == kind]
    return found


# What pyproject.toml states


def test_every_requirement_has_a_floor_that_is_pinned():
    stated = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    project = source.project()
    lines = [*stated["dependencies"], *stated["optional-dependencies"]["test"]]
    pins = source.floors(project.requirements(["test"]))
    assert len(pins) == len(lines)
    for line, pin in zip(lines, pins, strict=True):
        name, _, version = line.partition(">=")
        assert pin == f"{name}=={version}.*"
    assert f">={project.python}" == stated["requires-python"]


@pytest.mark.parametrize("line", ["numpy", "numpy<3", "numpy>=2,<3", "numpy==2.0", "numpy>=2.0rc1"])
def test_a_requirement_without_a_plain_floor_is_refused(line):
    with pytest.raises(console.InputError, match="states no floor"):
        source.floors([line])


def test_names_are_what_stands_before_the_version():
    lines = ["numpy>=2.0", "jax[cpu]>=0.4", "types-tqdm", "a.b~=1"]
    assert source.names(lines) == ["numpy", "jax", "types-tqdm", "a.b"]


# The copy


@pytest.fixture
def clone(tmp_path):
    """A repository with a committed, a changed, a deleted, a new and an ignored file."""
    root = tmp_path / "clone"
    (root / "deep").mkdir(parents=True)
    for name in ("kept", "deep/changed", "deleted"):
        (root / name).write_text("old")
    (root / ".gitignore").write_text("ignored\n")
    who = ["-c", "user.name=a", "-c", "user.email=a@b"]
    for command in (["init", "-q"], ["add", "-A"], [*who, "commit", "-qm", "first"]):
        subprocess.run(["git", "-C", root, *command], check=True)
    (root / "deep/changed").write_text("new")
    (root / "deleted").unlink()
    for name in ("added", "ignored"):
        (root / name).write_text("new")
    return root


@needs_git
def test_copies_hold_what_git_has(clone, tmp_path):
    tree = source.copy_of_tree(clone, tmp_path / "tree")
    assert tree == [".gitignore", "deep/changed", "kept"]
    assert (tmp_path / "tree/deep/changed").read_text() == "new"
    more = source.copy_of_tree(clone, tmp_path / "more", untracked=True)
    assert set(more) == {*tree, "added"}
    assert set(source.copy_of_head(clone, tmp_path / "head")) == {*tree, "deleted"}
    assert (tmp_path / "head/deep/changed").read_text() == "old"


@needs_git
def test_a_folder_without_git_is_refused(tmp_path):
    with pytest.raises(console.InputError, match="needs a clone"):
        source.copy_of_tree(tmp_path, tmp_path / "copy")


# Command lines


def test_floor_pins_all_and_passes_arguments_on(recorded, capsys):
    argv = ["floor", "--python", sys.executable, "--", "-k", "plateau", "--keep"]
    assert environments.main(argv) == 0
    install = called(recorded, "install")
    assert install[0] == "-e"
    assert install[1].endswith("source[test]")
    project = source.project()
    assert list(install[2:]) == source.floors(project.requirements(["test"]))
    place, *arguments = called(recorded, "tests")
    assert arguments == ["-k", "plateau", "--keep"]
    assert not place.is_relative_to(ROOT)
    assert not place.exists()  # --keep was pytest's
    out = capsys.readouterr().out
    assert "numpy 1" in out
    assert "passed     floor" in out


def test_newest_pins_nothing_and_takes_extras(recorded):
    assert environments.main(["newest", "--with", "torch,dask"]) == 0
    _, where, upgrade, *packages = called(recorded, "install")
    assert where.endswith("[test,torch,dask]")
    assert upgrade == "--upgrade"
    assert {"numpy", "pytest", "torch", "distributed"} <= set(packages)
    assert called(recorded, "made") == (sys.executable,)


def test_a_failure_is_status_1_and_keep_keeps(recorded, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(recorded, "status", 1)
    assert environments.main(["newest", "--keep"]) == 1
    (kept,) = tmp_path.iterdir()
    assert (kept / "source" / "pyproject.toml").is_file()
    out = capsys.readouterr().out
    assert str(kept) in out
    assert "failed     newest" in out
    assert environments.main(["newest"]) == 1
    assert list(tmp_path.iterdir()) == [kept]


@pytest.mark.parametrize(
    ("argv", "word"),
    [
        ([], "environment"),
        (["oldest"], "oldest"),
        (["floor", "--loud"], "--loud"),
        (["floor", "--head", "--untracked"], "--untracked"),
        (["newest", "--with", "tensorflow"], "tensorflow"),
        (["wheel", "--with", "torch"], "--with"),
        (["floor", "--python", "python0.1"], "python0.1"),
        (["floor", "--python", "/"], "/"),
        (["floor", "--python", "false"], "false"),
    ],
)
def test_misuse_is_one_line(argv, word, recorded, capsys):
    assert environments.main(argv) == 2
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    assert word in line
    assert not recorded.log


def test_the_folder_must_lie_outside_the_clone(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with (
        pytest.raises(console.InputError, match="outside"),
        fresh.workplace("floor", tmp_path, keep=False),
    ):
        pass
    assert not list(tmp_path.iterdir())


def test_the_floor_wants_the_oldest_python():
    here = ".".join(str(part) for part in sys.version_info[:2])
    assert fresh.interpreter(None, here, at_floor=True) == sys.executable
    assert fresh.interpreter(None, "3.0", at_floor=False) == sys.executable
    with pytest.raises(console.InputError, match=r"no python3\.999 on PATH"):
        fresh.interpreter(None, "3.999", at_floor=True)
    with pytest.raises(console.InputError, match=r"3\.999 or newer"):
        fresh.interpreter(sys.executable, "3.999", at_floor=False)


def test_settings_of_this_environment_stay_here():
    outside = {"PYTHONPATH": "x", "PYTHONWARNINGS": "ignore", "VIRTUAL_ENV": "y", "PATH": "z"}
    inside = fresh.clean_environment(outside)
    assert not {"PYTHONPATH", "PYTHONWARNINGS", "VIRTUAL_ENV"} & set(inside)
    assert inside["PATH"] == "z"
    assert inside["PYTHONNOUSERSITE"] == "1"


def test_a_program_that_fails_shows_why(tmp_path, capsys):
    code = "import sys; print('so it is'); print('because', file=sys.stderr); sys.exit(3)"
    with pytest.raises(fresh.StepError, match="status 3"):
        fresh.quietly([sys.executable, "-c", code], tmp_path)
    err = capsys.readouterr().err
    assert "so it is" in err
    assert "because" in err


@pytest.mark.parametrize(("raised", "status"), [(0, 0), (1, 1), (2, 1), (4, 2), (5, 1)])
def test_statuses_of_pytest(raised, status, tmp_path, monkeypatch):
    environment = fresh.Environment(tmp_path)
    done = subprocess.CompletedProcess([], raised)
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: done)
    assert environment.tests(tmp_path) == status


# What archives and installations must hold

WHEEL = [*(f"{name}/py.typed" for name in wheel.PACKAGES), "iclflow_properties/__init__.py",
         "thing-1.2.dist-info/METADATA"]  # fmt: skip


def test_a_wheel_holds_our_packages_alone():
    assert wheel.wheel_problems(WHEEL) == []
    assert "tests" in wheel.wheel_problems([*WHEEL, "tests/test_a.py"])[0]
    assert "gpu/py.typed" in wheel.wheel_problems([*WHEEL[:1], *WHEEL[2:], "gpu/__init__.py"])[0]
    assert "iclflow_properties" in wheel.wheel_problems([*WHEEL[:3], WHEEL[-1]])[0]


def test_an_installation_is_what_was_built():
    folders = {name: f"/env/lib/{name}" for name in wheel.PACKAGES}
    good = {"prefix": "/env", "version": "1.2", "folders": folders, "typed": list(folders),
            "metadata": list(wheel.METADATA), "needless": []}  # fmt: skip
    assert wheel.installed_problems(good, PROJECT) == []
    for change, word in [
        ({"version": "1.1"}, "1.1"),
        ({"folders": {"analytic": str(ROOT / "analytic")}}, "not from the environment"),
        ({"typed": ["analytic", "gpu"]}, "numerics"),
        ({"needless": ["hypothesis"]}, "hypothesis"),
        ({"metadata": wheel.METADATA[1:]}, wheel.METADATA[0]),
    ]:
        (problem,) = wheel.installed_problems(good | change, PROJECT)
        assert word in problem


def test_facts_are_those_of_the_interpreter():
    """The code that is run in the environment, in this one: the clone's, so not from a wheel."""
    command = [sys.executable, "-c", wheel.FACTS, "pytest", "analytic"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    facts = json.loads(done.stdout)
    assert facts["version"] == pytest.__version__
    assert facts["typed"] == ["analytic"]
    assert Path(facts["folders"]["analytic"]) == ROOT / "analytic"
    assert facts["needless"] == []


@pytest.mark.parametrize("module", [fresh, source, wheel])
def test_examples_run(module):
    found = doctest.testmod(module)
    assert found.attempted > 0
    assert found.failed == 0


def test_a_warning_of_the_build_is_found():
    said = "copying a\nSetuptoolsDeprecationWarning: old table\nwarning: no previously-included x\n"
    assert wheel.WARNING.findall(said) == ["SetuptoolsDeprecationWarning: old table"]
