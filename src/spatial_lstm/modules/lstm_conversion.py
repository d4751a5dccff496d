"""From :class:`torch.nn.LSTM` and back."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor, nn

from spatial_lstm.engine import check_whole


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


def copy_from_lstm(lstm: nn.LSTM, layer: nn.Module) -> None:
    """Copy the weights into those of the same names, the two biases summed, and whether they are to be trained."""
    for name, parameter in layer.named_parameters():
        suffix = name.removeprefix("bias")
        names = [name] if suffix == name else [f"bias_ih{suffix}", f"bias_hh{suffix}"]
        sources: list[Tensor] = [getattr(lstm, each) for each in names]
        for each, source in zip(names, sources, strict=True):
            check_whole(each, source)
        with torch.no_grad():
            parameter.copy_(sum(sources[1:], sources[0]))
        parameter.requires_grad_(any(source.requires_grad for source in sources))


def copy_to_lstm(layer: nn.Module, lstm: nn.LSTM) -> None:
    """The other way round; of the two biases the second is zero."""
    for name, parameter in lstm.named_parameters():
        own = name.replace("bias_ih", "bias").replace("bias_hh", "bias")
        source: Tensor = getattr(layer, own)
        check_whole(own, source)
        with torch.no_grad():
            parameter.copy_(source)
            if name.startswith("bias_hh"):
                parameter.zero_()
        parameter.requires_grad_(source.requires_grad)
