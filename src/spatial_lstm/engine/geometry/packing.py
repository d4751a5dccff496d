"""Between the layouts that users see and the packed layout; all gathers, differentiable where autograd is to see them.

With D directions, M sites, R raster rows, E near-face entries and P = M + E table rows. Faces travel *flattened*: for one direction the
n faces ``(N, *S without k, h)``, one after the other, as F rows.
"""

from __future__ import annotations

from torch import Tensor

from spatial_lstm.engine.geometry.plan import Plan
from spatial_lstm.engine.geometry.rows import ROWS, Rows


def near_faces(plan: Plan, faces: Tensor | None) -> Tensor | None:
    """Flattened faces ``(D, F, h)`` to near-face rows ``(D, E, h)``."""
    if faces is None:
        return None
    return faces.flatten(0, 1).index_select(0, plan.near_rows).reshape(plan.directions, plan.edges, faces.shape[-1])


def near_faces_backward(plan: Plan, grad: Tensor) -> Tensor:
    """Gradient of :func:`near_faces`: ``(D, E, h)`` to ``(D, F, h)``."""
    faces = grad.new_zeros((plan.directions * plan.face_rows, grad.shape[-1]))
    faces.index_copy_(0, plan.near_rows, grad.flatten(0, 1))
    return faces.view(plan.directions, plan.face_rows, grad.shape[-1])


def output(plan: Plan, table: Tensor, rows_of: Rows = ROWS) -> Tensor:
    """A state table ``(D, P, h)`` to raster rows ``(R, D, h)``, zero in the padding."""
    shape = (plan.raster_rows, plan.directions, table.shape[-1])
    rows = rows_of.take(table.flatten(0, 1), plan.output_rows).reshape(shape)
    return rows if plan.padding is None else rows.masked_fill(plan.padding[:, None, None], 0)


def output_backward(plan: Plan, rows: Tensor, rows_of: Rows = ROWS) -> Tensor:
    """Raster rows ``(R, D, h)`` to sites ``(D, M, h)``: the inverse and the gradient of :func:`output`."""
    shape = (plan.directions, plan.sites, rows.shape[-1])
    return rows_of.take(rows.flatten(0, 1), plan.site_rows).reshape(shape)


def sites_of_output(plan: Plan, rows: Tensor, table: Tensor, rows_of: Rows = ROWS) -> None:
    """Fill the sites of a state table ``(D, P, h)`` from raster rows ``(R * D, h)``; not differentiable."""
    for site_rows, sites in zip(plan.site_rows.split(plan.sites), table, strict=True):
        rows_of.take(rows, site_rows, sites[: plan.sites])


def far_faces(plan: Plan, table: Tensor) -> Tensor:
    """A state table ``(D, P, h)`` to flattened far faces ``(D, F, h)``, zero beyond each image's extents."""
    shape = (plan.directions, plan.face_rows, table.shape[-1])
    faces = table.flatten(0, 1).index_select(0, plan.far_rows).reshape(shape)
    return faces if plan.face_padding is None else faces.masked_fill(plan.face_padding[:, None], 0)


def far_faces_backward_(plan: Plan, sites: Tensor, grad: Tensor) -> None:
    """Add the gradient ``(D, F, h)`` of :func:`far_faces` to ``sites`` ``(D, M, h)``; one axis at a time, so repeatable."""
    flat, grad = sites.flatten(0, 1), grad.flatten(0, 1)
    for rows, slots in plan.far_entries:
        flat.index_add_(0, rows, grad.index_select(0, slots).to(flat.dtype))


def input_of_sites(plan: Plan, x: Tensor, rows_of: Rows = ROWS) -> Tensor:
    """Raster rows ``(R, C)`` to what each site is given, ``(D, M, C)``."""
    return rows_of.take(x, plan.site.reshape(-1)).view(plan.directions, plan.sites, x.shape[-1])


def input_backward(plan: Plan, grad: Tensor, rows_of: Rows = ROWS) -> Tensor:
    """Gradient ``(D, M, C)`` of the gathered input to the raster rows ``(R, C)``, summed over directions."""
    shape = (plan.raster_rows, plan.directions, grad.shape[-1])
    rows = rows_of.take(grad.flatten(0, 1), plan.input_rows).reshape(shape).sum(1)
    return rows if plan.padding is None else rows.masked_fill_(plan.padding[:, None], 0)
