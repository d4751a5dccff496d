"""Which room may import what, and that what docstrings point to is there."""

from __future__ import annotations

import importlib
import subprocess
import sys
from types import ModuleType

import pytest

import spatial_lstm
from tests.imports import SOURCE, cycle, graph, imported, modules
from tests.references import dangling

PACKAGE = SOURCE / "spatial_lstm"
MODULES = modules(PACKAGE)
ALL = [*MODULES, *modules(SOURCE.parent / "benchmarks"), *modules(SOURCE.parent / "examples")]
ABOVE_THE_ENGINE = (
    "modules",
    "functional",
    "state",
    "streaming",
    "equality",
    "image_models",
    "handwriting",
    "training",
    "hub",
    "importers",
    "distributed",
    "cli",
)


def room(name: str) -> dict[str, set[tuple[str, str]]]:
    """What each module of a room imports, as (module, name)."""
    own = f"spatial_lstm.{name}"
    return {
        module: set(imported(module, path))
        for module, path in MODULES.items()
        if module == own or module.startswith(f"{own}.")
    }


def within(module: str, *rooms: str) -> bool:
    """Whether a module is one of these rooms' of the package."""
    return any(f"{module}.".startswith(f"spatial_lstm.{name}.") for name in rooms)


def test_a_circle_is_found() -> None:
    assert cycle({"a": {"b"}, "b": {"c"}, "c": set()}) == []
    assert cycle({"z": {"a"}, "a": {"b"}, "b": {"c"}, "c": {"a"}}) == ["a", "b", "c", "a"]


def test_no_modules_import_one_another_in_a_circle() -> None:
    edges = graph(PACKAGE)
    assert len(edges) > 50
    assert "spatial_lstm.image_models.scan" in edges["spatial_lstm.image_models.density"]
    assert cycle(edges) == []


def test_the_reference_imports_numpy_alone() -> None:
    for module, names in room("reference").items():
        outside = {base for base, _ in names if not within(base, "reference")}
        assert {base.split(".")[0] for base in outside} <= {*sys.stdlib_module_names, "numpy"}, module


def test_the_engine_imports_nothing_above_it() -> None:
    found = room("engine")
    assert len(found) > 20
    for module, names in found.items():
        above = {base if base != "spatial_lstm" else f"spatial_lstm.{name}" for base, name in names}
        assert [other for other in sorted(above) if within(other, *ABOVE_THE_ENGINE)] == [], module


def test_checks_of_arguments_import_nothing_of_the_package() -> None:
    ((_, names),) = room("arguments").items()
    assert [base for base, _ in names if base.startswith("spatial_lstm")] == []


@pytest.mark.parametrize(
    ("name", "others"),
    [
        ("training", ("arguments", "files", "progress")),
        ("image_models", ("arguments", "files", "filling", "idx", "training", "transparency", "tuples")),
        ("handwriting", ("arguments", "files", "idx", "shared", "training", "transparency")),
        ("hub", ("files", "training", "image_models", "handwriting")),
        ("importers", ("arguments",)),
    ],
)
def test_users_of_the_layer_see_what_everybody_sees(name: str, others: tuple[str, ...]) -> None:
    """The layer by the names that the package itself offers, and nothing from behind them."""
    for module, names in room(name).items():
        for base, what in names:
            if base == "spatial_lstm":
                assert what in spatial_lstm.__all__, (module, what)
            elif base.startswith("spatial_lstm."):
                assert within(base, name, *others), (module, base)


@pytest.mark.parametrize("name", ["modules", "functional", "state", "streaming", "equality", "distributed", "cli"])
def test_all_come_in_by_the_front_door(name: str) -> None:
    """All but ``build``, which is about the one kernel that it compiles."""
    for module, names in room(name).items():
        behind = [base for base, _ in names if base.startswith("spatial_lstm.engine.")]
        assert behind == [] or module == "spatial_lstm.cli.build", module


def test_an_import_of_the_package_imports_no_triton_and_no_extra() -> None:
    extras = {"triton", "tqdm", "matplotlib", "onnx", "onnxscript", "sklearn", "skimage", "PIL"}
    extras |= {"huggingface_hub", "safetensors"}
    code = f"import sys, torch; before = set(sys.modules); import spatial_lstm; print((set(sys.modules) - before) & {extras})"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "set()\n"


def test_a_dangling_reference_is_found() -> None:
    module = ModuleType("made_up")
    source = """
''':class:`Right`, :func:`torch.func.vmap`, :mod:`spatial_lstm.training`, :class:`Wrong`, :func:`torch.func.fly`.'''
class Right:
    ''':meth:`here`, :meth:`there`, :meth:`Right.here`, :class:`~spatial_lstm.SpatialLSTM`, :meth:`Right.there`.'''
    kept: int
    def here(self):
        '''As :meth:`here` and :attr:`kept`.'''
"""
    exec(source, module.__dict__)
    assert dangling(module, source) == ["Wrong", "torch.func.fly", "there", "Right.there"]


@pytest.mark.parametrize("name", ALL)
def test_what_docstrings_point_to_is_there(name: str) -> None:
    try:
        module = importlib.import_module(name)
    except ImportError as error:
        pytest.skip(f"{name} needs an extra: {error}")
    assert dangling(module) == []
