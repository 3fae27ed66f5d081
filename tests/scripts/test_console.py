"""What all scripts share: folders that are made, options by name, numbers as text and as JSON."""

import json
import math

import pytest

import console
import results


def test_a_folder_is_made_with_room_for_its_files(tmp_path):
    folder = tmp_path / "some" / "where"
    assert console.make_folder(folder, files=("a.csv",)) == folder
    assert folder.is_dir()
    assert not list(folder.iterdir())  # tried, and nothing left


@pytest.mark.parametrize(
    ("name", "files", "says"),
    [
        (" ", (), "--out: must name a folder, got nothing"),
        ("a.csv", (), "--out: a.csv is a file, not a folder"),
        ("a.csv/deeper", (), "--out: a.csv is a file, not a folder"),
        (".", ("taken",), "taken is a folder"),
    ],
)
def test_what_is_in_the_way_is_named(name, files, says, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.csv").touch()
    (tmp_path / "taken").mkdir()
    with pytest.raises(console.InputError, match=says):
        console.make_folder(name, files=files)


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("none/x.json", "--json: there is no folder none$"),
        ("a.csv/x.json", "--json: a.csv is a file, not a folder$"),
    ],
)
def test_a_file_needs_its_folder(path, says, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.csv").touch()
    with pytest.raises(console.InputError, match=says):
        console.check_writable(path, "--json")


def test_options_by_name():
    assert console.flag("context_length") == "--context-length"


def test_json_has_null_for_what_is_not_finite_and_any_file_name():
    name = b"\xff.csv".decode("utf-8", "surrogateescape")
    content = {"a": [1.5, math.nan, (math.inf, 2)], "file": name, "λ": None}
    text = results.json_text(content)
    assert text.encode().endswith(b"}\n")
    assert json.loads(text) == {"a": [1.5, None, [None, 2]], "file": name, "λ": None}


def test_numbers_and_tables_for_people():
    shown = [results.number(x) for x in (None, math.nan, math.inf, 0.25, 1234567.0)]
    assert shown == ["–", "–", "never", "0.250000", "1.23457e+06"]
    assert results.number(2.0, 1) == "2"
    lines = results.table(["m", "loss"], [["10", "0.5"]]).splitlines()
    assert lines == [" m  loss", "10   0.5"]
    assert results.note("small") == "note: small"
