"""Mutants of a module, made by mutmut's operators.

mutmut leaves decorated functions out, because its trampolines copy a decorator's effects. Here a
mutant is a new body for the function below its decorators, so these are taken off the text first.
What cannot change a result is not a mutant: a change of a message alone (below), or one that
compiles to the same code, every negative length in a `reshape` being -1.
"""

from __future__ import annotations

import ast
import hashlib
import json
import textwrap
from collections import Counter
from collections.abc import Iterator
from dataclasses import astuple, dataclass
from importlib.metadata import version
from pathlib import Path
from types import CodeType
from typing import TYPE_CHECKING, Any

from numerics.files import written_atomically
from tests.mutation import messages, scope
from tests.mutation.messages import speakers_of, without_messages
from tests.mutation.swap import code_of

if TYPE_CHECKING:
    import libcst

MODULE_LEVEL = "<module>"


@dataclass(frozen=True)
class Mutant:
    """One changed function, or one changed statement of the module.

    Attributes
    ----------
    module : str
        Path below the root.
    function : str
        Qualified name, or ``<module>``.
    line : int
        Where the change begins in the module.
    before, after : str
        The lines that change; with `at`, the how-manyth of the same change in the function, they
        name the mutant wherever the function stands.
    text : str
        The whole changed function or statement.
    """

    module: str
    function: str
    line: int
    before: str
    after: str
    at: int
    text: str

    @property
    def name(self) -> tuple[str, str, str, int]:
        """What identifies a mutant within its module."""
        return self.function, self.before, self.after, self.at

    @property
    def key(self) -> str:
        """A digest of the changed text."""
        return hashlib.sha256(f"{self.function}\0{self.text}".encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Made:
    """The mutants of a module, and how many changes are none."""

    mutants: tuple[Mutant, ...]
    messages: int
    same_code: int


def undecorated(source: str) -> str:
    """The source with its functions' decorators blanked, line numbers kept."""
    lines = source.split("\n")
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef):
            for decorator in node.decorator_list:
                for number in range(decorator.lineno - 1, decorator.end_lineno or 0):
                    lines[number] = ""
    return "\n".join(lines)


def make(module: str, root: Path | None = None, cache: Path | None = None) -> Made:
    """Every mutant of a module's functions, and of the statements that define its constants.

    With a `cache` folder, those of a source that has been seen are read from there.
    """
    root = root or scope.ROOT
    source = (root / module).read_text(encoding="utf-8")
    if cache is None:
        return _make(module, source, root)
    maker = "".join(Path(f).read_text(encoding="utf-8") for f in (__file__, messages.__file__))
    parts = version("mutmut"), maker, module, source
    digest = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]
    path = cache / f"mutants.{digest}.json"
    if path.exists():
        stored = json.loads(path.read_text(encoding="utf-8"))
        return Made(tuple(Mutant(*m) for m in stored[0]), *stored[1:])
    made = _make(module, source, root)
    cache.mkdir(parents=True, exist_ok=True)
    with written_atomically(path) as temporary:
        plain = [astuple(m) for m in made.mutants]
        temporary.write_text(json.dumps([plain, made.messages, made.same_code]), encoding="utf-8")
    return made


def _make(module: str, source: str, root: Path) -> Made:
    import libcst
    from libcst.metadata import MetadataWrapper, PositionProvider
    from mutmut.mutation.file_mutation import MutationVisitor
    from mutmut.mutation.mutators import mutation_operators
    from mutmut.mutation.pragma_handling import IgnoredCode

    source = undecorated(source)
    wrapper = MetadataWrapper(libcst.parse_module(source))
    visitor = MutationVisitor(mutation_operators, IgnoredCode(set(), set(), set()))
    tree = wrapper.visit(visitor)
    positions = wrapper.resolve(PositionProvider)
    homes = dict(_homes(wrapper.module))
    speakers = speakers_of(root / module, root)
    found: dict[tuple[str, str], Mutant] = {}
    seen: Counter[tuple[str, str, str]] = Counter()
    silent = same = 0
    for change in visitor.mutations:
        home = homes.get(change.original_node)
        if home is None:
            continue
        statement, function = home
        old = _text(tree, statement)
        new = _text(tree, statement.deep_replace(change.original_node, change.mutated_node))
        if (function, new) in found:
            continue
        if without_messages(new, speakers) == without_messages(old, speakers):
            silent += 1
            continue
        if _meaning(new, function) == _meaning(old, function):
            same += 1
            continue
        before, after = _difference(old, new)
        seen[function, before, after] += 1
        line = positions[change.original_node].start.line
        at = seen[function, before, after]
        found[function, new] = Mutant(module, function, line, before, after, at, new)
    return Made(tuple(found.values()), silent, same)


def _homes(tree: libcst.Module) -> Iterator[tuple[Any, tuple[Any, str]]]:
    """Each node's function or module-level assignment, with its qualified name."""
    import libcst

    for statement in tree.body:
        if isinstance(statement, libcst.FunctionDef):
            yield from _below(statement, statement.name.value)
        elif isinstance(statement, libcst.ClassDef):
            for part in statement.body.body:
                if isinstance(part, libcst.FunctionDef):
                    yield from _below(part, f"{statement.name.value}.{part.name.value}")
        elif isinstance(statement, libcst.SimpleStatementLine) and _defines(statement):
            yield from _below(statement, MODULE_LEVEL)


def _below(statement: Any, name: str) -> Iterator[tuple[Any, tuple[Any, str]]]:
    waiting = [statement]
    while waiting:
        node = waiting.pop()
        yield node, (statement, name)
        waiting += node.children


def _defines(statement: libcst.SimpleStatementLine) -> bool:
    """Whether a statement of the module defines a value; not ``__all__`` or a type's name."""
    node = ast.parse(_text(None, statement)).body[0]
    if not isinstance(node, ast.Assign | ast.AnnAssign) or node.value is None:
        return False
    target = node.targets[0] if isinstance(node, ast.Assign) else node.target
    named = isinstance(target, ast.Name) and target.id == "__all__"
    return not named and any(isinstance(n, ast.Constant) for n in ast.walk(node.value))


def _text(_: Any, statement: Any) -> str:
    import libcst

    return libcst.Module([]).code_for_node(statement.with_changes(leading_lines=[]))


def _difference(old: str, new: str) -> tuple[str, str]:
    """The lines that differ, without their common indent."""
    a, b = old.splitlines(), new.splitlines()
    head = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), None)
    head = min(len(a), len(b)) if head is None else head
    tail = 0
    while tail < min(len(a), len(b)) - head and a[-1 - tail] == b[-1 - tail]:
        tail += 1
    before, after = a[head : len(a) - tail], b[head : len(b) - tail]
    return textwrap.dedent("\n".join(before)), textwrap.dedent("\n".join(after))


class _Lengths(ast.NodeTransformer):
    """Write -1 for every negative length in a `reshape`: arrays infer them all alike."""

    def visit_Call(self, node: ast.Call) -> ast.AST:
        if isinstance(node.func, ast.Attribute) and node.func.attr == "reshape":
            tuples = [value.elts for value in node.args if isinstance(value, ast.Tuple)]
            for length in sum(tuples, node.args):
                if isinstance(length, ast.UnaryOp) and isinstance(length.operand, ast.Constant):
                    length.operand = ast.Constant(1)
        return self.generic_visit(node)


def _meaning(text: str, function: str) -> Any:
    """What a function or statement compiles to, its place in the file apart."""
    text = ast.unparse(_Lengths().visit(ast.parse(text)))
    if function == MODULE_LEVEL:
        return ast.dump(ast.parse(text))
    node = ast.parse(text).body[0]
    assert isinstance(node, ast.FunctionDef)
    defaults = [ast.dump(d) for d in [*node.args.defaults, *filter(None, node.args.kw_defaults)]]
    return _plain(code_of(text, function)), defaults


def _plain(value: Any) -> Any:
    if not isinstance(value, CodeType):
        return type(value).__name__, repr(value)
    names = value.co_names, value.co_varnames, value.co_freevars, value.co_cellvars
    constants = tuple(_plain(constant) for constant in value.co_consts)
    return value.co_code, value.co_exceptiontable, names, constants
