"""Linear prediction of the outputs from the inputs, taken out before a nonlinear model sees either."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from spatial_lstm.arguments import as_positive_int
from spatial_lstm.image_models.precision import no_autocast

# Of the largest eigenvalue: the least that another one counts as. Sums are taken in float64, whose rounding is far below.
EPS = 1e-8


class ConditionalWhitening(nn.Module):
    r"""White inputs, and what they do not predict linearly of the outputs, white too; after Theis & Bethge, 2015.

    With means m and covariances C of inputs x and outputs y,

    .. math::
        x' &= C_{xx}^{-1/2} (x - m_x) \\
        y' &= W (y - m_y - C_{yx} C_{xx}^{-1/2} x'), \qquad W = (C_{yy} - C_{yx} C_{xx}^{-1} C_{xy})^{-1/2}

    with symmetric roots, so that :math:`\log p(y | x) = \log p(y' | x') + \log |\det W|`. The identity until :meth:`fit`.

    Eigenvalues of :math:`C_{xx}` below 1e-8 of its largest, and of the residual covariance below 1e-8 of the largest of :math:`C_{yy}`, are
    raised to that, so that inputs that depend on one another linearly do no harm. Autocast changes nothing.

    Args:
        dim_in: Features of the inputs, D.
        dim_out: Features of the outputs, M.
        device, dtype: Of the buffers.

    Inputs: inputs, outputs
        ``(..., D)`` and ``(..., M)``.

    Outputs: x', y', log_det
        ``(..., D)``, ``(..., M)`` and the scalar :math:`\log |\det W|`.
    """

    mean_in: Tensor
    mean_out: Tensor
    whiten_in: Tensor
    color_in: Tensor
    whiten_out: Tensor
    color_out: Tensor
    predictor: Tensor
    log_det: Tensor

    def __init__(
        self,
        dim_in: int,
        dim_out: int,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.dim_in = dim_in = as_positive_int("dim_in", dim_in)
        self.dim_out = dim_out = as_positive_int("dim_out", dim_out)
        start = {
            "mean_in": torch.zeros(dim_in, device=device, dtype=dtype),
            "mean_out": torch.zeros(dim_out, device=device, dtype=dtype),
            "whiten_in": torch.eye(dim_in, device=device, dtype=dtype),
            "color_in": torch.eye(dim_in, device=device, dtype=dtype),
            "whiten_out": torch.eye(dim_out, device=device, dtype=dtype),
            "color_out": torch.eye(dim_out, device=device, dtype=dtype),
            "predictor": torch.zeros(dim_out, dim_in, device=device, dtype=dtype),
            "log_det": torch.zeros((), device=device, dtype=dtype),
        }
        for name, tensor in start.items():
            self.register_buffer(name, tensor)

    def fit(self, inputs: Tensor, outputs: Tensor) -> ConditionalWhitening:
        """Set means and covariances to those of inputs ``(K, D)`` and outputs ``(K, M)``; returns itself.

        Raises:
            ValueError: If shapes do not fit, rows are too few, or the data are constant or not finite.
        """
        return self.fit_batches([(inputs, outputs)])

    @torch.no_grad()
    def fit_batches(self, batches: Iterable[tuple[Tensor, Tensor]]) -> ConditionalWhitening:
        """As :meth:`fit`, from batches of rows; sums are taken in float64."""
        dim = self.dim_in + self.dim_out
        count, origin = 0, None
        total = torch.zeros(dim, dtype=torch.float64, device=self.mean_in.device)
        second = torch.zeros(dim, dim, dtype=torch.float64, device=self.mean_in.device)
        for inputs, outputs in batches:
            self._check(inputs, outputs)
            rows = torch.cat([inputs, outputs], dim=1).to(total)
            origin = rows.mean(0) if origin is None else origin
            rows = rows - origin
            count += len(rows)
            total += rows.sum(0)
            second += rows.T @ rows
        if origin is None or count <= dim:
            raise ValueError(f"expected more than {dim} rows, one for every input and output and more, got {count}")
        mean = total / count
        self._set(origin + mean, second / count - torch.outer(mean, mean))
        return self

    def _set(self, mean: Tensor, covariance: Tensor) -> None:
        """Derive the buffers from the joint mean and covariance, inputs first."""
        if not torch.isfinite(covariance).all():
            raise ValueError("expected finite inputs and outputs, got a covariance that is not")
        d = self.dim_in
        c_xx, c_yx, c_yy = covariance[:d, :d], covariance[d:, :d], covariance[d:, d:]
        scales = torch.linalg.eigvalsh(c_xx)[-1], torch.linalg.eigvalsh(c_yy)[-1]
        if min(scales) <= 0:
            raise ValueError("expected inputs and outputs that vary, got constants")
        color_in, whiten_in = _roots(c_xx, EPS * scales[0])
        predictor = c_yx @ whiten_in
        color_out, whiten_out = _roots(c_yy - predictor @ predictor.T, EPS * scales[1])
        found = {
            "mean_in": mean[:d],
            "mean_out": mean[d:],
            "whiten_in": whiten_in,
            "color_in": color_in,
            "whiten_out": whiten_out,
            "color_out": color_out,
            "predictor": predictor,
            "log_det": torch.linalg.slogdet(whiten_out).logabsdet,
        }
        for name, tensor in found.items():
            getattr(self, name).copy_(tensor)

    def _check(self, inputs: Tensor, outputs: Tensor) -> None:
        for name, rows, dim in (("inputs", inputs, self.dim_in), ("outputs", outputs, self.dim_out)):
            if rows.ndim != 2 or rows.shape[1] != dim:
                raise ValueError(f"expected {name} of shape (K, {dim}), got {tuple(rows.shape)}")
        if len(inputs) != len(outputs):
            raise ValueError(f"expected as many outputs as inputs, {len(inputs)}, got {len(outputs)}")

    def forward(self, inputs: Tensor, outputs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return x', y' and log|det W|; see the class."""
        white = self.whiten_inputs(inputs)
        return white, self.whiten_outputs(white, outputs), self.log_det

    def whiten_inputs(self, inputs: Tensor) -> Tensor:
        """Return x' alone, for inputs whose outputs are yet to be drawn."""
        with no_autocast(inputs.device):
            return (inputs - self.mean_in) @ self.whiten_in

    def whiten_outputs(self, white_inputs: Tensor, outputs: Tensor) -> Tensor:
        """Return y' from x' and y."""
        with no_autocast(outputs.device):
            return (outputs - self.mean_out - white_inputs @ self.predictor.T) @ self.whiten_out

    def color_outputs(self, white_inputs: Tensor, white_outputs: Tensor) -> Tensor:
        """Return y from x' and y'."""
        with no_autocast(white_outputs.device):
            return self.mean_out + white_inputs @ self.predictor.T + white_outputs @ self.color_out

    def inverse(self, white_inputs: Tensor, white_outputs: Tensor) -> tuple[Tensor, Tensor]:
        """Return x and y from x' and y'."""
        with no_autocast(white_inputs.device):
            return self.mean_in + white_inputs @ self.color_in, self.color_outputs(white_inputs, white_outputs)

    def extra_repr(self) -> str:
        """What ``repr`` shows."""
        return f"{self.dim_in}, {self.dim_out}"


def _roots(matrix: Tensor, floor: Tensor) -> tuple[Tensor, Tensor]:
    """The symmetric root and inverse root of a covariance whose eigenvalues are raised to ``floor``."""
    values, vectors = torch.linalg.eigh(matrix)
    values = values.clamp(min=floor)
    return (vectors * values.sqrt()) @ vectors.T, (vectors * values.rsqrt()) @ vectors.T
