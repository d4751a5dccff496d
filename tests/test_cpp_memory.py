"""The memory of the C++ kernel's tables: large pages, used again, bounded, cleared."""

from __future__ import annotations

import mmap
import weakref
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

import spatial_lstm
from spatial_lstm.engine.cache import with_memory
from spatial_lstm.engine.geometry import build
from spatial_lstm.engine.kernels.cpp import library, memory
from spatial_lstm.engine.kernels.plain import PlainKernel
from tests.cases import assert_close, gradients, make_input, make_layer, make_state

needs_kernel = pytest.mark.usefixtures("cpp_kernel")


@needs_kernel
def test_memory_that_was_freed_is_not_read() -> None:
    layer = make_layer("spatial", 2, 3, backend="cpp")
    output, _ = layer(make_input(layer))
    layer.weight_hh_l0.untyped_storage().resize_(0)
    with pytest.raises(RuntimeError, match=r"expected weight_hh of shape \(15, 6\) to have memory"):
        output.sum().backward()


@pytest.mark.parametrize("backend", ["auto", "plain"])
def test_weights_that_were_freed_are_not_stacked(backend: str) -> None:
    layer = make_layer("spatial", 2, 3, directions="all", backend=backend)
    layer.bias_l0_rr.untyped_storage().resize_(0)
    with pytest.raises(RuntimeError, match=r"expected bias_l0_rr of shape \(15,\) to have memory"):
        layer(make_input(layer))


@pytest.mark.parametrize("backend", ["auto", "plain"])
@pytest.mark.parametrize("given", ["channels first", "channels last", "a part of it"])
def test_an_input_that_was_freed_is_not_copied(given: str, backend: str) -> None:
    layer = make_layer("spatial", 2, 3, backend=backend)
    x = make_input(layer, grad=False)
    if given != "channels first":
        x = x.to(memory_format=torch.channels_last)
    output, _ = layer(x[1:] if given == "a part of it" else x)
    x.untyped_storage().resize_(0)
    with pytest.raises(
        RuntimeError, match=r"expected x of shape \(., 4, 3, 2\) to have memory, got one whose storage was freed"
    ):
        output.sum().backward()


@needs_kernel
@pytest.mark.parametrize("sizes", [None, [(300, 200), (200, 300)]], ids=["dense", "sizes"])
def test_large_outputs_lie_on_large_pages(sizes: list[tuple[int, int]] | None) -> None:
    if not Path("/sys/kernel/mm/transparent_hugepage/enabled").exists():
        pytest.skip("the system has no large pages")
    output, _ = spatial_lstm.SpatialLSTM(1, 16, backend="cpp")(torch.zeros(2, 1, 300, 300), sizes=sizes)
    assert "hg" in of_mapping(output.data_ptr() + output.nbytes // 2, "VmFlags")


def of_mapping(address: int, name: str) -> list[str]:
    """What Linux notes by a name of the memory around an address."""
    inside = False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        head, *rest = line.split()
        if "-" in head:
            start, end = (int(part, 16) for part in head.split("-"))
            inside = start <= address < end
        elif inside and head == f"{name}:":
            return rest
    raise AssertionError(f"nothing called {name} of a mapping around {address}")


def test_memory_of_large_tables_is_used_again() -> None:
    memory.clear()
    shape = (1 << 16, 17)
    first, second = memory.new_empty(shape, torch.float32), memory.new_empty(shape, torch.float32)
    assert first.shape == second.shape == shape
    places = {first.data_ptr(), second.data_ptr()}
    assert len(places) == 2
    view = first[5:].fill_(1.0)
    del first, second
    third = memory.new_empty(shape, torch.float32)  # that of the second: the first has a view that lives
    assert third.data_ptr() in places - {view.data_ptr() - 5 * 17 * 4}
    third.fill_(2.0)
    assert bool((view == 1).all())
    kept = third.data_ptr()
    del third
    smaller = memory.new_empty((1 << 16, 9), torch.float32)  # of varying sizes few blocks are kept
    assert smaller.data_ptr() == kept
    del smaller
    assert memory.new_empty((1 << 16, 7), torch.float32).data_ptr() != kept
    for _ in range(memory.PATIENCE - 1):
        assert kept in {block_start(block) for _, block in memory._free}
        memory.new_empty((4 * memory.LEAST,), torch.float64)
    assert kept not in {block_start(block) for _, block in memory._free}


def block_start(block: mmap.mmap) -> int:
    return torch.frombuffer(block, dtype=torch.uint8).data_ptr()


def test_small_tables_are_torchs() -> None:
    assert memory.new_empty((3, 0), torch.bfloat16).shape == (3, 0)
    tensor = memory.new_empty((3, 5), torch.bfloat16)
    assert (tensor.shape, tensor.dtype) == ((3, 5), torch.bfloat16)
    assert memory.new_empty((), torch.float64).numel() == 1


@pytest.mark.parametrize("in_place", [0, 5 * memory.LEAST])
def test_much_that_is_free_is_the_systems_to_take(in_place: int, monkeypatch: pytest.MonkeyPatch) -> None:
    if not Path("/proc/self/smaps").exists() or not hasattr(mmap, "MADV_FREE"):
        pytest.skip("the system does not say, or does not know of it")
    spatial_lstm.clear_cache()
    monkeypatch.setattr(memory, "IN_PLACE", in_place)
    table = memory.new_empty((memory.LEAST,), torch.float32).zero_()
    place = table.data_ptr() + table.nbytes // 2
    del table
    size, unit = of_mapping(place, "LazyFree")
    assert unit == "kB"
    assert (int(size) > 0) == (in_place == 0)


def test_what_is_free_can_be_cleared() -> None:
    memory.new_empty((memory.LEAST,), torch.float32)
    assert memory._free
    spatial_lstm.clear_cache()
    assert not memory._free


@needs_kernel
def test_calls_in_many_threads_do_not_disturb_one_another() -> None:
    layers = [make_layer("spatial", 2, hidden, directions="all", backend="cpp").double() for hidden in (3, 40, 90, 17)]
    inputs = [make_input(layer, 2, (9, 14)) for layer in layers]

    def steps(i: int) -> list[torch.Tensor]:
        for _ in range(20):
            output, _ = layers[i](inputs[i])
            grads = torch.autograd.grad(output.square().sum(), [inputs[i], *layers[i].parameters()])
        return [output, *grads]

    alone = [steps(i) for i in range(4)]
    with ThreadPoolExecutor(8) as pool:
        for i, found in enumerate(pool.map(steps, [0, 1, 2, 3] * 4)):
            for one, other in zip(found, alone[i % 4], strict=True):
                assert torch.equal(one, other)


def test_what_is_kept_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    spatial_lstm.clear_cache()
    monkeypatch.setattr(memory, "MOST", 5 * 4 * memory.LEAST)
    for _ in range(2):
        tables = [memory.new_empty((memory.LEAST,), torch.float32) for _ in range(7)]
        del tables
        assert sum(len(block) for _, block in memory._free) == memory.MOST


@needs_kernel
def test_new_sizes_leave_nothing_behind() -> None:
    """No index tables are made, whatever the sizes: not of dense batches, nor of ragged ones."""
    spatial_lstm.clear_cache()
    layer = make_layer("spatial", 2, 3, directions="all", backend="cpp")
    for width in range(2, 7):
        x = make_input(layer, 2, (5, width))
        for sizes in (None, [[5, width], [3, 2]]):
            layer(x, make_state(layer, 2, (5, width)), sizes=sizes)[0].sum().backward()
    assert not build._cache._plans


def test_more_memory_than_there_is() -> None:
    """Torch's own kind of error, whoever finds it."""
    with pytest.raises(torch.OutOfMemoryError, match="no 1125899906842624 bytes"):
        with_memory(lambda: memory.new_empty((1 << 48,), torch.float32))


LACKS = {
    "numpy": MemoryError("no bytes"),
    "torch": RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes"),
}


@pytest.mark.parametrize("tile", [None, (2, 3)], ids=["whole", "tiles"])
@pytest.mark.parametrize("name", ["forward", "gradients"])
@pytest.mark.parametrize("error", LACKS.values(), ids=LACKS.keys())
def test_what_is_kept_is_given_up_where_there_is_no_more(
    error: Exception, name: str, tile: tuple[int, int] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the layer fails for want of memory."""
    right = getattr(PlainKernel, name)
    layer = make_layer("spatial", 2, 3, backend="plain")
    x = make_input(layer)
    expected = gradients([layer(x, tile=tile)[0]], [x])

    def poor(*arguments: object) -> object:
        if memory._free:
            raise error
        return right(*arguments)

    monkeypatch.setattr(PlainKernel, name, poor)
    memory.new_empty((memory.LEAST,), torch.float32)
    assert memory._free
    assert_close(gradients([layer(x, tile=tile)[0]], [x]), expected)
    assert not memory._free


@needs_kernel
def test_tables_that_do_not_fit_are_given_up_for_those_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the system, too, which counts them as long as they are mapped."""
    memory.clear()
    memory.new_empty((memory.LEAST,), torch.float32)
    ((_, block),) = memory._free
    kept, right = weakref.ref(block), memory._map
    del block

    def grow(size: int) -> mmap.mmap:
        if kept() is not None:
            raise MemoryError("no bytes")
        return right(size)

    monkeypatch.setattr(memory, "_map", grow)
    layer = make_layer("spatial", 1, 16, backend="cpp")
    assert layer(make_input(layer, 1, (200, 200)))[0].shape == (1, 16, 200, 200)


@needs_kernel
def test_the_kernel_itself_runs_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """It says by its status that it has found no memory."""
    layer, right = make_layer("spatial", 2, 3, backend="cpp"), library.load()
    x = make_input(layer)
    expected, _ = layer(x)

    class Poor:
        @staticmethod
        def forward_float64(*passed: bytes) -> int:
            return 1 if memory._free else right.forward_float64(*passed)

    memory.new_empty((memory.LEAST,), torch.float32)
    monkeypatch.setattr(library, "_outcome", Poor())
    assert_close([layer(x)[0]], [expected])
    monkeypatch.setattr(Poor, "forward_float64", lambda *_: 1)
    with pytest.raises(torch.OutOfMemoryError, match=r"the layer found no memory: the C\+\+ kernel found no memory"):
        layer(x)


def test_memory_that_is_locked_is_kept_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """The system takes no pages of a process that has locked all of its own (``mlockall``)."""
    if not hasattr(mmap, "MADV_FREE"):
        pytest.skip("the system takes no pages back")
    memory.clear()
    monkeypatch.setattr(memory, "IN_PLACE", 0)
    monkeypatch.setattr(mmap, "MADV_FREE", -1)  # which it refuses with the same error
    memory.new_empty((memory.LEAST,), torch.float32)
    assert memory._free


def test_uninitialized_tables_are_filled_where_torchs_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in all tests, which run in torch's deterministic mode."""
    for fill in (True, False):
        monkeypatch.setattr(torch.utils.deterministic, "fill_uninitialized_memory", fill)
        memory.new_empty((memory.LEAST,), torch.float32).zero_()  # given back at once, and taken again
        table = memory.new_empty((memory.LEAST,), torch.float32)
        assert bool(table.isnan().all()) == fill
