"""The recurrent image density estimator."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from spatial_lstm import SpatialLSTM, State, reference
from spatial_lstm.image_models.density import ImageDensity
from spatial_lstm.image_models.mcgsm import MCGSM
from spatial_lstm.image_models.recurrence import RecurrentStates, RecurrentStepper
from spatial_lstm.image_models.sites import SiteStates, Stepper

# An added layer's weight from h below to g, and what its gates start at: found by trying, so that the layer below comes through.
PASSING, OPEN, CLOSED = 1.5, 2.0, -2.0
# Cells whose c is a sum over all paths that lead to a site, of which there are binomially many.
GROWING = ("spatial", "graves")


class RIDE(ImageDensity):
    r"""Recurrent image density estimator of Theis & Bethge, Generative Image Modeling Using Spatial LSTMs, 2015, arXiv:1506.03478.

    A :class:`~spatial_lstm.SpatialLSTM` reads the whitened causal neighborhood of every pixel; its hidden state, and nothing else,
    conditions an :class:`MCGSM` over the whitened pixel. Of several layers each reads the hidden state of the one below at the same pixel.
    What it starts from: :meth:`reset_parameters`.

    The paper's cell is ``"spatial"``. Its c is a sum over all paths that lead to a pixel: once training has opened the forget gates it
    grows exponentially with the size of the image, and overflows on whole photographs. The default is ``"stable"``, whose
    :math:`c = \sigma(i) \tanh(g) + \sigma(f) (w c_0 + (1 - w) c_1)`, with w in (0, 1), is at most the number of steps from the image's
    corner, whatever the weights: images of any size have a finite likelihood. On photographs it scored better, too, in the mean over three
    seeds.

    Args:
        channels: Channels of the images, C.
        neighborhood: Width of the causal window, odd.
        hidden_size: Features of the hidden state.
        num_layers: Layers of the LSTM.
        extended: Whether the predecessors' cell states enter the gates, with ``cell="spatial"`` alone.
        components, scales, features: Of the MCGSM.
        cell: ``"spatial"``, ``"graves"``, ``"stable"`` or ``"diagonal"``; None for ``"spatial"`` if extended, else ``"stable"``.
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
        cell: str | None = None,
        backend: str = "auto",
        condition_channels: int = 0,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(
            channels, neighborhood=neighborhood, condition_channels=condition_channels, device=device, dtype=dtype
        )
        if cell is None:
            cell = "spatial" if extended else "stable"
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
        self._config = {
            "channels": self.channels,
            "neighborhood": self.neighborhood.size,
            "hidden_size": self.lstm.hidden_size,
            "num_layers": self.lstm.num_layers,
            "extended": extended,
            "components": self.mcgsm.components,
            "scales": self.mcgsm.scales,
            "features": self.mcgsm.features.shape[1],
            "cell": cell,
            "backend": backend,
            "condition_channels": self.neighborhood.condition_channels,
        }
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

    def conditioning(self, white: Tensor, state: State | None = None) -> Tensor:
        """Return the hidden states ``(N, H', W', h)`` of whitened inputs and of the near faces that enter; None for zeros."""
        output: Tensor = self.lstm(white, state)[0]
        return output

    def carry(self, white: Tensor, state: State | None) -> tuple[Tensor, State | None]:
        output, far = self.lstm(white, state)
        return output, far.along(0)

    def stepper(self, batch: int, rows: int, columns: int, state: State | None = None) -> Stepper:
        return RecurrentStepper(self.lstm, batch, rows, columns, state)

    @torch.no_grad()
    def site_states(self, images: Tensor, condition: Tensor | None = None, state: State | None = None) -> SiteStates:
        return RecurrentStates(self.lstm, self.whiten(images, condition)[0], state)

    def remedy(self) -> str:
        if self.lstm.cell_type not in GROWING:
            return ""
        cell = self.lstm.cell_type
        return f"cell={cell!r} adds c up over all paths through an image; take cell='stable', smaller tiles or float64"

    @torch.no_grad()
    def add_layer(self) -> RIDE:
        r"""Return a model with one layer more on top, which starts near the identity, and copies of everything else.

        The new layer's g reads :math:`\tfrac32 h` of the layer below, unit by unit; its input and output gates start open, at
        :math:`\sigma(2)`, and its forget gates nearly closed, at :math:`\sigma(-2)`. So the hidden states come through, and the MCGSM,
        which is kept, finds about what it knew. (The authors' code starts the MCGSM anew.) On dead leaves (32 hidden features, 400 or 500
        steps before and after) models of all four cells lost 0.11 to 0.16 bits per pixel at first and gained 0.005 to 0.017 in the end.
        Gates at 3 and -3 lost half of that and gained 0.001 less or as much; gates at 1.5 and -1 lost twice as much and gained the same.
        """
        like = self.whitening.mean_in
        depth = self.lstm.num_layers
        grown = RIDE(**{**self._config, "num_layers": depth + 1}, device=like.device, dtype=like.dtype)
        grown.load_state_dict(self.state_dict(), strict=False)
        weight, bias = (grown.lstm.get_parameter(f"{name}_l{depth}") for name in ("weight_ih", "bias"))
        gates = list(reference.CELLS[self.lstm.cell_type].gates(2))
        for gate, rows, start in zip(gates, weight.chunk(len(gates)), bias.chunk(len(gates)), strict=True):
            if gate == "g":
                rows.copy_(PASSING * torch.eye(len(rows), device=rows.device))
            else:
                start.fill_({"i": OPEN, "f": CLOSED, "o": OPEN}.get(gate[0], 0.0))
        for name, module in self.named_modules():
            grown.get_submodule(name).training = module.training
        return grown
