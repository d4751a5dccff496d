"""One layer's recurrence over all its directions, checked, in the packed layout that every kernel computes on."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from spatial_lstm.engine.cells import Cell, get_cell
from spatial_lstm.engine.geometry import Plan, face_positions, make_plan, packing
from spatial_lstm.engine.layout import parse_directions
from spatial_lstm.engine.tensors import Tensors, state_dtype, weight_shapes


@dataclass(frozen=True)
class Problem:
    """What a kernel is given.

    Attributes:
        cell: The equations.
        plan: The order of the sites.
        tensors: All contiguous, of one device and one dtype (c0 of :func:`state_dtype`), in the shapes that cell and plan ask for:
            x ``(R, C)``, the input at every raster row; h0 and c0 ``(D, E, h)``, the near faces in the plan's order; the weights as in
            :class:`~spatial_lstm.engine.tensors.Weights`.
    """

    cell: Cell
    plan: Plan
    tensors: Tensors

    @property
    def directions(self) -> int:
        """Number of directions, D."""
        return self.plan.directions

    @property
    def axes(self) -> int:
        """Number of spatial axes, n."""
        return self.plan.axes

    @property
    def blocks(self) -> int:
        """Number of gate blocks, B."""
        return self.cell.blocks(self.axes)

    @property
    def hidden(self) -> int:
        """Number of features, h."""
        return self.tensors.weight_hh.shape[2] // self.axes

    @property
    def dtype(self) -> torch.dtype:
        """In which h, gates and weights are stored."""
        return self.tensors.x.dtype

    @property
    def carried(self) -> torch.dtype:
        """In which c is carried."""
        return state_dtype(self.dtype)

    def new_table(self, dtype: torch.dtype, faces: Tensor | None) -> Tensor:
        """An uninitialized state table ``(D, M + E, h)`` whose near-face rows are filled."""
        table = self.tensors.x.new_empty((self.directions, self.plan.table_rows, self.hidden), dtype=dtype)
        self.fill_faces(table, faces)
        return table

    def fill_faces(self, table: Tensor, faces: Tensor | None) -> None:
        """Write the near-face rows of a state table: ``faces`` ``(D, E, h)``, or zeros."""
        rows = table[:, self.plan.sites :]
        rows.zero_() if faces is None else rows.copy_(faces)


def plan_for(x: Tensor, sizes: Tensor | None, directions: str) -> Plan:
    """The plan of input ``(N, *S, C)``, each image of its own ``sizes`` where given."""
    own = None if sizes is None else sizes.tolist()
    return make_plan(x.shape[0], x.shape[1:-1], directions.split(","), own, x.device)


def make_problem(tensors: Tensors, sizes: Tensor | None, directions: str, cell: str) -> Problem:
    """Check one layer's tensors and bring them into the packed layout: the one way to a kernel, whoever calls.

    Raises:
        ValueError: If a tensor has not the shape, dtype, device or layout that the cell and the other tensors ask for.
    """
    found = get_cell(cell)
    check_tensors(found, tensors, directions.split(","))
    check_size_table(sizes, tensors.x)
    plan = plan_for(tensors.x, sizes, directions)
    packed = Tensors(**{name: tensor.contiguous() for name, tensor in tensors.present().items()})
    return Problem(
        found,
        plan,
        packed._replace(
            x=packed.x.flatten(0, -2),
            h0=packing.near_faces(plan, packed.h0),
            c0=packing.near_faces(plan, packed.c0),
        ),
    )


def check_size_table(sizes: Tensor | None, x: Tensor) -> None:
    """Refuse sizes that are no ``(N, n)`` int64; their values are checked where the plan is made."""
    shape = (x.shape[0], x.ndim - 2)
    if sizes is not None and (tuple(sizes.shape) != shape or sizes.dtype != torch.int64):
        raise ValueError(f"expected sizes of shape {shape} and torch.int64, got {tuple(sizes.shape)} and {sizes.dtype}")


def check_tensors(cell: Cell, tensors: Tensors, directions: list[str]) -> None:
    """Refuse tensors that do not fit ``cell`` and one another; x and ``weight_hh`` say how many axes and features there are."""
    x, weight_hh = tensors.x, tensors.weight_hh
    axes = x.ndim - 2
    if axes < 1 or not x.is_floating_point():
        raise ValueError(f"expected x of shape (N, *S, C) and a floating dtype, got {tuple(x.shape)} and {x.dtype}")
    count = len(parse_directions(directions, axes))
    hidden = weight_hh.shape[2] // axes if weight_hh.ndim == 3 else 0
    if hidden < 1:
        raise ValueError(f"expected weight_hh of shape (D, B h, {axes} h), got {tuple(weight_hh.shape)}")
    shapes = {name: (count, *shape) for name, shape in weight_shapes(cell, axes, x.shape[-1], hidden).items()}
    faces = (count, face_positions(x.shape[0], x.shape[1:-1])[-1], hidden)
    shapes |= {"x": tuple(x.shape), "h0": faces, "c0": faces}
    for name, tensor in tensors.present().items():
        if tuple(tensor.shape) != shapes[name]:
            raise ValueError(
                f"expected {name} of shape {shapes[name]} for cell {cell.name!r}, {axes} axes and {hidden} features, "
                f"got {tuple(tensor.shape)}"
            )
        dtype = state_dtype(x.dtype) if name == "c0" else x.dtype
        if tensor.dtype != dtype or tensor.device != x.device or tensor.layout != torch.strided:
            raise ValueError(
                f"expected {name} of dtype {dtype} and layout torch.strided on {x.device}, as the input asks for, "
                f"got {tensor.dtype} and {tensor.layout} on {tensor.device}"
            )
    if tensors.weight_peephole is not None and not cell.takes_peephole:
        raise ValueError(f"expected no weight_peephole with cell {cell.name!r}, got one")
    if tensors.weight_ch is not None and not cell.takes_extended:
        raise ValueError(f"expected no weight_ch with cell {cell.name!r}, got one")
