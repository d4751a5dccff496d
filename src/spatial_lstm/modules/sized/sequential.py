"""A network for ragged batches."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from typing import overload

import torch
from torch import Tensor, nn

from spatial_lstm.arguments import as_int, refuse_other
from spatial_lstm.engine import check_sizes, traced
from spatial_lstm.modules.sized.layout import in_format
from spatial_lstm.modules.sized.module import SizedModule
from spatial_lstm.modules.sized.ragged import Ragged
from spatial_lstm.modules.sized.rules import RULES, OwnRule, Rule, check_fits, rule_of


class SizedSequential(SizedModule):
    """:class:`torch.nn.Sequential` for images of different sizes: a padded batch gives what each image gives alone.

    Sizes are carried exactly through strided convolutions and poolings, floor((s + 2p - d (k - 1) - 1) / stride) + 1, and what a layer
    leaves in the padding reaches no other. Of PyTorch's layers it takes convolutions (zeros as padding), maximum and average pooling,
    batch normalization (statistics over sites of images alone), dropout and activations; :class:`~spatial_lstm.SpatialLSTM`; and any
    :class:`~spatial_lstm.SizedModule`, itself among them.

    Args:
        layers: In order; or one ordered dictionary of them by name, as :class:`torch.nn.Sequential` takes.

    On the way no layer computes padding: images that differ along the last axis alone stand side by side in one strip, with as much room
    between them as windows reach, and only what takes a padded batch gets one, :class:`~spatial_lstm.SpatialLSTM` (which skips the
    padding) and layers of one's own.

    Inputs: x, sizes
        - x: ``(N, C, *S)``; what stands in the padding does not matter.
        - sizes: integers ``(N, n)``, or ``(N,)`` for n = 1, in a tensor or in nested sequences: each image's own extent. None where all
          fill the batch. Kept on the CPU they cost no synchronization.

    Outputs: y, sizes
        - y: as large as the largest image, and zero beyond each one's own extent; channels last in memory, on a CPU in any case but for
          ``torch.func`` transforms.
        - sizes: those extents, ``(N, n)``, int64 on the CPU.

    Raises:
        TypeError: If a layer is of a kind whose way with padding is not known, or a dictionary is not alone.
        ValueError: If a layer has options under which images would see their padding, sizes do not fit or have no values, an image is too
            small for a layer's window, or one site alone is to be normalized.

    Example:
        >>> from spatial_lstm import SpatialLSTM
        >>> network = SizedSequential(nn.Conv2d(1, 8, 3, stride=2), nn.ReLU(), SpatialLSTM(8, 16, directions="all"))
        >>> y, sizes = network(torch.zeros(2, 1, 30, 20), [[30, 20], [7, 12]])
        >>> y.shape, sizes.tolist()
        (torch.Size([2, 64, 14, 9]), [[14, 9], [3, 5]])
    """

    def __init__(self, *layers: nn.Module | OrderedDict[str, nn.Module]) -> None:
        super().__init__()
        for name, layer in _by_name(layers).items():
            rule_of(layer)
            self.add_module(name, layer)

    def forward(self, x: Tensor, sizes: Tensor | Sequence[object] | None = None) -> tuple[Tensor, Tensor]:
        """Return the output and its sizes; see the class."""
        own = self._sizes(x, sizes)
        if own is None:
            y = self._dense(x)
            return y, torch.tensor(y.shape[2:], device="cpu").repeat(y.shape[0], 1)
        found = self._run(x, own)
        return found.padded(), found.sizes

    def images(self, x: Tensor, sizes: Tensor | Sequence[object] | None = None) -> list[Tensor]:
        """Return what comes out of each image alone, ``(1, C, *own)``; inputs and errors are those of the network."""
        own = self._sizes(x, sizes)
        if own is None:
            return list(self._dense(x).split(1)[: len(x)])
        return [image.movedim(-1, 1) for image in self._run(x, own).images()]

    def _dense(self, x: Tensor) -> Tensor:
        """The output of images that fill their batch; no tensor's values are read, and so a program of it can be exported."""
        self._after(x.shape[2:])
        x = in_format(x)
        for layer in self:
            x = rule_of(layer).dense(layer, x)
        return x

    def _run(self, x: Tensor, sizes: Tensor) -> Ragged:
        self._check(sizes)
        found = Ragged.of(x, sizes)
        for layer in self:
            found = rule_of(layer).run(layer, found)
        return found

    def extents(self, sizes: Tensor) -> Tensor:
        """Return the sizes that come out where ``sizes`` ``(N, n)`` go in; 0 where an image is too small. Computes nothing else."""
        fits = (sizes >= 1).all(1, keepdim=True)
        for layer in self:
            after = rule_of(layer).extents(layer, sizes)
            if after is not sizes:
                fits &= (after >= 1).all(1, keepdim=True)
            sizes = after
        return sizes * fits

    def __iter__(self) -> Iterator[nn.Module]:
        """The layers."""
        return iter(self._modules.values())  # type: ignore[arg-type]

    @overload
    def __getitem__(self, place: int) -> nn.Module: ...

    @overload
    def __getitem__(self, place: slice) -> SizedSequential: ...

    def __getitem__(self, place: int | slice) -> nn.Module | SizedSequential:
        """One of them, or a network of some, with the names that they have here."""
        if isinstance(place, slice):
            return type(self)(OrderedDict(list(self._modules.items())[place]))  # type: ignore[arg-type]
        return self.get_submodule(self._name(place))

    def __setitem__(self, place: int, layer: nn.Module) -> None:
        """Put another one in the place of one."""
        rule_of(layer)
        self.add_module(self._name(place), layer)

    def append(self, layer: nn.Module) -> SizedSequential:
        """Add one at the end; return the network.

        Raises:
            TypeError: As for the class, like the next.
            ValueError: If it has options under which images would see their padding.
        """
        rule_of(layer)
        self.add_module(next(name for name in map(str, count(len(self))) if name not in self._modules), layer)
        return self

    def __len__(self) -> int:
        """Their number."""
        return len(self._modules)

    def _name(self, place: object) -> str:
        """What the layer in a place is called."""
        at, names = as_int("the place of a layer", place), list(self._modules)
        if not -len(names) <= at < len(names):
            raise IndexError(f"expected a place from {-len(names)} to {len(names) - 1}, got {at}")
        return names[at]

    def _sizes(self, x: Tensor, sizes: Tensor | Sequence[object] | None) -> Tensor | None:
        """Checked sizes ``(N, n)``; None where all images fill the batch."""
        if traced():
            told = "torch.jit.trace, to which sizes are constants"
            raise ValueError(f"expected torch.export.export, or torch.onnx.export(.., dynamo=True), got {told}")
        if not isinstance(x, Tensor):
            refuse_other("x", x, "SizedSequential")
        axes = self._axes()
        if x.ndim < 3 or axes not in (None, x.ndim - 2):
            told = "" if axes is None else f" with {axes} spatial axes"
            raise ValueError(f"expected a batch x of shape (N, C, *S){told}, got {tuple(x.shape)}")
        extents = x.shape[2:]
        own = check_sizes(sizes, x.shape[0], extents)
        if own is None:
            return None
        rows = self.known(own, beside=x)
        if any(not 1 <= size <= extent for row in rows for size, extent in zip(row, extents, strict=True)):
            raise ValueError(f"expected sizes from 1 to the batch's extents {tuple(extents)}, got {rows}")
        return None if all(row == [*extents] for row in rows) else own

    def _axes(self) -> int | None:
        """Spatial axes of the input; None for any number."""
        for layer in self:
            rule = rule_of(layer)
            axes = rule.axes(layer)
            if axes is not None or isinstance(rule, OwnRule):
                return axes
        return None

    def _check(self, sizes: Tensor) -> None:
        """Refuse images that do not go through all layers."""
        for layer in self:
            rule = rule_of(layer)
            _check_axes(layer, rule, sizes.shape[1])
            after = rule.extents(layer, sizes)
            if after is not sizes:
                small = (after < 1).any(1)
                if small.any():
                    place = int(small.nonzero()[0])
                    check_fits(layer, sizes[place].tolist(), after[place].tolist(), place)
            sizes = after

    def _after(self, own: Sequence[int]) -> Sequence[int]:
        """What comes out of extents that all images have, having refused images that do not go through all layers."""
        for layer in self:
            rule = rule_of(layer)
            _check_axes(layer, rule, len(own))
            own = rule.after(layer, own)
        return own


class NestedRule(OwnRule):
    """A network within a network does without sizes what this one does without them."""

    def axes(self, module: SizedSequential) -> int | None:
        return module._axes()

    def after(self, module: SizedSequential, own: Sequence[int]) -> Sequence[int]:
        return module._after(own)

    def dense(self, module: SizedSequential, x: Tensor) -> Tensor:
        output: Tensor = module(x)[0]
        return output


RULES[SizedSequential] = NestedRule()


def _check_axes(layer: nn.Module, rule: Rule, axes: int) -> None:
    if rule.axes(layer) not in (None, axes):
        raise ValueError(f"expected layers for {axes} spatial axes here, got {layer}")


def _by_name(layers: Sequence[nn.Module | OrderedDict[str, nn.Module]]) -> Mapping[str, nn.Module]:
    """Layers by their names, or else their places."""
    named: dict[str, nn.Module] = {}
    for place, layer in enumerate(layers):
        if isinstance(layer, OrderedDict):
            if len(layers) > 1:
                raise TypeError(
                    f"expected layers, or one ordered dictionary of them, got one among {len(layers)} arguments"
                )
            return layer
        named[str(place)] = layer
    return named
