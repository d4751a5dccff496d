"""From :class:`torch.nn.LSTM` and back."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from spatial_lstm.engine import get_cell

if TYPE_CHECKING:
    from spatial_lstm.modules.layer import SpatialLSTM


def options_of(lstm: object, channels_last: bool) -> dict[str, Any]:
    """The options of the layer that computes what ``lstm`` computes.

    Raises:
        TypeError: If ``lstm`` is no ``nn.LSTM``.
        ValueError: If it has projections.
    """
    if not isinstance(lstm, nn.LSTM):
        raise TypeError(f"expected an nn.LSTM, got {type(lstm).__name__}")
    if lstm.proj_size:
        raise ValueError(f"expected an nn.LSTM without projections, got proj_size={lstm.proj_size}")
    if not lstm.batch_first:
        layout = "(N, L, C)" if channels_last else "(N, C, L)"
        warnings.warn(
            f"this nn.LSTM takes (L, N, C), as batch_first=False; the new layer takes {layout}: transpose its input and output",
            stacklevel=3,
        )
    return {
        "num_layers": lstm.num_layers,
        "bias": bool(lstm.bias),
        "channels_last": channels_last,
        "dropout": lstm.dropout if lstm.num_layers > 1 else 0.0,
        "directions": "all" if lstm.bidirectional else None,
        "spatial_dims": 1,
        "cell": "graves",
    }


def copy_from(lstm: nn.LSTM, layer: SpatialLSTM) -> None:
    """Copy the weights, and whether they are to be trained."""
    for name, parameter in layer.named_parameters():
        suffix = name.removeprefix("bias")
        names = [name] if suffix == name else [f"bias_ih{suffix}", f"bias_hh{suffix}"]
        sources: list[Tensor] = [getattr(lstm, each) for each in names]
        with torch.no_grad():
            parameter.copy_(sum(sources[1:], sources[0]))
        parameter.requires_grad_(any(source.requires_grad for source in sources))


def to_lstm(layer: SpatialLSTM) -> nn.LSTM:
    """See :meth:`spatial_lstm.SpatialLSTM.to_lstm`."""
    cell = get_cell(layer.cell_type)
    if layer.spatial_dims != 1 or not cell.is_lstm or layer.peephole:
        raise ValueError(f"expected one axis and a cell that is an LSTM there, without peepholes, got {layer!r}")
    if tuple(layer.directions) not in (("f",), ("f", "r")) or (layer.bidirectional and layer.merge != "concat"):
        raise ValueError(
            f"expected directions 'f', or 'f' and 'r' concatenated, got {layer.directions}, {layer.merge!r}"
        )
    like = next(layer.parameters())
    lstm = nn.LSTM(
        layer.input_size,
        layer.hidden_size,
        layer.num_layers,
        bias=layer.bias,
        batch_first=True,
        dropout=layer.dropout,
        bidirectional=layer.bidirectional,
        device=like.device,
        dtype=like.dtype,
    )
    for name, parameter in lstm.named_parameters():
        source: Tensor = getattr(layer, name.replace("bias_ih", "bias").replace("bias_hh", "bias"))
        with torch.no_grad():
            parameter.copy_(source)
            if name.startswith("bias_hh"):
                parameter.zero_()  # there is one bias here, and bias_ih has it
        parameter.requires_grad_(source.requires_grad)
    return lstm.train(layer.training)
