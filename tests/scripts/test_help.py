"""What `--help` says: one look for all commands, examples that are right, exit statuses."""

import re
import shlex

import pytest

import benchmark
import environments
import figures
import photograph
import predict
import replay
import sweep
import train
import verify
import write_docs

SCRIPTS = [benchmark, environments, figures, photograph, predict, replay, sweep, train, verify,
           write_docs]  # fmt: skip
NAMES = {f"{script.__name__}.py": script for script in SCRIPTS}
COMMANDS = [(script,) for script in SCRIPTS]
COMMANDS += [(predict, "linear"), (predict, "softmax"), (sweep, "run"), (sweep, "report")]
each = pytest.mark.parametrize(
    "command", COMMANDS, ids=lambda command: " ".join((command[0].__name__, *command[1:]))
)


def help_of(command, capsys):
    script, *words = command
    assert script.main([*words, "--help"]) == 0
    return capsys.readouterr().out


def all_examples(text):
    """The arguments of each command line in a text, by script."""
    whole = text.replace("\\\n", " ")
    for found in re.finditer(r"^ *python3? scripts/(.*)$", whole, flags=re.M):
        for line in found[1].split("&& python scripts/"):
            # Two spaces or more lead to what the command does.
            name, *words = shlex.split(re.split(r" {2,}(?![ -])", line.strip())[0])
            yield name, words


@each
def test_help_teaches(command, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    text = help_of(command, capsys)
    assert "\nexit status: 0" in text
    assert list(all_examples(text)) or command[1:] == ("run",)  # those of `run` lie one above
    assert max(map(len, text.splitlines())) <= 100
    assert "\033" not in text


@each
def test_examples_are_understood(command, capsys):
    """Parsed as they stand; an unknown option or a wrong value raises."""
    for name, words in all_examples(help_of(command, capsys)):
        if "--help" in words:
            continue
        words = words[: words.index("--")] if "--" in words else words
        script = NAMES[name]
        make = script.parser if hasattr(script, "parser") else script.make_parser
        parser = make(name) if script in (sweep, train) else make()
        assert parser.parse_args(words)


@each
def test_shared_options_look_alike(command, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    text = help_of(command, capsys)
    for option, shown in {"--out": "--out DIR", "--json": "--json FILE", "--seed": "--seed",
                          "--plot": "--plot FILE", "--only": "--only "}.items():  # fmt: skip
        if f"  {option}" in text:
            assert f"  {shown}" in text
    defaults = re.findall(r"\(default([^)]*)", text)
    assert all(default.startswith((" ", ":", "\n")) for default in defaults)
