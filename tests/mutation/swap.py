"""Put a mutant in the place of its function, in a process that has imported everything.

A function keeps its identity and gets another ``__code__``: whoever has imported it, under whatever
decorators, runs the mutant. A changed constant is bound again wherever its old value is bound under
the same name, and the module's constants that are computed from what changed are computed again.
"""

from __future__ import annotations
import __future__

import ast
import functools
import gc
import sys
import textwrap
from collections.abc import Callable
from types import CodeType, FunctionType, ModuleType
from typing import Any

OURS = frozenset({"analytic", "numerics", "gpu", "tests", "precision"})


def code_of(text: str, function: str, filename: str = "<mutant>") -> CodeType:
    """Compile a function's text, undecorated and from column 0, to the code object it runs."""
    *owner, name = function.split(".")
    if owner:
        # Below a class, so that `super()` has its cell.
        text = f"class {owner[0]}:\n{textwrap.indent(text, '    ')}"
    flags = __future__.annotations.compiler_flag
    code = compile(text, filename, "exec", flags=flags, dont_inherit=True)
    for part in (*owner, name):
        code = next(c for c in code.co_consts if isinstance(c, CodeType) and c.co_name == part)
    return code


def function_in(module: ModuleType, function: str) -> FunctionType:
    """The plain function below properties, caches and guards."""
    found: Any = module
    for part in function.split("."):
        found = vars(found)[part]
    while not isinstance(found, FunctionType) or hasattr(found, "__wrapped__"):
        for attribute in ("fget", "func", "__func__", "__wrapped__"):
            if getattr(found, attribute, None) is not None:
                found = getattr(found, attribute)
                break
        else:
            raise LookupError(f"{module.__name__}.{function} is not a function")
    return found


def put(module: ModuleType, function: str, text: str) -> None:
    """Replace a function's code and defaults, and forget what it has answered."""
    target = function_in(module, function)
    target.__code__ = code_of(text, function, target.__code__.co_filename)
    node = ast.parse(text).body[0]
    assert isinstance(node, ast.FunctionDef)
    scope = vars(module)
    target.__defaults__ = tuple(_value(d, scope) for d in node.args.defaults) or None
    pairs = zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True)
    keywords = {a.arg: _value(d, scope) for a, d in pairs if d is not None}
    target.__kwdefaults__ = keywords or None
    forget()


def recompute(module: ModuleType, function: str) -> None:
    """Compute again the module's constants that are made with a function, or with its class."""
    _recompute(module, {function.split(".")[0]}, exactly=False)


def put_statement(module: ModuleType, text: str) -> None:
    """Run a changed assignment of the module, and what is computed from it."""
    forget()
    _recompute(module, _run(module, text), exactly=True)


@functools.cache
def _caches() -> list[Any]:
    """The cached functions, of this project alone: SymPy's caches are worth their warmth."""
    found = [o for o in gc.get_objects() if isinstance(o, functools._lru_cache_wrapper)]
    return [o for o in found if o.__module__.split(".")[0] in OURS and o is not _caches]


def forget() -> None:
    """Empty the caches of functions."""
    for cached in _caches():
        cached.cache_clear()


def recorder(text: str, function: str, note: Callable[[str], None]) -> str:
    """The function's text with a first statement that notes its name; `note` is a builtin."""
    node = ast.parse(text).body[0]
    assert isinstance(node, ast.FunctionDef)
    call = ast.parse(f"{note.__name__}({function!r})").body
    node.body = call + node.body
    return ast.unparse(ast.fix_missing_locations(node))


def _value(node: ast.expr, scope: dict[str, Any]) -> Any:
    return eval(compile(ast.Expression(node), "<default>", "eval"), scope)


def _run(module: ModuleType, text: str) -> set[str]:
    """Execute an assignment and bind its names again; return those that changed."""
    scope = vars(module)
    bound: dict[str, Any] = {}
    exec(compile(text, "<constant>", "exec", flags=__future__.annotations.compiler_flag),
         scope, bound)  # fmt: skip
    bound.pop("__annotations__", None)
    for name, value in bound.items():
        old = scope[name]
        for other in list(sys.modules.values()):
            names = getattr(other, "__dict__", {})
            if name in names and names[name] is old:
                names[name] = value
    return set(bound)


def _recompute(module: ModuleType, changed: set[str], *, exactly: bool) -> None:
    """Compute the module's later constants again where they use what changed, by a call or not."""
    with open(str(module.__file__), encoding="utf-8") as file:
        body = ast.parse(file.read()).body
    for node in body:
        if isinstance(node, ast.FunctionDef):
            # A function that uses a changed one is changed, if constants are made with it.
            if uses(node, changed):
                changed = changed | {node.name}
        elif isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            calls = any(isinstance(n, ast.Call) for n in ast.walk(node.value))
            if (calls or exactly) and uses(node.value, changed):
                _run(module, ast.unparse(node))


def uses(node: ast.AST, names: set[str]) -> bool:
    """Whether a piece of code mentions one of the names."""
    return any(isinstance(n, ast.Name) and n.id in names for n in ast.walk(node))
