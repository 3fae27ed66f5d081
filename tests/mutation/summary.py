"""Counts of verdicts, the survivors as text, and the page docs/mutation.md."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import console
from tests.mutation.mutants import Made, Mutant
from tests.mutation.store import Equivalent, Judged, Verdict, equivalents


@dataclass(frozen=True)
class Counts:
    """One module's mutants by what became of them.

    Attributes
    ----------
    killed, timeout : int
        A test failed; or ran more than ten times as long as it does.
    survived : tuple of (Mutant, Verdict)
        Those that no test finds, or that no test reaches, and are not listed as equivalent.
    equivalent : tuple of Equivalent
        Survivors that are listed.
    mistaken : tuple of str
        Entries of the list that name no mutant, or one that a test kills.
    missing : int
        Mutants without a verdict.
    """

    module: str
    made: Made
    killed: int
    timeout: int
    survived: tuple[tuple[Mutant, Verdict], ...]
    equivalent: tuple[Equivalent, ...]
    mistaken: tuple[str, ...]
    missing: int

    @property
    def score(self) -> float:
        """The share of the mutants that are not equivalent which the tests find."""
        total = self.killed + self.timeout + len(self.survived) + self.missing
        return (self.killed + self.timeout) / total if total else 1.0

    def line(self) -> str:
        """All counts on one line."""
        kinds = Counter(verdict.value for _, verdict in self.survived)
        parts = [f"{self.killed} killed", f"{self.timeout} timeout"]
        parts += [
            f"{kinds[kind.value]} {kind.value}" for kind in (Verdict.SURVIVED, Verdict.NO_TESTS)
        ]
        parts.append(f"{len(self.equivalent)} equivalent")
        if self.missing:
            parts.append(f"{self.missing} undecided")
        if self.mistaken:
            parts.append(f"{len(self.mistaken)} wrongly listed")
        return f"{len(self.made.mutants)} mutants: " + ", ".join(parts)


def count(module: str, made: Made, known: Mapping[str, Judged]) -> Counts:
    """Sort a module's mutants by their verdicts and the list of equivalent ones."""
    listed = {entry.name: entry for entry in equivalents(module)}
    names = {mutant.name for mutant in made.mutants}
    mistaken = [f"{entry.function}: no such mutant: {entry.before.strip()!r}"
                for entry in listed.values() if entry.name not in names]  # fmt: skip
    kinds: Counter[Verdict] = Counter()
    survived, same = [], []
    for mutant in made.mutants:
        judged = known.get(mutant.key)
        verdict = Verdict.UNDECIDED if judged is None else judged.verdict
        entry = listed.get(mutant.name)
        if entry is not None and verdict in (Verdict.KILLED, Verdict.TIMEOUT):
            by = judged.killer if judged is not None else ""
            mistaken.append(f"{entry.function}: not equivalent, {by} finds {entry.after.strip()!r}")
        if verdict in (Verdict.SURVIVED, Verdict.NO_TESTS):
            if entry is None:
                survived.append((mutant, verdict))
            else:
                same.append(entry)
        else:
            kinds[verdict] += 1
    return Counts(
        module, made, kinds[Verdict.KILLED], kinds[Verdict.TIMEOUT], tuple(survived), tuple(same),
        tuple(mistaken), kinds[Verdict.UNDECIDED],
    )  # fmt: skip


def show_survivors(counts: Counts) -> None:
    """Print each survivor with its place, in the form in which an equivalent one is listed."""
    for text in counts.mistaken:
        console.say(f"{counts.module}: {text}")
    for mutant, verdict in counts.survived:
        console.say(f"\n# {mutant.module}:{mutant.line} {verdict.value}\n{as_toml(mutant)}")


def as_toml(mutant: Mutant) -> str:
    """An entry for the list of equivalent mutants, without its reason."""
    lines = ["[[equivalent]]", f"function = {_quoted(mutant.function)}",
             f"before = {_quoted(mutant.before)}", f"after = {_quoted(mutant.after)}"]  # fmt: skip
    if mutant.at != 1:
        lines.append(f"at = {mutant.at}")
    return "\n".join([*lines, 'reason = ""'])


def _quoted(text: str) -> str:
    if "'" not in text and "\n" not in text:
        return f"'{text}'"
    if "'''" not in text:
        return f"'''\n{text}'''"
    return json.dumps(text, ensure_ascii=False)


def verdict(counts: Mapping[str, Counts]) -> int:
    """Print the totals; return 0 if nothing is left to do."""
    every = list(counts.values())
    left = sum(len(c.survived) + c.missing + len(c.mistaken) for c in every)
    found = sum(c.killed + c.timeout for c in every)
    equivalent = sum(len(c.equivalent) for c in every)
    console.say(f"{found} of {sum(len(c.made.mutants) for c in every) - equivalent} mutants found, "
                f"{equivalent} more are equivalent; {left} left to see to")  # fmt: skip
    return 1 if left else 0


def page(counts: Mapping[str, Counts], *, earlier: bool = False) -> str:
    """docs/mutation.md; `earlier` verdicts may be older than the tests."""
    every = list(counts.values())
    found = sum(c.killed + c.timeout for c in every)
    alive = sum(len(c.survived) for c in every)
    missing = sum(c.missing for c in every)
    same = sum(len(c.equivalent) for c in every)
    silent = sum(c.made.messages for c in every)
    code = sum(c.made.same_code for c in every)
    rows = [_row(c) for c in every]
    head = _HEAD.format(
        found=found, total=found + alive, share=_percent(found, found + alive), same=same,
        alive=_alive(alive, missing, earlier), silent=silent, code=code,
    )  # fmt: skip
    return "\n".join([head, *rows, "", *_reasons(every)])


def _alive(alive: int, missing: int, earlier: bool) -> str:
    text = f"{alive} survive."
    text += f" {missing} mutants are not judged yet." if missing else ""
    return text + (" Verdicts may be older than the last change of a test." if earlier else "")


def _percent(part: int, whole: int) -> str:
    if part == whole:
        return "100 %"
    return f"{min(100 * part / whole, 99.9):.1f} %"  # never rounded up to all


def _row(c: Counts) -> str:
    found = c.killed + c.timeout
    left = len(c.survived)
    share = _percent(found, found + left) if found + left else "–"
    return (f"| `{c.module}` | {len(c.made.mutants)} | {c.killed} | {c.timeout} | "
            f"{len(c.equivalent)} | {left} | {c.missing} | {share} |")  # fmt: skip


def _reasons(every: list[Counts]) -> list[str]:
    lines = [_EQUIVALENT]
    for c in every:
        if c.equivalent:
            lines += [f"### `{c.module}`", "", "| function | from | to | why the same |"]
            lines += ["| --- | --- | --- | --- |", *map(_entry, c.equivalent), ""]
    return lines


def _entry(e: Equivalent) -> str:
    reason = " ".join(e.reason.split()).replace("|", "\\|")
    return f"| `{e.function}` | {_cell(e.before)} | {_cell(e.after)} | {reason} |"


def _cell(text: str) -> str:
    plain = " ".join(text.split()).replace("|", "\\|")
    return f"`{plain}`" if plain else "(nothing)"


_HEAD = """# Mutation testing

Written by `tests/mutation/run.py --write`; do not edit.

[mutmut](https://mutmut.readthedocs.io) changes one operator, number, argument or assignment of a
function at a time, and the package's ordinary tests run on each changed function. A mutant that no
test notices is a missing test, or computes the same.

**The tests find {found} of {total} mutants ({share}), besides {same} that are listed below as
equivalent. {alive}**

- A mutant is *killed* by a test that fails, and counts as a *timeout* if a test takes more than ten
  times its processor time and three seconds.
- Not counted as mutants: {silent} changes that alter only what an error message says, and {code}
  that compile to the same code, every negative length in a `reshape` being -1. A change is one of
  a message if it lies in what is raised, or in an argument whose parameter the called function
  uses in what it raises alone (`tests/mutation/messages.py` reads that from the source). Messages
  are tested elsewhere: `tests/fuzz` requires each to name the argument.
- Decorators are not mutated, the functions below them are; nor are a class's own statements.
- Mutants of a constant are judged by every test that reaches the module.

| module | mutants | killed | timeout | equivalent | survive | not judged | found |
| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"""

_EQUIVALENT = """## Equivalent mutants

Each computes what the original does, for the reason given. A test that finds one refutes the
reason, and the command says so.
"""
