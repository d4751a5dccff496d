"""Which module imports which, read from the source: imports inside functions and under ``TYPE_CHECKING`` count like any other."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

SOURCE = Path(__file__).parents[1] / "src"


def modules(package: Path) -> dict[str, Path]:
    """The files of a package by the names of their modules."""
    found = {}
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imported(module: str, path: Path) -> Iterator[tuple[str, str]]:
    """Each import as (module, name): ``from a.b import c`` is ``("a.b", "c")``, ``import a.b`` is ``("a.b", "")``."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parent = module.split(".") if path.name == "__init__.py" else module.split(".")[:-1]
            start = parent[: len(parent) - node.level + 1] if node.level else []
            base = ".".join([*start, *([node.module] if node.module else [])])
            yield from ((base, alias.name) for alias in node.names)


def graph(package: Path) -> dict[str, set[str]]:
    """The modules of the package that each of them imports; ``from a import b`` means a.b where that is a module, else a."""
    found = modules(package)
    edges: dict[str, set[str]] = {}
    for module, path in found.items():
        wanted = {f"{base}.{name}" if f"{base}.{name}" in found else base for base, name in imported(module, path)}
        edges[module] = (wanted & found.keys()) - {module}
    return edges


def cycle(edges: Mapping[str, set[str]]) -> list[str]:
    """Some modules that import one another in a circle, from one back to itself; empty if there are none."""
    done: set[str] = set()
    path: list[str] = []

    def visit(module: str) -> list[str]:
        if module in path:
            return [*path[path.index(module) :], module]
        if module not in done:
            path.append(module)
            for other in sorted(edges[module]):
                if found := visit(other):
                    return found
            path.pop()
            done.add(module)
        return []

    return next((found for module in edges if (found := visit(module))), [])
