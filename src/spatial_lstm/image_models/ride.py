"""The recurrent image density estimator."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from spatial_lstm import SpatialLSTM, reference
from spatial_lstm.image_models.density import ImageDensity
from spatial_lstm.image_models.mcgsm import MCGSM
from spatial_lstm.image_models.sites import Stepper

# Pre-activations of an added layer's gates, found by trying: it lets the layer below through, and the deeper model gains from there.
OPEN, CLOSED = 1.5, -1.0


class RIDE(ImageDensity):
    """Recurrent image density estimator of Theis & Bethge, Generative Image Modeling Using Spatial LSTMs, 2015, arXiv:1506.03478.

    A :class:`~spatial_lstm.SpatialLSTM` reads the whitened causal neighborhood of every pixel; its hidden state, and nothing else,
    conditions an :class:`MCGSM` over the whitened pixel. Of several layers each reads the hidden state of the one below at the same pixel.
    What it starts from: :meth:`reset_parameters`.

    Args:
        channels: Channels of the images, C.
        neighborhood: Width of the causal window, odd.
        hidden_size: Features of the hidden state.
        num_layers: Layers of the LSTM.
        extended: Whether the predecessors' cell states enter the gates, with ``cell="spatial"``.
        components, scales, features: Of the MCGSM.
        cell: ``"spatial"``, ``"graves"`` or ``"stable"``.
        backend: Of the LSTM.
        condition_channels: Channels of a second image given in full to every pixel; 0 for none.
        device, dtype: Of buffers and parameters.

    Example:
        >>> model = RIDE(hidden_size=8, components=4, scales=2, features=4)
        >>> model.log_prob(torch.zeros(3, 1, 16, 20)).pixels
        224
    """

    mcgsm: MCGSM

    def __init__(
        self,
        channels: int = 1,
        *,
        neighborhood: int = 5,
        hidden_size: int = 64,
        num_layers: int = 1,
        extended: bool = False,
        components: int = 32,
        scales: int = 4,
        features: int = 32,
        cell: str = "spatial",
        backend: str = "auto",
        condition_channels: int = 0,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(
            channels, neighborhood=neighborhood, condition_channels=condition_channels, device=device, dtype=dtype
        )
        self._config = {
            "channels": channels,
            "neighborhood": neighborhood,
            "hidden_size": hidden_size,
            "num_layers": num_layers,
            "extended": extended,
            "components": components,
            "scales": scales,
            "features": features,
            "cell": cell,
            "backend": backend,
            "condition_channels": condition_channels,
        }
        self.lstm = SpatialLSTM(
            self.neighborhood.dim,
            hidden_size,
            num_layers,
            channels_last=True,
            cell=cell,
            extended=extended,
            backend=backend,
            device=device,
            dtype=dtype,
        )
        self.mcgsm = MCGSM(hidden_size, channels, components, scales, features, device=device, dtype=dtype)
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        r"""Draw the parameters anew: those of the LSTM and of the MCGSM by their own defaults, but for the first layer's ``weight_ih``.

        That is drawn from :math:`U(-1, 1) \sqrt{3 / D}`, D the features of the neighborhood, so that white inputs give pre-activations of
        variance 1. On dead leaves (32 hidden features, 16 components, 500 steps of Adam, two seeds) weights as wide as that reached 1.58
        and 1.57 bits per pixel, the layer's default 1.56 and 1.53, and U(-0.08, 0.08) with zero biases, as in the paper, 1.55 and 1.56.
        """
        self.lstm.reset_parameters()
        self.mcgsm.reset_parameters()
        bound = math.sqrt(3 / self.neighborhood.dim)
        nn.init.uniform_(self.lstm.get_parameter("weight_ih_l0"), -bound, bound)

    def conditioning(self, white: Tensor) -> Tensor:
        """Return the hidden states ``(N, H', W', h)``."""
        output: Tensor = self.lstm(white)[0]
        return output

    def stepper(self, batch: int, rows: int, columns: int) -> Stepper:
        return RecurrentStepper(self.lstm, batch, rows, columns)

    @torch.no_grad()
    def add_layer(self) -> RIDE:
        r"""Return a model with one layer more on top, which starts near the identity, and copies of everything else.

        The new layer's g reads :math:`\tfrac32 h` of the layer below, unit by unit; its input and output gates start open, at
        :math:`\sigma(\tfrac32)`, and its forget gates nearly closed, at :math:`\sigma(-1)`. So small hidden states come through, and
        the MCGSM, which is kept, finds about what it knew. (The authors' code starts the MCGSM anew.)
        """
        like = self.whitening.mean_in
        depth = self.lstm.num_layers
        grown = RIDE(**{**self._config, "num_layers": depth + 1}, device=like.device, dtype=like.dtype)
        grown.load_state_dict(self.state_dict(), strict=False)
        weight, bias = (grown.lstm.get_parameter(f"{name}_l{depth}") for name in ("weight_ih", "bias"))
        gates = list(reference.CELLS[self.lstm.cell_type].gates(2))
        for gate, rows, start in zip(gates, weight.chunk(len(gates)), bias.chunk(len(gates)), strict=True):
            if gate == "g":
                rows.copy_(OPEN * torch.eye(len(rows)))
            else:
                start.fill_({"i": OPEN, "f": CLOSED, "o": OPEN}.get(gate[0], 0.0))
        return grown.train(self.training)


class RecurrentStepper(Stepper):
    """Advances every layer's states one set of independent sites at a time.

    Args:
        lstm: The layers.
        batch: Images, N.
        rows, columns: Sites of each image.
    """

    def __init__(self, lstm: SpatialLSTM, batch: int, rows: int, columns: int) -> None:
        self._cells = [lstm.cell(layer, "ff") for layer in range(lstm.num_layers)]
        like = self._cells[0].weight_hh
        # The first row and column lie outside.
        shape = (2, lstm.num_layers, batch, rows + 1, columns + 1, lstm.hidden_size)
        self._states = torch.zeros(shape, dtype=like.dtype, device=like.device)

    def step(self, white: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
        x = white.flatten(0, 1)
        for layer, cell in enumerate(self._cells):
            states = self._states[:, layer]  # (2, N, H' + 1, W' + 1, h)
            above = states[:, :, rows, columns + 1].flatten(1, 2)
            left = states[:, :, rows + 1, columns].flatten(1, 2)
            h, c = cell(x, ((above[0], above[1]), (left[0], left[1])))
            states[:, :, rows + 1, columns + 1] = torch.stack([h, c]).unflatten(1, white.shape[:2])
            x = h
        features: Tensor = x.unflatten(0, white.shape[:2])
        return features
