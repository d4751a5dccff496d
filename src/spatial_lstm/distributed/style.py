"""The parallel style: a layer computes a field that is split over the ranks of a mesh."""

from __future__ import annotations

import math
from datetime import timedelta

from torch import distributed, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor.parallel import ParallelStyle

from spatial_lstm.arguments import as_int, as_positive_int, check_flag
from spatial_lstm.distributed.run import SplitRun
from spatial_lstm.modules import SpatialLSTM


class SpatialParallel(ParallelStyle):
    """Splits the field that a :class:`~spatial_lstm.SpatialLSTM` reads along one of its axes over the ranks of a one-dimensional mesh.

    The results are those of one process that has it all. Each rank holds its part of input and output; it computes block after block,
    handing faces to its neighbors as they are done, so that all ranks work at once.

    Every rank has all parameters of the layer, from the start those of the first. Their gradients are summed over the mesh in the
    backward pass, so the loss is meant to be the sum of what the ranks' own parts give: a mean over the field is each rank's sum over the
    field's size. Over another dimension of the mesh ``DistributedDataParallel`` and ``fully_shard`` average as ever.

    Args:
        axis: The spatial axis that is split, 0 .. n - 1, or from the end -n .. -1; n is at least 2.
        blocks: Into how many blocks each part is cut, along the longest other axis; None to choose by
            :mod:`spatial_lstm.distributed.cost`.
        recompute: Keep faces alone between blocks, and compute each block anew in the backward pass: less memory, more time. It takes the
            place of ``torch.utils.checkpoint``, around which the layer is right but keeps what its blocks keep.
        timeout: Seconds to wait for a neighbor at most; None for the process group's own. Under NCCL the group's own holds always.

    Inputs: input, state
        As the layer's own. ``input`` is this rank's part, which may be smaller or larger than others', and empty; or a
        :class:`torch.distributed.tensor.DTensor` of that mesh, ``Shard`` along the axis. In ``state``, faces are those of the part. The
        near face of the split axis is read where a direction enters the field, on the first rank or the last. ``sizes`` are not taken.

    Outputs: output, state
        The part's output, a DTensor if the input is one, and the part's far faces: along the split axis, what was handed on.

    Raises:
        ValueError: If an option is out of range.
        TypeError: If it is of a wrong kind.

    Example:
        >>> mesh = init_device_mesh("cpu", (2,))  # doctest: +SKIP
        >>> layer = parallelize_module(SpatialLSTM(3, 8), mesh, SpatialParallel(axis=-1))  # doctest: +SKIP
        >>> output, state = layer(part)  # doctest: +SKIP
    """

    def __init__(
        self, axis: int = -1, blocks: int | None = None, *, recompute: bool = False, timeout: float | None = None
    ) -> None:
        super().__init__()
        self.axis = as_int("axis", axis)
        self.blocks = None if blocks is None else as_positive_int("blocks", blocks)
        check_flag("recompute", recompute)
        if timeout is not None and not 0 < timeout < math.inf:
            raise ValueError(f"expected timeout to be a positive number of seconds or None, got {timeout}")
        self.recompute = recompute
        self.timeout = None if timeout is None else timedelta(seconds=timeout)

    def _apply(self, module: nn.Module, device_mesh: DeviceMesh) -> nn.Module:
        if not isinstance(module, SpatialLSTM):
            raise TypeError(f"expected a SpatialLSTM to run in parallel, got {type(module).__name__}")
        axes = module.spatial_dims
        if axes < 2:
            raise ValueError(f"expected a layer of 2 or more axes, one to split and one to cut into blocks, got {axes}")
        if not -axes <= self.axis < axes:
            raise ValueError(f"expected axis in {-axes} .. {axes - 1}, got {self.axis}")
        if device_mesh.ndim != 1:
            raise ValueError(f"expected one dimension of a mesh, such as mesh['field'], got {device_mesh}")
        self._copy_from_first(module, device_mesh)
        module.runner = SplitRun(device_mesh, self.axis % axes, self.blocks, self.recompute, self.timeout)
        return module

    def _copy_from_first(self, module: nn.Module, mesh: DeviceMesh) -> None:
        """Give all ranks the parameters of one, as other styles do; which one ``parallelize_module`` says, None for no one."""
        source: int | None = getattr(self, "src_data_rank", 0)  # torch 2.6 cannot say
        if source is None or mesh.size() == 1:
            return
        group = mesh.get_group()
        for parameter in module.parameters():
            if not parameter.is_meta:
                distributed.broadcast(parameter.detach(), group=group, group_src=source)
