"""Who follows a program's operations, and so decides what may run: compilers, traces, modes, transforms. Private names of torch stand here
alone; tests fail should one of them go.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch._subclasses import FakeTensor
from torch.autograd import forward_ad

F = TypeVar("F", bound=Callable[..., object])
# The types of tensors that are torch's own, and nothing more than that.
PLAIN = (Tensor, nn.Parameter)
# The exporter of 2.6 does not say that it runs, and so cannot export a layer.
_EXPORTER_HAS_FLAG = torch.__version__ >= "2.7"


def forward_mode_active() -> bool:
    """Whether a forward-mode level is open."""
    level: int = forward_ad._current_level
    return level >= 0


def refuse_forward_mode() -> None:
    """Refuse to run an operator under forward-mode AD, which would be answered with zeros.

    Raises:
        RuntimeError: If a level is open.
    """
    if forward_mode_active():
        raise RuntimeError(
            "expected no forward-mode derivative of a layer that was exported or traced before, got one: "
            "take the derivative of the module itself, inside torch.compile if need be"
        )


def functorch_active() -> bool:
    """Whether a ``torch.func`` transform is running, be it in a program that is being compiled."""
    depth: int = torch._C._functorch.get_dynamic_layer_stack_depth()
    return depth > 0


# Dynamo asks while it traces, when the transforms of the program are open, since up to 2.12 it cannot trace the question. That is what
# torch.compiler.assume_constant_result says, whose import of the compiler takes a second. Dynamo guards on the transforms around a program.
functorch_active._dynamo_marked_constant = True  # type: ignore[attr-defined]


def ends_a_graph(reason: str) -> Callable[[F], F]:
    """Mark a function at which the compiler breaks its graph, or gives up, for this reason, where there is to be one graph.

    That is what :func:`torch.compiler.disable` says, whose import of the compiler takes a second.
    """

    def mark(function: F) -> F:
        function._torchdynamo_disable = True  # type: ignore[attr-defined]
        function._torchdynamo_disable_msg = reason  # type: ignore[attr-defined]
        return function

    return mark


def onnx_export_active() -> bool:
    """Whether one of torch's exporters to ONNX is tracing."""
    if torch.compiler.is_compiling():
        return _EXPORTER_HAS_FLAG and _exporting()
    return torch._C._is_tracing() and torch.onnx.is_in_onnx_export()


def traced() -> bool:
    """Whether ``torch.jit.trace`` records the program: its operators, with what Python decides now as constants."""
    return not torch.compiler.is_compiling() and torch._C._is_tracing()


def _exporting() -> bool:
    from torch.onnx._internal.exporter import _flags  # dynamo takes `is_in_onnx_export` to be false

    return _flags._is_onnx_exporting


def without_values(*tensors: Tensor | None) -> bool:
    """Whether tensors have shapes alone, for the program is being compiled or exported, or runs on fake tensors."""
    return torch.compiler.is_compiling() or any(isinstance(tensor, FakeTensor) for tensor in tensors)


def recorded(*tensors: Tensor | None) -> bool:
    """Whether a program is followed once for all times that it will run, so that nothing may depend on tensors' values.

    Where :func:`torch.compile` follows it, it can go on after they were read.
    """
    return traced() or (without_values(*tensors) and not torch.compiler.is_dynamo_compiling())


def valueless(tensors: Iterable[Tensor]) -> bool:
    """Whether one has a shape alone, as on the meta device and in fake mode."""
    return any(t.is_meta or isinstance(t, FakeTensor) for t in tensors)


def exporting() -> bool:
    """Whether ``torch.export`` runs; torch 2.6 does not say so."""
    return hasattr(torch.compiler, "is_exporting") and torch.compiler.is_exporting()


def batched(tensors: Sequence[Tensor | None]) -> bool:
    """Whether one is batched by ``is_grads_batched``, in which operators on lists cannot run."""
    asked = torch._C._functorch.is_legacy_batchedtensor
    return len([t for t in tensors if t is not None and asked(t)]) > 0  # any() takes twice the time


def vmapped(tensor: Tensor) -> bool:
    """Whether ``torch.vmap`` maps over a tensor, whose entries then have values of their own that no program can read."""
    if torch.compiler.is_compiling():  # where values are not read
        return False
    functorch = torch._C._functorch
    while functorch.is_functorch_wrapped_tensor(tensor):  # by `grad`, in which a mapped one may be hidden
        if functorch.is_batchedtensor(tensor):
            return True
        tensor = functorch.get_unwrapped(tensor)
    return False


def backward_needs_composite(grads: Sequence[Tensor | None]) -> bool:
    """Whether a backward is run in a way that the operators cannot follow, whatever ran the forward."""
    return forward_mode_active() or batched(grads)


def apart() -> AbstractContextManager[object]:
    """Where autograd does not look: parts of a tensor that are taken within are tensors of their own, not views of it."""
    found: AbstractContextManager[object] = torch._C._AutoDispatchBelowADInplaceOrView()
    return found


def followed() -> bool:
    """Whether something follows the program's operators; else, of :func:`plain` tensors, their bodies may be called directly."""
    return (
        torch.compiler.is_compiling()
        or torch._C._len_torch_dispatch_stack() > 0
        or functorch_active()
        or torch._C._is_tracing()
        or torch._C._autograd._profiler_enabled()
    )


def freed(tensor: Tensor) -> bool:
    """Whether a tensor has elements and its storage has none."""
    return tensor.numel() > 0 and torch._C._has_storage(tensor) and tensor.untyped_storage().nbytes() == 0


def sharded(tensor: Tensor) -> bool:
    """Whether it is a DTensor, which operators and programs that do not know of them cannot take."""
    return type(tensor) not in PLAIN and hasattr(tensor, "full_tensor")


def plain(tensors: Iterable[Tensor | None]) -> bool:
    """Whether tensors are their memory and no more."""
    for t in tensors:  # noqa: SIM110  (all() takes twice the time, which a small call notices)
        if t is not None and (type(t) not in PLAIN or t.is_meta or t.is_neg() or t._is_zerotensor()):
            return False
    return True
