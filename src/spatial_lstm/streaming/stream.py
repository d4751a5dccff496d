"""A field on disk through a layer."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from spatial_lstm.arguments import check_flag
from spatial_lstm.engine import TileGrid, Weights, check_tile
from spatial_lstm.modules import SpatialLSTM
from spatial_lstm.progress import Bar
from spatial_lstm.streaming.arrays import Field, check_sink, check_source
from spatial_lstm.streaming.course import Course
from spatial_lstm.streaming.journal import Journal
from spatial_lstm.streaming.workspace import open_workspace


def stream(
    layer: SpatialLSTM,
    source: Any,
    sink: Any,
    *,
    tile: Sequence[int],
    progress: bool = False,
    resume: bool = False,
    folder: str | os.PathLike[str] | None = None,
) -> None:
    """Run a layer over a field that memory need not hold: tiles are read from ``source``, and their outputs written into ``sink``.

    Each layer goes through the field once for each direction, from that direction's corner. Memory holds one tile and the faces along one
    row of tiles, whatever the field's size. What several layers have in between lies on disk, and so do the outputs of single directions
    where the layer merges them by ``"sum"`` or ``"mean"``; both are deleted when they have served.

    Values are read in the layer's dtype, whatever the source's, without scaling; and written in the sink's. The layer's ``channels_last``
    plays no part. Nothing is recorded for gradients.

    Args:
        layer: What runs, on any device.
        source: ``(C, *S)`` real numbers in anything that has a ``shape`` and slices like an array: a NumPy array or memory map, a zarr
            array, an h5py data set. It is only read.
        sink: ``(D h, *S)``, or h where the layer merges directions, of floats; takes slices.
        tile: n extents of a tile.
        progress: Show a bar on a terminal (needs tqdm).
        resume: Go on where an interrupted run with the same arguments ended, if there was one; the result is the same to the bit.
        folder: Where fields in between and the journal of the run lie. None for a folder beside the sink's file, ``<file>.stream``, if it
            has one, else a temporary one, from which no run can be resumed.

    Raises:
        TypeError: If an argument is of a wrong kind.
        ValueError: If shapes, types or options do not fit, the layer has forward hooks, source and sink are the same memory, ``folder`` has
            files of others that a run would overwrite, or the run to be resumed had another layer, weights, tile or data.
    """
    _check_layer(layer)
    for name, flag in (("progress", progress), ("resume", resume)):
        check_flag(name, flag)
    extents = check_tile(tile, layer.spatial_dims, "auto")
    if extents is None:
        raise TypeError(f"expected tile to be a tuple of {layer.spatial_dims} ints, got None")
    given, taken = Field("source", source), Field("sink", sink)
    check_source(given, layer.input_size, layer.spatial_dims)
    check_sink(taken, given, _width(layer))
    with open_workspace(taken, None if folder is None else Path(folder)) as (space, stays), torch.inference_mode():
        if resume and not stays:
            raise ValueError("expected folder=.. to resume a run into a sink that lies in no file of its own, got None")
        journal = Journal(space.journal if stays else None, _about(layer, given, taken, extents))
        begun = journal.read() if resume else None
        if begun is None:
            space.begin()
            journal.remove()
        course = Course(layer, given, taken, TileGrid(given.shape[1:], extents), space, journal)
        try:
            with Bar(course.tiles, unit="tile", shown=progress) as bar:
                course.run(begun, bar.move_to)
        except BaseException:
            journal.write()
            raise
        space.close()


def _check_layer(layer: object) -> None:
    """Refuse what is no layer, and layers whose call does more than the cells that run here: drop, call hooks, compute something else."""
    if not isinstance(layer, SpatialLSTM):
        raise TypeError(f"expected layer to be a SpatialLSTM, got {type(layer).__name__}")
    if layer.directions != layer._options(None).directions:  # all options are checked, as a call checks them
        raise TypeError(f"expected layer.directions to be a tuple of strings, got {layer.directions!r}")
    if layer.training and layer.dropout > 0 and layer.num_layers > 1:
        raise ValueError("expected a layer that draws no dropout, got one in training mode: call layer.eval() first")
    if layer._forward_hooks or layer._forward_pre_hooks:
        raise ValueError("expected a layer without forward hooks, which are not called on tiles, got one that has some")
    if type(layer).forward is not SpatialLSTM.forward:
        raise TypeError(f"expected a layer with SpatialLSTM's own forward, got {type(layer).__name__} with another")


def _width(layer: SpatialLSTM) -> int:
    """Channels of the layer's output."""
    return layer.hidden_size * (len(layer.directions) if layer.merge == "concat" else 1)


def _about(layer: SpatialLSTM, source: Field, sink: Field, tile: tuple[int, ...]) -> dict[str, str]:
    """What a run and the one that goes on from it have in common, by what it is called."""
    digest = hashlib.sha256()
    for depth in range(layer.num_layers):
        for direction in layer.directions:
            cell = layer.cell(depth, direction)
            weights = (getattr(cell, name) for name in Weights._fields)  # no parameters, where they are parametrized
            for weight in (weight for weight in weights if weight is not None):
                digest.update(weight.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
    return {
        "layer": f"{layer!r} with weights {digest.hexdigest()[:16]}",
        "tile": str(tile),
        "source": f"{source.shape}, {source.dtype}",
        "sink": f"{sink.shape}, {sink.dtype}",
    }
