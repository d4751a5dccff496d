"""A field split over processes equals one process that has it all: outputs, faces and gradients, of 1 to 4 gloo processes.

The processes are started once and go through all cases of ``split_fields.py`` together; what each case gave is a test of its own.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.tensor.parallel import parallelize_module

from spatial_lstm import SpatialLSTM
from spatial_lstm.distributed import SpatialParallel
from spatial_lstm.distributed.cost import Costs, Work, choose_blocks
from spatial_lstm.distributed.schedule import DOWN, UP, idle_steps, make_schedule, received
from tests.split_fields import CASES, RUNS, run_processes


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a file for every case that failed on a rank, and for what ranks said of another that was late or dead."""
    folder: Path = tmp_path_factory.mktemp("told")
    run_processes(folder)
    return folder


@pytest.mark.support("A field over processes (`SpatialParallel`)")
@pytest.mark.parametrize(("name", "world"), RUNS)
def test_equals_one_process(told: Path, name: str, world: int) -> None:
    found = [path.read_text() for path in sorted(told.glob(f"{name} {world} *"))]
    assert not found, found[0]


def test_worlds_of_one_to_four_are_tried() -> None:
    assert {world for _, world in RUNS} == {1, 2, 3, 4}
    assert {name for name, _ in RUNS} == set(CASES)


def test_a_rank_that_does_not_come_is_named_in_time(told: Path) -> None:
    seconds, message = (told / "late, said rank 0").read_text().split("\n", 1)
    assert re.match(r"expected the gradient of the faces of block \d of 2 .* from rank 1 within 3 s, got: ", message)
    assert 2.5 < float(seconds) < 60


@pytest.mark.parametrize("rank", [0, 2])
def test_a_rank_that_dies_is_named(told: Path, rank: int) -> None:
    seconds, message = (told / f"dead, said rank {rank}").read_text().split("\n", 1)
    way = "to" if rank == 0 else "from"
    assert re.match(
        rf"expected .*the faces of block \d of 4 in direction 'ff' {way} rank 1.* within 5 s, got: ", message
    )
    assert float(seconds) < 60


HEADINGS = {"one": (DOWN,), "two": (DOWN, UP), "four": (DOWN, DOWN, UP, UP), "lopsided": (UP, UP, DOWN)}


@pytest.mark.parametrize("heading", HEADINGS.values(), ids=HEADINGS)
@pytest.mark.parametrize("places", [1, 2, 3, 5, 8])
def test_a_schedule_has_everything_once_in_order_and_no_time_to_lose(heading: tuple[int, ...], places: int) -> None:
    blocks = 9
    schedule = make_schedule(places, heading, blocks)
    when = {(place, item): t for t, step in enumerate(schedule) for place, item in enumerate(step) if item is not None}
    assert len(when) == places * len(heading) * blocks
    for (place, item), t in when.items():
        for before in ((place, item._replace(turn=item.turn - 1)), (place - heading[item.direction], item)):
            assert when.get(before, -1) < t
    assert len(schedule) == len(heading) * blocks + idle_steps(places, heading)


def test_what_is_received_is_what_travels_this_way() -> None:
    heading = (DOWN, UP)
    for step in make_schedule(4, heading, 3):
        for place in range(4):
            for source, item in received(step, place, heading):
                assert step[source] == item
                assert source + heading[item.direction] == place


def test_more_work_is_cut_finer_and_dear_messages_coarser() -> None:
    def blocks(flops: float = 1e9, latency: float = 1e-4, places: int = 4) -> int:
        costs = Costs(rate=1e10, wavefront=1e-6, call=1e-4, latency=latency, bandwidth=1e9)
        return choose_blocks(Work((512, 128), 0, flops, 1e5), places, (DOWN, DOWN), costs)

    assert blocks(places=1) == 1
    for few, more in pairwise([blocks(1e7), blocks(1e8), blocks(1e9), blocks(1e10)]):
        assert few < more
    assert blocks(latency=1e-2) < blocks() < blocks(places=64)


def test_blocks_are_small_enough_for_their_memory_to_be_kept() -> None:
    costs = Costs(rate=1e10, wavefront=1e-6, call=1e-4, latency=1e-4, bandwidth=1e9, kept=1e6)
    assert choose_blocks(Work((512, 128), 0, 1e9, 1e5, 2e8), 1, (DOWN,), costs) == 200
    assert choose_blocks(Work((512, 128), 0, 1e9, 1e5, 1e4), 1, (DOWN,), costs) == 1


def test_no_more_blocks_than_rows() -> None:
    costs = Costs(rate=1.0, wavefront=0.0, call=0.0, latency=0.0, bandwidth=1e9)
    assert choose_blocks(Work((5, 128), 0, 1e9, 1e5), 64, (DOWN,), costs) == 5


def test_what_the_page_shows_runs() -> None:
    page = (Path(__file__).parents[1] / "docs" / "parallel.md").read_text()
    names: dict[str, Any] = {}
    for code in re.findall(r"^```python\n(.*?)^```$", page, re.S | re.M):
        exec(code, names)
    assert names["output"].shape == (1, 64, 64, 32)
    assert all(parameter.grad is not None for parameter in names["layer"].parameters())


@pytest.fixture
def mesh() -> Iterator[DeviceMesh]:
    """One process alone."""
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield init_device_mesh("cpu", (1,))
    dist.destroy_process_group()


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        pytest.param(lambda: SpatialParallel(blocks=0), ValueError, "blocks", id="no blocks"),
        pytest.param(lambda: SpatialParallel(axis=True), TypeError, "expected axis to be an int, got bool", id="axis"),
        pytest.param(lambda: SpatialParallel(timeout=0), ValueError, "positive number of seconds", id="timeout"),
        pytest.param(lambda: SpatialParallel(recompute=1), TypeError, "recompute", id="recompute"),
    ],
)
def test_options_are_checked(make: Callable[[], object], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        make()


@pytest.mark.parametrize(
    ("module", "axis", "error", "words"),
    [
        pytest.param(nn.Linear(1, 1), -1, TypeError, "expected a SpatialLSTM .* got Linear", id="another module"),
        pytest.param(SpatialLSTM(1, 1, spatial_dims=1), -1, ValueError, "2 or more axes", id="one axis"),
        pytest.param(SpatialLSTM(1, 1), 2, ValueError, r"axis in -2 .. 1, got 2", id="no such axis"),
    ],
)
def test_modules_are_checked(mesh: DeviceMesh, module: nn.Module, axis: int, error: Any, words: str) -> None:
    with pytest.raises(error, match=words):
        parallelize_module(module, mesh, SpatialParallel(axis))
