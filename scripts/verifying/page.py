"""Records as one HTML page that needs nothing beside it."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from verifying.record import Record
from verifying.text import figures_of, number, outcome, short, summary

CSS = """
:root { color-scheme: light; }
body { font: 15px/1.5 system-ui, sans-serif; color: #1b1b1b; background: #fff;
       max-width: 62rem; margin: 2rem auto; padding: 0 1.2rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.1rem; margin: 2.4rem 0 .3rem; }
.lead { color: #444; }
table { border-collapse: collapse; width: 100%; font-size: .86rem; margin: .8rem 0; }
th, td { text-align: left; padding: .3rem .55rem; border-bottom: 1px solid #ddd;
         vertical-align: top; }
th { border-bottom: 2px solid #888; }
td.n { font-variant-numeric: tabular-nums; white-space: nowrap; }
.holds { color: #00664f; } .narrower { color: #8a5a00; } .fails { color: #b00020; }
.verdict { font-weight: 600; white-space: nowrap; }
.wide { overflow-x: auto; }
img { max-width: 100%; width: 34rem; display: block; margin: .6rem 0; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .1rem 1rem; color: #444; }
dd { margin: 0; }
a { color: #0b5394; text-decoration: none; } a:hover { text-decoration: underline; }
"""


def html(records: Sequence[Record], settings: dict[str, str]) -> str:
    """The whole report as one page."""
    rows = "".join(_row(record) for record in records)
    sections = "".join(_section(record) for record in records)
    facts = "".join(f"<dt>{escape(k)}</dt><dd>{escape(v)}</dd>" for k, v in settings.items())
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>iclflow: claims</title><style>{CSS}</style></head><body>
<h1>In-context learning in attention: every claim, checked</h1>
<p class="lead">{escape(summary(records))}.</p>
<dl>{facts}</dl>
<div class="wide"><table><thead><tr><th>id</th><th>statement</th><th>source</th><th>predicted</th>
<th>measured</th><th>error</th><th>tolerance</th><th>verdict</th></tr></thead><tbody>{rows}</tbody></table></div>
<p class="lead">Predicted, measured, error and tolerance are those of the check that comes closest
to failing; below are all.
<em>narrower</em>: the claim holds in the regime given, and a check outside it fails.</p>
{sections}
</body></html>
"""


def _row(r: Record) -> str:
    figures = "".join(f"<td class='n'>{escape(text)}</td>" for text in figures_of(r))
    return (
        f'<tr><td><a href="#{r.id}">{r.id}</a></td><td>{escape(r.statement)}</td>'
        f"<td>{escape(r.source)}</td>{figures}"
        f"<td class='verdict {r.verdict}'>{r.verdict}</td></tr>"
    )


def _section(r: Record) -> str:
    checks = "".join(
        f"<tr><td>{escape(c.quantity)}</td><td class='n'>{escape(number(c.predicted))}</td>"
        f"<td class='n'>{escape(number(c.measured))}</td><td class='n'>{short(c.error)}</td>"
        f"<td class='n'>{short(c.tolerance)}</td><td>{escape(c.because)}</td>"
        f"<td class='{'holds' if c.holds else 'narrower' if c.beyond else 'fails'}'>"
        f"{escape(outcome(c))}</td></tr>"
        for c in r.checks
    )
    note = f"<p>{escape(r.note)}.</p>" if r.note else ""
    picture = (
        f'<img src="{r.picture_as_link()}" alt="Prediction and measurement for {r.id}">'
        if r.picture
        else ""
    )
    return f"""
<h2 id="{r.id}">{r.id} <span class="verdict {r.verdict}">{r.verdict}</span></h2>
<p>{escape(r.statement)}</p>
<dl><dt>source</dt><dd>{escape(r.source)}</dd><dt>kind</dt><dd>{r.kind}</dd>
<dt>regime</dt><dd>{escape(r.regime)}</dd><dt>time</dt><dd>{r.seconds:.1f} s</dd></dl>
{note}{picture}
<div class="wide"><table><thead><tr><th>check</th><th>predicted</th><th>measured</th><th>error</th>
<th>tolerance</th><th>why this tolerance</th><th></th></tr></thead><tbody>{checks}</tbody></table>
</div>"""
