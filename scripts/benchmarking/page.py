"""RESULTS.md from RESULTS.json: the tables, what we lose and why, and how cost grows."""

from __future__ import annotations

from typing import Any

LEVEL = 0.95  # theirs wins if it takes less than this of our time; nearer is called level

HEADER = (
    "| who | what | core | clock | × ours | compile | error | turns |\n"
    "| --- | --- | --- | --- | --- | --- | --- | --- |"
)
GROWTH = (
    "| work | axis | sizes | core, first to last | exponent | expected | fit |\n"
    "| --- | --- | --- | --- | --- | --- | --- |"
)
METHOD = """\
How it is measured: all entries of a row run in one process, on one thread each of BLAS, XLA and
PyTorch, in turn, round after round; the table has medians over the rounds. *Core* is the time of
the processor, which a busy machine changes less than the *clock*; *× ours* is core time over that
of the row's first entry, so that more than 1 is slower than ours. *Compile* (core time to trace and
compile, once) is not part of the run; ours has none. *Error* is the largest difference from the
row's reference, over the largest number of that: all did the same work where it is within the
tolerance. *Theirs* is an expert's use of the library, float64, same tolerances. A *floor* is a part
of the work that nobody can leave out, or what bounds it."""

FIT = """\
Exponents of core time in the size, by least squares in the logarithms, ± one standard error; *as
expected* allows two of them and 0.1. Calls of fixed cost make a fit flatter, arrays that outgrow a
cache make it steeper."""


def seconds(value: float) -> str:
    """A time in the unit that suits it.

    >>> seconds(1.234e-6), seconds(0.0456), seconds(78.9)
    ('1.23 µs', '45.6 ms', '78.9 s')
    """
    for unit, factor in (("s", 1.0), ("ms", 1e3), ("µs", 1e6)):
        if value * factor >= 1:
            return f"{_three(value * factor)} {unit}"
    return f"{value * 1e9:.3g} ns"


def _three(value: float) -> str:
    """Three digits, without an exponent.

    >>> _three(1234.5), _three(0.01234)
    ('1,230', '0.0123')
    """
    return f"{float(f'{value:.3g}'):,.0f}" if value >= 1000 else f"{value:.3g}"


def markdown(results: dict[str, Any]) -> str:
    """The whole page, from what RESULTS.json holds and nothing else."""
    rows = [row for row in results["rows"] if "entries" in row]
    axes = [row for row in results["rows"] if "entries" not in row]
    parts = ["# Benchmark", _about(results), METHOD]
    if rows:
        parts += ["## Where we lose", _losses(rows), "## Rows"]
        parts += [part for row in rows for part in _row(row)]
    if axes:
        parts += ["## How cost grows", _growth(axes)]
    return "\n\n".join(parts) + "\n"


def _about(results: dict[str, Any]) -> str:
    versions = ", ".join(f"{name} {number}" for name, number in results["versions"].items())
    ceilings = results["ceilings"]
    core, clock = (sum(r["took"][i] for r in results["rows"] if "took" in r) for i in (0, 1))
    return (
        f"Written by `{results['command']}` ({results['date']}"
        f"{', quick: sizes too small to conclude from' if results['quick'] else ''}), with the "
        f"numbers in RESULTS.json. {results['machine']}. {versions}. Ceilings of one core, "
        f"measured in the run: product of matrices {ceilings['gemm'] / 1e9:.1f} Gflop/s, copy "
        f"{ceilings['copy'] / 1e9:.1f} GB/s read and written. The run took {core / 60:.0f} minutes "
        f"of one core, and {clock / 60:.0f} on the clock"
        f"{' of a machine that others used as well' if clock > 1.3 * core else ''}."
    )


def losses(rows: list[dict[str, Any]]) -> list[tuple[dict[str, Any], list[dict[str, Any]]]]:
    """Rows in which theirs takes less than ours, with those entries."""
    found = []
    for row in rows:
        faster = [e for e in row["entries"] if e["kind"] == "theirs" and e["over_ours"] < LEVEL]
        if faster:
            found.append((row, faster))
    return found


def _losses(rows: list[dict[str, Any]]) -> str:
    """How often we lose, and under each reason in which rows, by how much and to whom."""
    reasons: dict[str, dict[str, list[str]]] = {}
    for row, faster in losses(rows):
        for entry in faster:
            wrong = ", beyond the tolerance" if entry["agrees"] is False else ""
            under = reasons.setdefault(entry["why"] or "no reason is known", {})
            text = f"{entry['label']} ({entry['over_ours']:.2g} × ours{wrong})"
            under.setdefault(row["name"], []).append(text)
    count = sum(any(e["kind"] == "theirs" for e in row["entries"]) for row in rows)
    once = lost_once(rows)
    lines = [
        f"Theirs takes less than {LEVEL} of our core time in {len(losses(rows))} of the {count} "
        f"rows that have theirs; in {len(once)} if it is charged its compilation, once"
        + (f": {', '.join(f'`{name}`' for name in once)}." if once else "."),
        "",
    ]
    for why, where in reasons.items():
        lines.append(f"- {why[0].upper()}{why[1:]}:")
        lines += [f"  - `{name}`: {'; '.join(who)}" for name, who in where.items()]
    return "\n".join(lines).rstrip()


def lost_once(rows: list[dict[str, Any]]) -> list[str]:
    """Rows in which theirs takes less than ours with its compilation counted.

    What a row before compiled is charged what that took: labels alike up to the second comma.
    """
    known: dict[tuple[str, ...], float] = {}
    names = []
    for row in rows:
        ours = row["entries"][0]["core"]
        for entry in row["entries"]:
            function = tuple(entry["label"].split(",")[:2])
            if entry["compile"] is not None:
                known.setdefault(function, entry["compile"])
            once = entry["core"] + (entry["compile"] or known.get(function, 0.0))
            if entry["kind"] == "theirs" and once < LEVEL * ours and row["name"] not in names:
                names.append(row["name"])
    return names


def _row(row: dict[str, Any]) -> list[str]:
    """Title, work, table and what was left out."""
    work = f"{row['work']}."
    if work[0].isascii():  # λ stays λ: Λ is another thing
        work = work[0].upper() + work[1:]
    if any(entry["error"] is not None for entry in row["entries"]):
        work += f" Tolerance {row['tolerance']:.0e}: {row['argument']}."
    lines = [HEADER, *(_entry(entry) for entry in row["entries"])]
    parts = [f"### {row['title']}", f"`{row['name']}`. {work}", "\n".join(lines)]
    notes = [f"- {e['label']}: {e['note']}." for e in row["entries"] if e["note"]]
    notes += [f"- Not run: {e['label']}: {e['reason']}." for e in row["skipped"]]
    return [*parts, "\n".join(notes)] if notes else parts


def _entry(entry: dict[str, Any]) -> str:
    cells = [
        entry["kind"],
        entry["label"],
        seconds(entry["core"]),
        seconds(entry["clock"]),
        _three(entry["over_ours"]),
        "" if entry["compile"] is None else seconds(entry["compile"]),
        "" if entry["error"] is None else f"{entry['error']:.0e}",
        str(entry["turns"]),
    ]
    if entry["agrees"] is False:
        cells[6] += " **differs**"
    return "| " + " | ".join(cells) + " |"


def _growth(axes: list[dict[str, Any]]) -> str:
    """One line an axis: the fitted exponent with its standard error, and the expected one."""
    lines = [GROWTH]
    for axis in axes:
        name = axis["title"] if axis["kind"] == "ours" else f"{axis['title']} (theirs)"
        if "skipped" in axis:
            lines.append(
                f"| {name} | {axis['axis']} | {axis['skipped']} | | | {axis['reason']} | |"
            )
            continue
        sizes, core = axis["sizes"], axis["core"]
        shown = ", ".join(f"{size:,.0f}" for size in sizes)
        fit = f"{axis['exponent']:.2f} ± {axis['standard_error']:.2f}"
        span = f"{seconds(core[0])} to {seconds(core[-1])}"
        cells = [name, axis["axis"], shown, span, fit, axis["reason"], met(axis)]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join([FIT, "", *lines])


def met(axis: dict[str, Any]) -> str:
    """Whether the fitted exponent is the expected one, within two standard errors and 0.1."""
    low, high = axis["expected"]
    slack = 2 * axis["standard_error"] + 0.1
    if axis["exponent"] < low - slack:
        return "flatter"
    return "steeper" if axis["exponent"] > high + slack else "as expected"
