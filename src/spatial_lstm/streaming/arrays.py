"""Fields that slice like arrays: what they must be, and their tiles as tensors."""

from __future__ import annotations

import hashlib
import mmap
import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Window = tuple[slice, ...]

# How fields in between are stored: as what the layer computes in, or as the next wider type that NumPy has.
STORED = {
    torch.float16: np.float16,
    torch.bfloat16: np.float32,
    torch.float32: np.float32,
    torch.float64: np.float64,
}


class Field:
    """A field ``(C, *S)`` in anything that slices like an array.

    Args:
        name: What it is called in errors.
        array: A NumPy array or memory map, a zarr array, an h5py data set, a tensor on the CPU, ...; has a ``shape``.

    Raises:
        TypeError: If it has no shape, or holds no numbers.
    """

    def __init__(self, name: str, array: Any) -> None:
        if isinstance(array, Tensor):
            array = _memory_of(name, array)
        shape = getattr(array, "shape", None)
        if not isinstance(shape, tuple) or not hasattr(array, "__getitem__"):
            raise TypeError(f"expected {name} to slice like an array and have a shape, got {type(array).__name__}")
        self.name, self.array = name, array
        self.shape = tuple(map(int, shape))
        self.dtype = np.dtype(getattr(array, "dtype", np.float32))
        if self.dtype.kind not in "biuf":
            raise TypeError(f"expected {name} to hold real numbers, got {self.dtype}")

    def read(self, window: Window, like: Tensor) -> Tensor:
        """A window ``(C', *T)`` in the dtype and on the device of ``like``."""
        block = self._block(window).astype(STORED[like.dtype], copy=True)  # read-only memory cannot become a tensor
        return torch.from_numpy(np.ascontiguousarray(block)).to(like)

    def write(self, window: Window, values: Tensor) -> None:
        """Put values ``(C', *T)`` into a window, rounded to what the field holds."""
        values = values.float() if values.dtype == torch.bfloat16 else values
        self.array[window] = values.cpu().numpy().astype(self.dtype, copy=False)

    def digest(self, window: Window) -> str:
        """What tells this window's content from others."""
        return hashlib.sha256(np.ascontiguousarray(self._block(window)).tobytes()).hexdigest()

    def _block(self, window: Window) -> npt.NDArray[Any]:
        found = self.array[window]
        if np.ma.is_masked(found):
            raise ValueError(f"expected {self.name} to have a value everywhere, got masked values: fill them first")
        block = np.asarray(found)
        expected = tuple(at.stop - at.start for at in window)
        if block.shape != expected:
            raise ValueError(f"expected a slice of {self.name} to have shape {expected}, got {block.shape}")
        return block

    def flush(self) -> None:
        """Let what was written reach the disk, where there is a way to say so."""
        for owner in (self.array, getattr(self.array, "file", None)):
            flush = getattr(owner, "flush", None)
            if callable(flush):
                flush()
                return

    def forget(self) -> None:
        """Take a memory map's pages out of this process's memory; they stay in the file. Those of a private copy are left."""
        mapping = _mapping(self.array)
        if mapping is not None and self.array.mode != "c" and hasattr(mmap, "MADV_DONTNEED"):
            mapping.madvise(mmap.MADV_DONTNEED)

    @property
    def file(self) -> Path | None:
        """The file or folder that it lies in, with its place within appended; None if that cannot be told."""
        array = self.array
        if isinstance(array, np.memmap):
            return None if array.filename is None else Path(os.fspath(array.filename))
        store = getattr(array, "store", None)
        owners = [(getattr(array, "file", None), "filename"), (store, "root"), (store, "path")]  # h5py, zarr 3, zarr 2
        for owner, name in owners:
            found = getattr(owner, name, None)
            if isinstance(found, (str, os.PathLike)):
                place = str(getattr(array, "name", None) or getattr(array, "path", "")).strip("/").replace("/", ".")
                path = Path(os.fspath(found))
                return path.with_name(f"{path.name}.{place}") if place else path
        return None


def check_source(source: Field, channels: int, axes: int) -> None:
    """Refuse a source that is not ``(channels, *S)``."""
    shape = source.shape
    if len(shape) != axes + 1 or shape[0] != channels or min(shape) < 1:
        raise ValueError(
            f"expected source of shape ({channels}, *S) with {axes} spatial axes, all positive, got {shape}"
        )


def check_sink(sink: Field, source: Field, channels: int) -> None:
    """Refuse a sink that has not the source's extents and the output's channels, holds no floats, or cannot be written."""
    expected = (channels, *source.shape[1:])
    if sink.shape != expected:
        raise ValueError(f"expected sink of shape {expected}, got {sink.shape}")
    if sink.dtype.kind != "f":
        raise ValueError(f"expected sink to hold floats, got {sink.dtype}")
    if not hasattr(sink.array, "__setitem__") or (
        isinstance(sink.array, np.ndarray) and not sink.array.flags.writeable
    ):
        raise ValueError("expected sink to be writable, got one that is read-only")
    if isinstance(sink.array, np.ndarray) and any(
        step == 0 and extent > 1 for step, extent in zip(sink.array.strides, sink.shape, strict=True)
    ):
        raise ValueError("expected sink to have a place for every value, got one that is expanded")
    if _overlap(source.array, sink.array) or _same_place(source, sink):
        raise ValueError("expected source and sink to be different memory, got the same: later passes read the source")


def _same_place(a: Field, b: Field) -> bool:
    """Whether two fields that are no arrays in memory are one in a store, opened twice."""
    in_memory = isinstance(a.array, np.ndarray) or isinstance(b.array, np.ndarray)
    return not in_memory and a.file is not None and a.file == b.file


def _overlap(a: Any, b: Any) -> bool:
    if a is b:
        return True
    if not isinstance(a, np.ndarray) or not isinstance(b, np.ndarray):
        return False
    if np.may_share_memory(a, b):
        return True
    one, two = _extent(a), _extent(b)
    if one is None or two is None or _mapping(a) is _mapping(b):
        return False
    return one[0] == two[0] and one[1] < two[2] and two[1] < one[2]


def _mapping(array: Any) -> mmap.mmap | None:
    """What a NumPy memory map maps by."""
    mapping = getattr(array, "_mmap", None)
    return mapping if isinstance(mapping, mmap.mmap) else None


def _extent(array: npt.NDArray[Any]) -> tuple[Path, int, int] | None:
    """The file that a memory map lies in, and where in it; of a view, whose ``offset`` is that of the whole map, where the view is."""
    mapping = _mapping(array)
    if not isinstance(array, np.memmap) or array.filename is None or mapping is None:
        return None
    start = np.frombuffer(mapping, np.uint8).ctypes.data
    first = array.offset - array.offset % mmap.ALLOCATIONGRANULARITY  # where in the file that lies
    steps = [(extent - 1) * stride for extent, stride in zip(array.shape, array.strides, strict=True)]
    place = first + array.ctypes.data - start
    ends = place + sum(step for step in steps if step < 0), place + sum(step for step in steps if step > 0)
    return Path(os.fspath(array.filename)).resolve(), ends[0], ends[1] + array.itemsize


def _memory_of(name: str, tensor: Tensor) -> npt.NDArray[Any]:
    if tensor.device.type != "cpu" or tensor.layout != torch.strided or tensor.dtype == torch.bfloat16:
        raise TypeError(
            f"expected {name} to be dense, on the CPU and of a dtype that NumPy has, "
            f"got {tensor.dtype} and {tensor.layout} on {tensor.device}"
        )
    return tensor.detach().numpy()
