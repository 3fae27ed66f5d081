"""A page as text: blocks of Python that run in order, and sections that a command writes.

A section stands between ``<!-- generated: KIND ARGUMENTS -->`` and ``<!-- end -->``. A block of
Python runs in the namespace of its page, like a cell of a notebook, unless it is a session with
prompts, which is a doctest.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from typing import Any

PART = re.compile(
    r"(?P<open><!-- generated: (?P<kind>\w+) ?(?P<arguments>[^\n]*?) -->\n)(?P<body>.*?)"
    r"(?P<close>^<!-- end -->$)|^```python\n(?P<code>.*?)^```$",
    re.DOTALL | re.MULTILINE,
)

Producer = Callable[[str, Any], str | None]
"""From a section's arguments and the last value of the page to its body; None keeps the old one."""


def rebuilt(text: str, producers: dict[str, Producer], name: str = "page") -> str:
    """The page with its blocks run and its sections written again.

    Raises
    ------
    ValueError
        If a section is of no known kind, or a mark lacks its partner.
    """
    if text.count("<!-- generated: ") != text.count("<!-- end -->"):
        raise ValueError(f"{name}: a generated section has no end, or an end has no section")
    namespace: dict[str, Any] = {"__name__": name}
    value: Any = None
    done, at = [], 0
    for part in PART.finditer(text):
        done.append(text[at : part.start()])
        at = part.end()
        if part["kind"] is None:
            if ">>>" not in part["code"]:
                value = run(part["code"], namespace, name)
            done.append(part[0])
            continue
        if part["kind"] not in producers:
            raise ValueError(f"{name}: no kind of section {part['kind']!r}")
        body = producers[part["kind"]](part["arguments"], value)
        body = part["body"] if body is None else f"\n{body.strip()}\n\n"
        done.append(part["open"] + body + part["close"])
    return "".join(done) + text[at:]


def sections(text: str) -> list[tuple[str, str, str]]:
    """Kind, arguments and body of each generated section."""
    found = [part for part in PART.finditer(text) if part["kind"]]
    return [(part["kind"], part["arguments"], part["body"]) for part in found]


def run(code: str, namespace: dict[str, Any], name: str) -> Any:
    """Run a block; its value is that of its last line, if that is an expression."""
    tree = ast.parse(code, filename=name)
    last = tree.body[-1] if tree.body else None
    if not isinstance(last, ast.Expr):
        exec(compile(tree, name, "exec"), namespace)
        return None
    del tree.body[-1]
    exec(compile(tree, name, "exec"), namespace)
    return eval(compile(ast.Expression(last.value), name, "eval"), namespace)


def markdown_text(text: str) -> str:
    """Plain text with what Markdown would read as a mark escaped, for a cell of a table too."""
    text = text.replace("&", "&amp;").replace("<", "&lt;")
    return re.sub(r"([\\|*_$~`\[\]])", r"\\\1", text)


def capital(text: str) -> str:
    """The text with a capital at its start, unless it starts with a symbol."""
    word = text.split()[0]
    return text[0].upper() + text[1:] if len(word) > 1 and word.isascii() else text
