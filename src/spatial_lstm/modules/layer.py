"""The LSTM for grids."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from spatial_lstm.arguments import as_int, as_positive_int, check_flag
from spatial_lstm.engine import (
    StackOptions,
    Weights,
    check_dropout,
    check_dtype,
    check_forget_bias,
    check_options,
    check_saved_gates,
    check_tile,
    get_cell,
    parse_directions,
    register_flops,
    run_layers,
    weight_shapes,
)
from spatial_lstm.modules import lstm_conversion, parameters
from spatial_lstm.modules.cell import SpatialLSTMCell
from spatial_lstm.state import State

Layer = TypeVar("Layer", bound="SpatialLSTM")

FLAGS = ("bias", "channels_last", "peephole", "extended", "recompute")


class SpatialLSTM(nn.Module):
    r"""LSTM whose state flows along every axis of a grid: an image, a volume, a sequence.

    At every site, with x the input there and :math:`h_k, c_k` the states of its predecessor along axis k (above for k = 0, to the left for
    k = 1 in an image read forward; zero, or the given near face, outside the grid),

    .. math::
        (i, f_0, \dots, f_{n-1}, g, o) &= W_{ih} x + W_{hh} [h_0; \dots; h_{n-1}] + b \\
        c &= \sigma(i) \odot \tanh(g) + \sum_k \sigma(f_k) \odot c_k \\
        h &= \tanh(\sigma(o) \odot c)

    for ``cell="spatial"``, after Theis & Bethge, 2015, arXiv:1506.03478. ``"graves"`` has :math:`h = \sigma(o) \odot \tanh(c)` and optional
    peepholes, after Graves, Fernandez & Schmidhuber, 2007, arXiv:0705.2011; for n = 1 it is :class:`torch.nn.LSTM`. ``"stable"`` replaces
    the sum by a convex combination, :math:`c = \sigma(i) \odot \tanh(g) + \sigma(f) \odot \sum_k w_k \odot c_k` with w the softmax over
    :math:`(l_0, \dots, l_{n-2}, 0)` and blocks i, f, l_0 .. l_{n-2}, g, o, after Leifert et al., 2016, so that c cannot grow with the size
    of the grid. ``"diagonal"``, of the Diagonal BiLSTM of van den Oord et al., 2016, arXiv:1601.06759, has gates i, f, g, o whatever n
    is and carries c along the last axis alone, :math:`c = \sigma(i) \odot \tanh(g) + \sigma(f) \odot c_{n-1}`; both have
    :math:`h = \sigma(o) \odot \tanh(c)` and are :class:`torch.nn.LSTM` for n = 1.

    All sites whose coordinates add up to the same number are computed at once: an image takes ``H + W - 1`` sequential steps.

    Args:
        input_size: Channels of the input, C.
        hidden_size: Features of the hidden and cell states, h.
        num_layers: Layers stacked; each reads the merged directions of the one below.
        bias: Whether there are biases.
        channels_last: Whether channels come last in input and output.
        dropout: Probability of dropout on the output of every layer but the last.
        directions: One letter per axis, ``f`` forward or ``r`` reverse: None for all forward, one string, a sequence of distinct strings,
            or ``"all"`` for all :math:`2^n` in lexicographic order.
        spatial_dims: Number of spatial axes, n.
        cell: ``"spatial"``, ``"graves"``, ``"stable"`` or ``"diagonal"``.
        peephole: Diagonal peepholes, with ``"graves"`` alone.
        extended: Dense connections from the predecessors' cell states to the gates, with ``"spatial"`` alone.
        forget_bias: What the forget biases start at; None for the default of :meth:`reset_parameters`.
        merge: ``"concat"``, ``"sum"`` or ``"mean"`` of the directions' outputs.
        recompute: Save only h and c for the backward and recompute the gates there: less memory, more time.
        saved_gates: ``"bfloat16"`` saves the gates of a float32 layer in 16 bits for the backward: a third less memory. Output and state
            stay the same to the bit, gradients differ by a few thousandths: each gate y is read as it was to within 1/256 of abs(y) and of
            1 - abs(y), whichever is less, so that derivatives of gates near 0 and 1 are as exact as others. Gates of 16-bit layers have 16
            bits in any case; float64 is refused, since who asks for it wants exact derivatives. ``"composite"`` and ``"reference"``
            change nothing, nor do derivatives of higher order. None saves them as they are.
        backend: ``"auto"``, or the name of one of :func:`spatial_lstm.backends` to pin it.
        tile: n extents of tiles that the grid is run in; None for the whole at once. Output and gradients are the same. Only faces
            between tiles are kept for the backward, which runs each tile again: memory for a tile instead of the grid, for a third
            more time. Layers of one direction keep no field in between either, unless there is dropout; with several directions each
            layer's output stays. ``recompute`` and ``saved_gates`` then change nothing. Forward-mode AD, ``torch.func`` transforms and
            derivatives of higher order are right, but take the whole at once.
        device, dtype: Of the parameters.

    Inputs: input, state, sizes, tile
        - input: ``(N, C, *S)``, or ``(N, *S, C)`` with ``channels_last``, or either without N.
        - state: near faces as a :class:`State` of n faces of h and n of c, face k ``(num_layers * D, N, h, *S without axis k)``, indexed by
          coordinate whatever the direction. None, for all or for any one, is zeros.
        - sizes: integers ``(N, n)``, or ``(N,)`` for n = 1, in a tensor or in nested sequences: each image's own extent in a padded batch.
          Padding costs no work, reaches nothing and comes out zero. Kept on the CPU they cost no synchronization.
        - tile: as above, for this call; None for the layer's own.

    Outputs: output, state
        - output: in the input's layout with ``D * h`` channels, directions in their order, or h for ``merge="sum"`` and ``"mean"``. It is
          computed with channels last, and ``(N, D * h, *S)`` is a view of that, in the memory format ``torch.channels_last``: flatten
          it with :meth:`torch.Tensor.flatten` or ``reshape``, not ``view``. (A contiguous copy would take 5 .. 25 % of a training step.)
        - state: far faces, in the shapes of the near ones. Handed to the neighboring tile as its near faces, tile by tile gives what the
          whole image gives. c is float32 where the input has 16 bits.

    Attributes:
        weight_ih_l{l}{d}: ``(B h, C)`` for layer l, or ``(.., D h)`` (h if merged) above the first, B being the number of the cell's gates:
            3 + n, or 4 for ``"diagonal"``. The suffix d is empty for all forward, ``_reverse`` for n = 1 reverse, else for example ``_fr``.
        weight_hh_l{l}{d}: ``(B h, n h)``, axis 0's predecessor first.
        bias_l{l}{d}: ``(B h,)``.
        weight_peephole_l{l}{d}: ``(2n + 1, h)``, rows i of axis 0 .. n-1, f_0 .. f_{n-1}, o; with ``peephole``.
        weight_ch_l{l}{d}: ``(B h, n h)``; with ``extended``.

    Raises:
        ValueError: If shapes, dtypes, devices or options do not fit.
        TypeError: If an argument is of a wrong kind.

    Example:
        >>> output, state = SpatialLSTM(3, 8)(torch.zeros(2, 3, 16, 20))
        >>> output.shape
        torch.Size([2, 8, 16, 20])
    """

    # What runs the layers; a parallel style puts its own in this place.
    runner = staticmethod(run_layers)

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        channels_last: bool = False,
        dropout: float = 0.0,
        directions: str | Sequence[str] | None = None,
        *,
        spatial_dims: int = 2,
        cell: str = "spatial",
        peephole: bool = False,
        extended: bool = False,
        forget_bias: float | None = None,
        merge: str = "concat",
        recompute: bool = False,
        saved_gates: str | None = None,
        backend: str = "auto",
        tile: Sequence[int] | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        spatial_dims = as_positive_int("spatial_dims", spatial_dims)
        num_layers = as_positive_int("num_layers", num_layers)
        for name, flag in zip(FLAGS, (bias, channels_last, peephole, extended, recompute), strict=True):
            check_flag(name, flag)
        check_dtype(dtype)
        check_options(cell, peephole, extended, merge, backend)
        check_saved_gates(saved_gates, recompute)
        check_forget_bias(forget_bias, bias)
        extents = check_tile(tile, spatial_dims, backend)
        check_dropout(dropout)
        if dropout > 0 and num_layers == 1:
            warnings.warn(
                f"dropout acts between layers; dropout={dropout} does nothing with num_layers=1", stacklevel=2
            )
        self.input_size = as_positive_int("input_size", input_size)
        self.hidden_size = as_positive_int("hidden_size", hidden_size)
        self.num_layers = num_layers
        self.bias = bias
        self.channels_last = channels_last
        self.dropout = float(dropout)
        self.directions = parse_directions(directions, spatial_dims)
        self.spatial_dims = spatial_dims
        self.cell_type = cell
        self.peephole = peephole
        self.extended = extended
        self.forget_bias = forget_bias
        self.merge = merge
        self.recompute = recompute
        self.saved_gates = saved_gates
        self.backend = backend
        self.tile = extents
        register_flops()
        self._register(device, dtype)
        self.reset_parameters()

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take the state of a layer that was pickled whole; an option that came after 0.2.0 may not be there."""
        super().__setstate__({"saved_gates": None, **state})  # type: ignore[no-untyped-call]

    def _register(self, device: torch.device | str | None, dtype: torch.dtype | None) -> None:
        for layer in range(self.num_layers):
            for direction in self.directions:
                for name, shape in self._shapes(layer, self.directions).items():
                    parameter = nn.Parameter(torch.empty(shape, device=device, dtype=dtype))
                    self.register_parameter(_full_name(name, layer, direction), parameter)

    def _shapes(self, layer: int, directions: tuple[str, ...]) -> dict[str, tuple[int, ...]]:
        """The shapes of the weights that each of the ``directions`` of a layer has, by their short names."""
        above = self.hidden_size * (len(directions) if self.merge == "concat" else 1)
        inputs = above if layer else self.input_size
        shapes = weight_shapes(get_cell(self.cell_type), self.spatial_dims, inputs, self.hidden_size)
        if not self.bias:
            del shapes["bias"]
        if not self.peephole:
            del shapes["weight_peephole"]
        if not self.extended:
            del shapes["weight_ch"]
        return shapes

    def reset_parameters(self) -> None:
        r"""Draw the parameters anew so that c stays small on large grids.

        ``weight_ih`` from :math:`U(-1, 1) / \sqrt h`, ``weight_hh`` from :math:`U(-0.25, 0.25) / \sqrt h`, all else zero but for the
        forget gates' biases, which start at logit(0.9 / n), so that together they open to 0.9 (at 2 where there is one forget gate: n = 1,
        ``"stable"`` and ``"diagonal"``). Reason and figures: :mod:`spatial_lstm.modules.parameters`.

        Raises:
            RuntimeError: If a weight is no parameter, or has a parametrization without ``right_inverse``.
            ValueError: If ``forget_bias`` is no longer a number to start at.
            TypeError: If it is of a wrong kind.
        """
        check_forget_bias(self.forget_bias, self.bias)
        cell, axes = get_cell(self.cell_type), self.spatial_dims
        for layer in range(self.num_layers):
            for direction in self.directions:
                for name in self._shapes(layer, self.directions):
                    full_name = _full_name(name, layer, direction)
                    parameters.reset(self, full_name, name, cell, axes, self.hidden_size, self.forget_bias)

    def forward(
        self,
        input: Tensor,
        state: State | None = None,
        *,
        sizes: Tensor | Sequence[object] | None = None,
        tile: Sequence[int] | None = None,
    ) -> tuple[Tensor, State]:
        """Return output and far faces; see the class."""
        options = self._options(tile)
        between = self._drop if self.dropout > 0 and self.training else None
        output, (h, c) = self.runner(input, self._weights(options.directions), state, sizes, options, between)
        return output, State(h, c)

    def _options(self, tile: Sequence[int] | None) -> StackOptions:
        """The options as they are now, checked: attributes may have been changed since construction."""
        sizes = self.input_size, self.hidden_size, self.num_layers, self.spatial_dims
        for name, size in zip(("input_size", "hidden_size", "num_layers", "spatial_dims"), sizes, strict=True):
            if type(size) is not int or size < 1:  # four calls more, which a small call notices
                as_positive_int(name, size)
        flags: tuple[object, ...] = self.bias, self.channels_last, self.peephole, self.extended, self.recompute
        bias, last, peephole, extended, recompute = flags
        if not (type(bias) is type(last) is type(peephole) is type(extended) is type(recompute) is bool):  # likewise
            for name, flag in zip(FLAGS, flags, strict=True):
                check_flag(name, flag)
        if self.dropout != 0.0:
            check_dropout(self.dropout)
        check_options(self.cell_type, self.peephole, self.extended, self.merge, self.backend)
        check_saved_gates(self.saved_gates, self.recompute)
        directions = parse_directions(self.directions, self.spatial_dims)
        return StackOptions(
            directions,
            self.cell_type,
            self.merge,
            self.channels_last,
            self.recompute,
            self.saved_gates,
            self.backend,
            check_tile(self.tile if tile is None else tile, self.spatial_dims, self.backend),
        )

    def _weights(self, directions: tuple[str, ...]) -> list[Weights]:
        """Every layer's weights, checked; those of several directions stacked."""
        read = parameters.Reader(self)
        layers = []
        for layer in range(self.num_layers):
            found: dict[str, Tensor] = {}
            suffixes = [_suffix(layer, direction) for direction in directions]
            for name, shape in self._shapes(layer, directions).items():
                found[name] = read.stack([name + suffix for suffix in suffixes], shape)
            layers.append(Weights(**found))
        return layers

    def _drop(self, output: Tensor) -> Tensor:
        return functional.dropout(output, self.dropout, self.training)

    def cell(self, layer: int = 0, direction: str | None = None) -> SpatialLSTMCell:
        """Return a cell that computes one site of a layer and shares its parameters; None is the first direction.

        Raises:
            ValueError: If there is no such layer or direction.
            TypeError: If ``layer`` is no int.
        """
        directions = parse_directions(self.directions, self.spatial_dims)
        direction = directions[0] if direction is None else direction
        layer = as_int("layer", layer)
        if layer not in range(self.num_layers):
            raise ValueError(f"expected layer in 0 .. {self.num_layers - 1}, got {layer!r}")
        if direction not in directions:
            raise ValueError(f"expected direction to be one of {directions}, got {direction!r}")
        shapes, read = self._shapes(layer, directions), parameters.Reader(self)
        cell = SpatialLSTMCell(
            shapes["weight_ih"][1],
            self.hidden_size,
            self.bias,
            spatial_dims=self.spatial_dims,
            cell=self.cell_type,
            peephole=self.peephole,
            extended=self.extended,
            forget_bias=self.forget_bias,
            device="meta",
        )
        for name, shape in shapes.items():
            delattr(cell, name)  # a parametrized weight is a plain tensor, which could not replace a parameter
            setattr(cell, name, read(_full_name(name, layer, direction), shape))
        return cell.train(self.training)

    @classmethod
    def from_lstm(cls: type[Layer], lstm: nn.LSTM, *, channels_last: bool = True) -> Layer:  # noqa: PYI019  (Python 3.10 has no Self)
        """Return a 1-D layer that computes what ``lstm`` computes, with copies of its weights and its two biases summed.

        What is frozen stays frozen, and a parametrized weight is taken by its value. :class:`torch.nn.LSTM` takes ``(L, N, C)`` unless it
        has ``batch_first=True``; there is no such layout here, and a warning says so.

        Args:
            lstm: Any :class:`torch.nn.LSTM` without projections.
            channels_last: True for input ``(N, L, C)``, the layout of ``batch_first=True``; False for ``(N, C, L)``.

        Raises:
            TypeError: If ``lstm`` is no ``nn.LSTM``, or its weights are DTensors.
            ValueError: If it has projections (``proj_size``).
        """
        options = lstm_conversion.options_of(lstm, channels_last)
        like = next(lstm.parameters())
        layer = cls(lstm.input_size, lstm.hidden_size, **options, device=like.device, dtype=like.dtype)
        lstm_conversion.copy_from_lstm(lstm, layer)
        return layer.train(lstm.training)

    def to_lstm(self) -> nn.LSTM:
        """Return the :class:`torch.nn.LSTM` (``batch_first=True``) that computes what this layer computes, with copies of its weights.

        Raises:
            ValueError: If there is none: it takes one axis, a cell that is one there, and direction ``f``, alone or before ``r``.
            TypeError: If weights are DTensors.
        """
        if self.spatial_dims != 1 or not get_cell(self.cell_type).is_lstm or self.peephole:
            raise ValueError(f"expected one axis and a cell that is an LSTM there, without peepholes, got {self!r}")
        if tuple(self.directions) not in (("f",), ("f", "r")) or (self.bidirectional and self.merge != "concat"):
            raise ValueError(
                f"expected directions 'f', or 'f' and 'r' concatenated, got {self.directions}, {self.merge!r}"
            )
        like = next(self.parameters())
        lstm = nn.LSTM(
            self.input_size,
            self.hidden_size,
            self.num_layers,
            bias=self.bias,
            batch_first=True,
            dropout=self.dropout,
            bidirectional=self.bidirectional,
            device=like.device,
            dtype=like.dtype,
        )
        lstm_conversion.copy_to_lstm(self, lstm)
        return lstm.train(self.training)

    def flatten_parameters(self) -> None:
        """Do nothing: parameters are read where they are. For programs written for :class:`torch.nn.LSTM`."""

    @property
    def batch_first(self) -> bool:
        """True: N comes first in input and output, as in a :class:`torch.nn.LSTM` with ``batch_first=True``; in states it comes second."""
        return True

    @property
    def bidirectional(self) -> bool:
        """Whether there is more than one direction."""
        return len(self.directions) > 1

    def extra_repr(self) -> str:
        """What ``repr`` shows: sizes, and the options that are not the defaults."""
        shown: list[tuple[str, object, object]] = [
            ("num_layers", self.num_layers, 1),
            ("bias", self.bias, True),
            ("channels_last", self.channels_last, False),
            ("dropout", self.dropout, 0.0),
            ("directions", self.directions, ("f" * self.spatial_dims,)),
            ("spatial_dims", self.spatial_dims, 2),
            ("cell", self.cell_type, "spatial"),
            ("peephole", self.peephole, False),
            ("extended", self.extended, False),
            ("forget_bias", self.forget_bias, None),
            ("merge", self.merge, "concat"),
            ("recompute", self.recompute, False),
            ("saved_gates", self.saved_gates, None),
            ("backend", self.backend, "auto"),
            ("tile", self.tile, None),
        ]
        options = [f"{name}={value!r}" for name, value, default in shown if value != default]
        return ", ".join([str(self.input_size), str(self.hidden_size), *options])


def _full_name(name: str, layer: int, direction: str) -> str:
    """What a parameter is called: ``weight_ih_l0``, ``weight_ih_l0_reverse``, ``weight_ih_l0_fr``."""
    return name + _suffix(layer, direction)


def _suffix(layer: int, direction: str) -> str:
    if "r" not in direction:
        return f"_l{layer}"
    return f"_l{layer}_reverse" if direction == "r" else f"_l{layer}_{direction}"
