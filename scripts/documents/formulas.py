"""What SymPy finds, as formulas; and the source that a page quotes."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


def value(left: str, found: Any) -> str:
    """A value as a displayed formula, with the left-hand side that the section names."""
    import sympy as sp

    if found is None:
        raise ValueError(f"the block before “{left}” ends in no value")
    # Markdown eats one backslash of two, so that rows of a matrix would run together.
    text = sp.latex(found).replace(r"\\", r" \cr ")
    return f"$$\n{left + ' = ' if left else ''}{text}\n$$"


def source(arguments: str, _: Any = None) -> str:
    """The source of functions, classes or assignments of a file, named after its path."""
    path, *names = arguments.split()
    text = (ROOT / path).read_text(encoding="utf-8")
    lines, pieces = text.splitlines(), []
    nodes = {name: node for node in ast.parse(text).body for name in _names(node)}
    for name in names:
        if name not in nodes:
            raise ValueError(f"{path} defines no {name}")
        node = nodes[name]
        decorators = getattr(node, "decorator_list", [])
        first = min([node.lineno, *(d.lineno for d in decorators)])
        pieces.append("\n".join(lines[first - 1 : node.end_lineno]))
    return "```python\n" + "\n\n\n".join(pieces) + "\n```"


def _names(node: ast.stmt) -> list[str]:
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return [node.name]
    if isinstance(node, ast.Assign):
        return [target.id for target in node.targets if isinstance(target, ast.Name)]
    return []


def versions(_: str, __: Any = None) -> str:
    """The version of SymPy, whose printer decides how a formula is written."""
    import sympy as sp

    return f"Formulas printed by SymPy {sp.__version__}."
