"""One layer's recurrence over all its directions, checked, in the packed layout that every kernel computes on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache

import torch
from torch import Tensor

from spatial_lstm.engine import modes
from spatial_lstm.engine.cells import Cell, get_cell
from spatial_lstm.engine.geometry import Grid, Plan, face_positions, make_plan, packing
from spatial_lstm.engine.idle import idle_axes, places
from spatial_lstm.engine.layout import parse_directions
from spatial_lstm.engine.tensors import Gradients, Tensors, state_dtype, weight_shapes

_C0 = Tensors._fields.index("c0")


class Problem:
    """What a kernel is given.

    Attributes:
        cell: The equations.
        grid: The sites and their directions.
        idle: Axes of the layer that the grid does not have; see :mod:`spatial_lstm.engine.idle`.
        tensors: All contiguous, of one device and one dtype (c0 of :func:`state_dtype`), in the shapes that cell and grid ask for, those
            of :class:`~spatial_lstm.engine.tensors.Tensors`. The weights have what belongs to idle axes, too, and may lack D.
        places: Where in the weights is what this takes.
        directions: Their number, D.
        axes: Number of spatial axes, n, without idle ones.
        blocks: Number of gate blocks that this takes, B.
        hidden: Number of features, h.
        dtype: In which h, gates and weights are stored.
        carried: In which c is carried.
    """

    def __init__(self, cell: Cell, grid: Grid, tensors: Tensors, idle: tuple[int, ...] = ()) -> None:
        self.cell, self.grid, self.tensors, self.idle = cell, grid, tensors, idle
        self.directions, self.axes = len(grid.directions), len(grid.extents)
        axes = self.axes + len(idle)
        self.hidden = int(tensors.weight_hh.shape[-1]) // axes
        self.places = places(cell, axes, idle, self.hidden)
        self.blocks = self.places.blocks
        self.dtype = tensors.x.dtype
        self.carried = state_dtype(self.dtype)
        self._plan: Plan | None = None

    def lean(self) -> Problem:
        """With x ``(R, C)``, the input at every raster row, and no more of the weights ``(D, ..)`` than this takes; differentiable."""
        x, *_, h0, c0 = full = self.tensors.with_directions()
        weights = self.places.take(full.weights) if self.idle else full.weights
        return Problem(self.cell, self.grid, Tensors(x.view(self.grid.raster_rows, x.shape[-1]), *weights, h0, c0))

    def of_lean(self, found: Gradients) -> Gradients:
        """Gradients that were found for :meth:`lean`, zero where the weights play no part."""
        if not self.idle:
            return found
        return Gradients(found.x, *self.places.put_back(found.weights), found.h0, found.c0)

    @property
    def plan(self) -> Plan:
        """The tables of the sites, for kernels that need them."""
        if self._plan is None:
            self._plan = make_plan(self.grid, self.tensors.x.device)
        return self._plan

    def new_table(self, dtype: torch.dtype, faces: Tensor | None) -> Tensor:
        """An uninitialized state table ``(D, M + E, h)`` whose near-face rows are filled."""
        table = self.tensors.x.new_empty((self.directions, self.plan.table_rows, self.hidden), dtype=dtype)
        self.fill_faces(table, faces)
        return table

    def fill_faces(self, table: Tensor, faces: Tensor | None) -> None:
        """Write the near-face rows of a state table, from flattened ``faces`` ``(D, F, h)`` or zeros."""
        rows = table[:, self.plan.sites :]
        near = packing.near_faces(self.plan, faces)
        rows.zero_() if near is None else rows.copy_(near)


def grid_of(x: Tensor, sizes: Tensor | None, directions: str, idle: tuple[int, ...] = ()) -> Grid:
    """The grid of input ``(N, *S, C)``, each image of its own ``sizes`` where given, without ``idle`` axes.

    Raises:
        ValueError: If there is no site, a direction does not fit, or sizes are no ``(N, n)`` int64 within the input's extents.
    """
    whole = tuple(map(int, x.shape[:-1]))
    if len(whole) < 2 or 0 in whole:
        raise ValueError(f"expected x of shape (N, *S, C) with at least one site, got {tuple(x.shape)}")
    if sizes is None:
        return _dense_grid(whole, directions, idle)
    batch, *extents = whole
    shape = (batch, len(extents))
    if sizes.shape != shape or sizes.dtype != torch.int64:
        raise ValueError(f"expected sizes of shape {shape} and torch.int64, got {tuple(sizes.shape)} and {sizes.dtype}")
    return Grid(batch, extents, _parse(directions, len(extents)), sizes.tolist(), idle)


@lru_cache(maxsize=256)
def _dense_grid(whole: tuple[int, ...], directions: str, idle: tuple[int, ...]) -> Grid:
    batch, *extents = whole
    return Grid(batch, extents, _parse(directions, len(extents)), None, idle)


@lru_cache(maxsize=256)
def _parse(directions: str, axes: int) -> tuple[str, ...]:
    return parse_directions(directions.split(","), axes)


def make_problem(
    tensors: Tensors,
    sizes: Tensor | None,
    directions: str,
    cell: str,
    *,
    checked: bool = False,
    as_rows: Callable[[Tensor], Tensor] = Tensor.contiguous,
) -> Problem:
    """Check one layer's tensors and bring them into the packed layout: the one way to a kernel, whoever calls.

    Args:
        tensors: What the layer computes from.
        sizes: ``(N, n)`` int64, each image's own extent, or None.
        directions: Strings of ``f`` and ``r``, separated by commas.
        cell: Name of the cell.
        checked: Whether the tensors are known to pass :func:`check_tensors`, as those that :mod:`spatial_lstm.engine.stack` hands on do.
        as_rows: What makes x contiguous, once all is known to fit.

    Raises:
        ValueError: If a tensor has not the shape, dtype, device or layout that the cell and the other tensors ask for.
    """
    found = get_cell(cell)
    idle = idle_axes(found, tensors)
    grid = grid_of(tensors.x, sizes, directions, idle)
    if not checked:
        check_tensors(found, tensors, grid.directions)
    return Problem(found, grid, contiguous(tensors, as_rows), idle)


def check_memory(tensors: Mapping[str, Tensor]) -> None:
    """Refuse tensors whose storage somebody has freed, as FSDP frees what it can gather again: torch copies one without looking.

    Args:
        tensors: By name.

    Raises:
        RuntimeError: If there is one.
    """
    for name, tensor in tensors.items():
        if modes.freed(tensor):
            raise RuntimeError(
                f"expected {name} of shape {tuple(tensor.shape)} to have memory, got one whose storage was freed"
            )


def contiguous(tensors: Tensors, as_rows: Callable[[Tensor], Tensor] = Tensor.contiguous) -> Tensors:
    """Each as it is, or a contiguous copy, of x by ``as_rows``."""
    others = [None if tensor is None else tensor.contiguous() for tensor in tensors[1:]]
    return Tensors._make([as_rows(tensors.x), *others])


def check_tensors(cell: Cell, tensors: Tensors, directions: Sequence[str]) -> None:
    """Refuse tensors that do not fit ``cell`` and one another; x and ``weight_hh`` say how many axes and features there are."""
    x, weight_hh, count = tensors.x, tensors.weight_hh, len(directions)
    axes = x.ndim - 2
    if axes < 1 or not x.is_floating_point():
        raise ValueError(f"expected x of shape (N, *S, C) and a floating dtype, got {tuple(x.shape)} and {x.dtype}")
    # Parameters of one direction need not have a dimension for it.
    lead = () if count == 1 and tensors.weight_ih.ndim == 2 else (count,)
    hidden = weight_hh.shape[-1] // axes if weight_hh.ndim == len(lead) + 2 else 0
    if hidden < 1:
        raise ValueError(f"expected weight_hh of shape (D, B h, {axes} h), got {tuple(weight_hh.shape)}")
    dtype, device = x.dtype, x.device
    shapes: list[tuple[int, ...]] = [
        (*lead, *shape) for shape in weight_shapes(cell, axes, x.shape[-1], hidden).values()
    ]
    if tensors.h0 is not None or tensors.c0 is not None:
        shapes += [(count, face_positions(x.shape[0], x.shape[1:-1])[-1], hidden)] * 2
    for place, (tensor, shape) in enumerate(zip(tensors[1:], shapes, strict=False), 1):
        if tensor is None:
            continue
        if tensor.shape != shape:
            raise ValueError(
                f"expected {Tensors._fields[place]} of shape {shape} for cell {cell.name!r}, {axes} axes and {hidden} features, "
                f"got {tuple(tensor.shape)}"
            )
        own = dtype if place < _C0 else state_dtype(dtype)
        if tensor.dtype != own or tensor.device != device or tensor.layout != torch.strided:
            raise ValueError(
                f"expected {Tensors._fields[place]} of dtype {own} and layout torch.strided on {device}, as the input asks for, "
                f"got {tensor.dtype} and {tensor.layout} on {tensor.device}"
            )
    if tensors.weight_peephole is not None and not cell.takes_peephole:
        raise ValueError(f"expected no weight_peephole with cell {cell.name!r}, got one")
    if tensors.weight_ch is not None and not cell.takes_extended:
        raise ValueError(f"expected no weight_ch with cell {cell.name!r}, got one")
