"""What docstrings point to."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
from collections.abc import Iterator
from types import ModuleType

ROLE = re.compile(r":(?:mod|class|func|meth|data|exc|attr):`~?\.?([^`]+)`")
Scope = ModuleType | type


def dangling(module: ModuleType, source: str | None = None) -> list[str]:
    """The targets in a module's docstrings that are not there; ``source`` is the text of one that has no file.

    A name is looked for in the class whose docstring it stands in, in the module, and from the top.
    """
    tree = ast.parse(inspect.getsource(module) if source is None else source)
    return [target for target, scopes in _targets(tree, (module,)) if not _found(target, scopes)]


def _targets(tree: ast.AST, scopes: tuple[Scope, ...]) -> Iterator[tuple[str, tuple[Scope, ...]]]:
    """Every target in strings that stand by themselves, with the scopes around it, the innermost first."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            yield from ((target.partition(" ")[0], scopes) for target in ROLE.findall(node.value.value))
        inner = getattr(scopes[0], node.name, None) if isinstance(node, ast.ClassDef) else None
        yield from _targets(node, (inner, *scopes) if isinstance(inner, type) else scopes)


def _found(target: str, scopes: tuple[Scope, ...]) -> bool:
    return any(_has(scope, target.split(".")) for scope in scopes) or _importable(target)


def _has(holder: object, names: list[str]) -> bool:
    """Whether a chain of attributes is there; what a class only annotates counts."""
    for name in names:
        annotated = name in getattr(holder, "__annotations__", {})
        if not hasattr(holder, name):
            return annotated and name == names[-1]
        holder = getattr(holder, name)
    return True


def _importable(target: str) -> bool:
    names = target.split(".")
    for length in range(len(names), 0, -1):
        try:
            module = importlib.import_module(".".join(names[:length]))
        except ImportError:
            continue
        return _has(module, names[length:])
    return False
