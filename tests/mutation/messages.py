"""Which changes alter only what an error message says.

Silent are the arguments of a raised exception, and every argument whose parameter the called
function uses for messages alone: in what it raises, or passed on to such a parameter. That is found
by reading the functions of the module, of the modules it imports from, and of `_check.py`.
"""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

KEYS = frozenset({"check_and_pack"})  # whose first argument is a dict by names of arguments


@dataclass(frozen=True)
class Speaker:
    """A function's parameters in order, and those that only its messages use."""

    parameters: tuple[str, ...]
    silent: frozenset[str]


Speakers = dict[str, Speaker]


def without_messages(text: str, speakers: Speakers) -> str:
    """A function's or statement's syntax, with all that only messages use left out."""
    return ast.dump(_Silence(speakers).visit(ast.parse(text)))


def speakers_of(path: Path, root: Path) -> Speakers:
    """The functions that a module can call by name, ``_check.positive`` included."""
    return dict(_speakers(path, root))


@functools.cache
def _speakers(path: Path, root: Path) -> tuple[tuple[str, Speaker], ...]:
    if not path.is_file():
        return ()
    tree = ast.parse(path.read_text(encoding="utf-8"))
    known: Speakers = {}
    for name, source, original in _imports(tree, path, root):
        if original == "*":
            known |= {f"{name}.{key}": value for key, value in _speakers(source, root)}
        elif (found := dict(_speakers(source, root)).get(original)) is not None:
            known[name] = found
    own = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    # The greatest set: begin with every parameter, and take out those used for something else.
    for name, node in own.items():
        names = _parameters(node)
        known[name] = Speaker(names, frozenset(names))
    changed = True
    while changed:
        changed = False
        for name, node in own.items():
            before = known[name]
            silent = before.silent - _used(node, _aliased(node, known))
            known[name] = Speaker(before.parameters, silent)
            changed |= silent != before.silent
    return tuple(known.items())


def _imports(tree: ast.Module, path: Path, root: Path) -> Iterator[tuple[str, Path, str]]:
    """(local name, file, name there or ``*`` for a module) of what comes from the project."""
    for node in tree.body:
        if not isinstance(node, ast.ImportFrom):
            continue
        base = root if not node.level else path.parents[node.level - 1]
        folder = base.joinpath(*(node.module or "").split(".")) if node.module else base
        for alias in node.names:
            local = alias.asname or alias.name
            if (folder / f"{alias.name}.py").is_file():
                yield local, folder / f"{alias.name}.py", "*"
            else:
                yield local, folder.with_suffix(".py"), alias.name


def _parameters(node: ast.FunctionDef) -> tuple[str, ...]:
    arguments = node.args
    return tuple(a.arg for a in [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs])


def _used(node: ast.FunctionDef, speakers: Speakers) -> set[str]:
    """The names that a function reads outside of its messages."""
    whole = ast.parse(ast.unparse(ast.Module(node.body, [])))
    silenced = _Silence(speakers).visit(whole)
    return {n.id for n in ast.walk(silenced) if isinstance(n, ast.Name)}


def _aliased(tree: ast.AST, speakers: Speakers) -> Speakers:
    """With the local names of checks: ``sign = _check.positive if … else _check.finite``."""
    found = dict(speakers)
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            value = node.value.body if isinstance(node.value, ast.IfExp) else node.value
            if isinstance(value, ast.Attribute | ast.Name):
                target = speakers.get(ast.unparse(value))
                if target is not None:
                    found[node.targets[0].id] = target
    return found


class _Silence(ast.NodeTransformer):
    def __init__(self, speakers: Speakers) -> None:
        self._speakers = speakers

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        self._speakers = _aliased(node, self._speakers)
        own = self._speakers.get(node.name)
        if own is not None and own.parameters == _parameters(node):
            positional = [*node.args.posonlyargs, *node.args.args]
            for group, defaults in (
                (positional[len(positional) - len(node.args.defaults) :], node.args.defaults),
                (node.args.kwonlyargs, node.args.kw_defaults),
            ):
                for i, argument in enumerate(group):
                    if argument.arg in own.silent and defaults[i] is not None:
                        defaults[i] = ast.Constant("text")
        self.generic_visit(node)
        return node

    def visit_Raise(self, node: ast.Raise) -> ast.AST:
        if isinstance(node.exc, ast.Call):
            node.exc = node.exc.func
        return node

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        name = ast.unparse(node.func) if isinstance(node.func, ast.Name | ast.Attribute) else ""
        if name in KEYS and node.args and isinstance(node.args[0], ast.Dict):
            node.args[0].keys = [ast.Constant("text") for _ in node.args[0].keys]
        speaker = self._speakers.get(name)
        if speaker is None:
            return node
        for i, (parameter, argument) in enumerate(zip(speaker.parameters, node.args, strict=False)):
            if isinstance(argument, ast.Starred):
                break
            if parameter in speaker.silent:
                node.args[i] = ast.Constant("text")
        for keyword in node.keywords:
            if keyword.arg in speaker.silent:
                keyword.value = ast.Constant("text")
        return node
