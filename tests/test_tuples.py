"""Named tuples that modules return are named tuples and tuples, to whoever takes them up."""

from __future__ import annotations

import copy
import inspect
import io
import pickle
from collections.abc import Callable

import pytest
import torch
from torch.utils import _pytree

from spatial_lstm import SpatialLSTM, State
from spatial_lstm.image_models import RIDE, ImageModel, LogProb, PixelRNN

RETURNED: dict[str, State | LogProb] = {
    "State": State((torch.ones(1, 2), torch.ones(1, 3)), (torch.zeros(1, 2), None)),
    "LogProb": LogProb(torch.ones(2), 3),
}


@pytest.mark.parametrize("name", RETURNED)
def test_made_of_one_iterable_as_any_sequence(name: str) -> None:
    found = RETURNED[name]
    kind = type(found)
    for again in (kind(*found), kind(**found._asdict()), kind(list(found)), kind(each for each in found)):  # type: ignore[arg-type, call-arg]
        assert type(again) is kind
        assert all(a is b for a, b in zip(again, found, strict=True))
    assert list(inspect.signature(kind).parameters) == list(kind._fields)


def test_what_is_not_both_is_refused() -> None:
    for wrong in ((), (1,), ((1,),), ((1, 2, 3),)):
        with pytest.raises(TypeError, match=r"State\.__new__\(\) (missing|takes 3)"):
            State(*wrong)


def changed(state: State) -> State:
    """As programs do that know of sequences alone."""
    return type(state)(tuple(2 * face for face in faces if face is not None) for faces in state)  # type: ignore[arg-type, call-arg]


@pytest.mark.skipif(
    torch.__version__ < "2.13", reason="the compiler of torch 2.11 takes all named tuples to be made alike"
)
def test_compiled_programs_may_change_it() -> None:
    state = SpatialLSTM(3, 4)(torch.ones(2, 3, 4, 5))[1].detach()
    found, expected = torch.compile(changed, backend="eager", fullgraph=True)(state), changed(state)
    assert type(found) is State
    assert all(torch.equal(a, b) for a, b in zip(found.h + found.c, expected.h + expected.c, strict=True))  # type: ignore[arg-type]


def test_made_where_a_compiled_program_is_interrupted() -> None:
    def made(x: torch.Tensor) -> list[State]:
        found = []
        for _ in range(2):  # in which a break leaves the function to Python, and what it calls to the compiler
            torch._dynamo.graph_break()
            found.append(State((x,), (x,)))
        return found

    x = torch.ones(2)
    for each in torch.compile(made, backend="eager")(x):
        assert type(each) is State
        assert torch.equal(each.h[0], x)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", RETURNED)
def test_copied_saved_and_mapped(name: str) -> None:
    found, file = RETURNED[name], io.BytesIO()
    torch.save(found, file)
    file.seek(0)
    twins = [torch.load(file, weights_only=True), pickle.loads(pickle.dumps(found)), copy.deepcopy(found)]
    for twin in (*twins, _pytree.tree_map(lambda each: each, found)):
        assert type(twin) is type(found)
        assert repr(twin) == repr(found)


@pytest.mark.filterwarnings("ignore:The given buffer is not writable")  # torch 2.11, of its own archives
@pytest.mark.parametrize("make", [RIDE, PixelRNN])
def test_programs_that_return_it_are_saved(make: Callable[..., ImageModel]) -> None:
    model, images, file = make(1, hidden_size=4).eval(), torch.ones(2, 1, 9, 8), io.BytesIO()
    torch.export.save(torch.export.export(model, (images,)), file)
    file.seek(0)
    found, expected = torch.export.load(file).module()(images), model(images)
    assert type(found) is LogProb
    torch.testing.assert_close(found.nats, expected.nats)
    assert found.pixels == expected.pixels
