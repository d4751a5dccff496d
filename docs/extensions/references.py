"""References to what this site does not document itself resolve if the thing is there, and warn if it is not; no public name is left out.

A name of the package leads to where it is documented, under whatever public name, else to its source; one of Python, NumPy or torch to
their documentation where its address follows from the name. Nothing is fetched.
"""

from __future__ import annotations

import builtins
import importlib
import inspect
import sys
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util import logging

SOURCE = "https://github.com/spatial-lstm/spatial-lstm/blob/main/src/"
PYTHON = "https://docs.python.org/3/library/"
NUMPY = "https://numpy.org/doc/stable/reference/generated/"
TORCH = "https://docs.pytorch.org/docs/stable/"
MISSING = object()
logger = logging.getLogger(__name__)


def resolve(app: Sphinx, env: BuildEnvironment, node: pending_xref, child: nodes.TextElement) -> nodes.Node | None:
    """The link, the bare text where there is no page to lead to, or None, which Sphinx warns of."""
    if node.get("refdomain") != "py":
        return None
    found, name = look_up(node)
    if found is MISSING:
        return None
    public = public_names(tuple(env.domains["py"].objects)).get(id(found))  # type: ignore[attr-defined]
    if public:
        page = env.domains["py"].objects[public]  # type: ignore[attr-defined]
        uri = app.builder.get_relative_uri(node["refdoc"], page.docname)
        return nodes.reference("", "", child, internal=True, refuri=f"{uri}#{page.node_id}")
    address = page_of(found, name)
    return nodes.reference("", "", child, internal=False, refuri=address) if address else child


def look_up(node: pending_xref) -> tuple[object, str]:
    """What a reference means, and its name: looked for in the class it stands in, in the module of that, and from the top."""
    target = node["reftarget"].lstrip("~.")
    module = sys.modules.get(node.get("py:module") or "")
    scope = follow(module, (node.get("py:class") or "").split(".")) if node.get("py:class") else module
    for holder in (scope, sys.modules.get(getattr(scope, "__module__", None) or ""), module):
        found = follow(holder, target.split("."))
        if found is not MISSING:
            return found, target
    found = by_full_name(target)
    return (found if found is not MISSING or "." in target else anywhere(target)), target


def anywhere(name: str) -> object:
    """What some module of the package calls so: fields of dataclasses and named tuples come without the module they stand in."""
    modules = (module for key, module in list(sys.modules.items()) if key.startswith("spatial_lstm."))
    return next((vars(module)[name] for module in modules if name in vars(module)), MISSING)


def follow(holder: object, names: list[str]) -> object:
    """A chain of attributes; what a class only annotates counts, and stands for the class."""
    for name in names:
        if not hasattr(holder, name):
            return holder if name in getattr(holder, "__annotations__", {}) else MISSING
        holder = getattr(holder, name)
    return holder


def by_full_name(target: str) -> object:
    """What a full name means."""
    names = target.split(".")
    if len(names) == 1 and hasattr(builtins, target):
        return getattr(builtins, target)
    for length in range(len(names), 0, -1):
        try:
            module = importlib.import_module(".".join(names[:length]))
        except (ImportError, ValueError):
            continue
        return follow(module, names[length:])
    return MISSING


@cache
def public_names(documented: tuple[str, ...]) -> dict[int, str]:
    """Classes, functions and modules that the site documents, by identity."""
    found = {name: by_full_name(name) for name in documented}
    return {id(thing): name for name, thing in found.items() if callable(thing) or isinstance(thing, ModuleType)}


def page_of(found: object, name: str) -> str | None:
    """The page of something documented elsewhere, None where its address cannot be told from its name."""
    module = found.__name__ if isinstance(found, ModuleType) else getattr(found, "__module__", None) or ""
    top = (module or name).partition(".")[0]
    if top == "spatial_lstm":
        return source_of(module)
    if top == "torch":
        return torch_page(found, name)
    if top == "numpy" and name.count(".") == 1:
        return f"{NUMPY}{name}.html"
    if top == "builtins":
        is_error = inspect.isclass(found) and issubclass(found, BaseException)
        page = "exceptions" if is_error else "stdtypes" if inspect.isclass(found) else "functions"
        return f"{PYTHON}{page}.html#{name}"
    return f"{PYTHON}{module}.html#{name}" if top in sys.stdlib_module_names and not top.startswith("_") else None


def torch_page(found: object, name: str) -> str | None:
    """The page of a tensor or of one of the layers."""
    if found is torch.Tensor:
        return f"{TORCH}tensors.html"
    own = name.rpartition(".")[2]
    return f"{TORCH}generated/torch.nn.{own}.html" if found is getattr(torch.nn, own, MISSING) else None


def source_of(module: str) -> str | None:
    """The file of a module of the package."""
    file, package = (getattr(sys.modules.get(name), "__file__", None) for name in (module, "spatial_lstm"))
    return SOURCE + Path(file).relative_to(Path(package).parents[1]).as_posix() if file and package else None


def check_public_names(app: Sphinx, env: BuildEnvironment) -> None:
    """Warn of what a documented module offers by its ``__all__`` and the site does not show."""
    domain: Any = env.domains["py"]
    for name, module in domain.modules.items():
        for public in getattr(sys.modules.get(name), "__all__", ()):
            is_module = isinstance(getattr(sys.modules[name], public), ModuleType)
            if f"{name}.{public}" not in domain.objects and not is_module and not public.startswith("__"):
                logger.warning(
                    "expected %s.%s to have a docstring, or a py:data, got neither",
                    name,
                    public,
                    location=module.docname,
                )


def setup(app: Sphinx) -> dict[str, Any]:
    """Come last: after what Sphinx finds by itself."""
    app.connect("missing-reference", resolve, priority=900)
    app.connect("env-check-consistency", check_public_names)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
