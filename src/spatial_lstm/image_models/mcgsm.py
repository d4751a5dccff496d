"""The mixture of conditional Gaussian scale mixtures."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from spatial_lstm.arguments import as_positive_ints
from spatial_lstm.filling import fill
from spatial_lstm.image_models.base import FitProgress
from spatial_lstm.image_models.conditional import ConditionalDensity
from spatial_lstm.image_models.fitting import fit_lbfgs
from spatial_lstm.image_models.precision import no_autocast, wide


class MCGSM(ConditionalDensity):
    r"""Mixture of conditional Gaussian scale mixtures, p(y | x), of Theis, Hosseini & Bethge, 2012, and Theis & Bethge, 2015.

    With components c and scales s,

    .. math::
        q_c(x) &= \sum_f \beta_{cf}^2 (b_f^\top x)^2 \\
        G_{cs} &= \eta_{cs} - \tfrac12 e^{\alpha_{cs}} q_c(x) \\
        E_{cs} &= \tfrac M2 \alpha_{cs} + \sum_k \log |L_{c,kk}| - \tfrac M2 \log 2\pi
                  - \tfrac12 e^{\alpha_{cs}} \lVert L_c^\top (y - A_c x) \rVert^2 \\
        \log p(y | x) &= \operatorname{logsumexp}_{cs}(G + E) - \operatorname{logsumexp}_{cs}(G)

    Args:
        dim_in: Features of x, D.
        dim_out: Features of y, M.
        components: Components c, C.
        scales: Scales s of each, S.
        features: Features f that the gates share, F.
        device, dtype: Of the parameters.

    Attributes:
        eta: ``(C, S)``, log prior.
        alpha: ``(C, S)``, log precision.
        beta: ``(C, F)``, weights of the features.
        features: ``(D, F)``, b.
        predictors: ``(C, M, D)``, A.
        cholesky: ``(C, M (M + 1) / 2 - 1)``, the lower triangle of L row by row without its first entry, which is 1; None for M = 1.

    Raises:
        ValueError: If a size is not positive, or inputs and outputs do not fit.
    """

    cholesky: Tensor | None

    def __init__(
        self,
        dim_in: int,
        dim_out: int = 1,
        components: int = 8,
        scales: int = 4,
        features: int = 32,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        sizes = {"dim_in": dim_in, "dim_out": dim_out, "components": components, "scales": scales, "features": features}
        dim_in, dim_out, components, scales, features = as_positive_ints(sizes).values()
        self.dim_in, self.dim_out = dim_in, dim_out
        self.components, self.scales = components, scales

        def parameter(*shape: int) -> nn.Parameter:
            return nn.Parameter(torch.empty(shape, device=device, dtype=dtype))

        self.eta = parameter(components, scales)
        self.alpha = parameter(components, scales)
        self.beta = parameter(components, features)
        self.features = parameter(dim_in, features)
        self.predictors = parameter(components, dim_out, dim_in)
        free = dim_out * (dim_out + 1) // 2 - 1
        self.register_parameter("cholesky", parameter(components, free) if free else None)
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draw the parameters anew: eta 0; alpha N(0, 1)/20; beta ``|U(-1, 1)|/100`` + 0.01; b N(0, 1)/100; A N(0, 1)/10; L = I."""
        nn.init.zeros_(self.eta)
        nn.init.normal_(self.alpha, 0, 1 / 20)
        fill(self.beta, torch.empty_like(self.beta).uniform_(0, 1 / 100).add_(0.01))
        nn.init.normal_(self.features, 0, 1 / 100)
        nn.init.normal_(self.predictors, 0, 1 / 10)
        if self.cholesky is not None:
            rows, columns = torch.tril_indices(self.dim_out, self.dim_out)
            fill(self.cholesky, (rows == columns)[1:].expand_as(self.cholesky))

    def factors(self) -> Tensor:
        """L, ``(C, M, M)``."""
        m = self.dim_out
        lower = self.eta.new_zeros(self.components, m, m)
        lower[:, 0, 0] = 1
        if self.cholesky is not None:
            rows, columns = torch.tril_indices(m, m, device=lower.device)[:, 1:]
            lower[:, rows, columns] = self.cholesky
        return lower

    def log_prob(self, inputs: Tensor, outputs: Tensor) -> Tensor:
        self._check(inputs, outputs)
        with no_autocast(inputs.device):
            return self._log_prob(wide(inputs), wide(outputs))

    def _log_prob(self, inputs: Tensor, outputs: Tensor) -> Tensor:
        eta, alpha, spread = wide(self.eta), wide(self.alpha), self._spread(inputs)
        errors = outputs.unsqueeze(-2) - self._means(inputs)  # (..., C, M)
        start = eta + self.dim_out / 2 * (alpha - math.log(2 * math.pi))  # (C, S)
        if self.cholesky is not None:
            lower = wide(self.factors())
            errors = torch.einsum("cji,...cj->...ci", lower, errors)
            start = start + lower.diagonal(dim1=1, dim2=2).abs().log().sum(1, keepdim=True)
        joint = self._logits(start, spread + errors.square().sum(-1))  # G + E
        return log_sum_exp(joint) - log_sum_exp(self._logits(eta, spread))

    def _spread(self, inputs: Tensor) -> Tensor:
        """q, ``(..., C)``."""
        spread: Tensor = (inputs @ wide(self.features)).square() @ wide(self.beta).square().T
        return spread

    def _logits(self, start: Tensor, distance: Tensor) -> list[Tensor]:
        """Return ``start - exp(alpha) distance / 2``, of ``(C, S)`` and ``(..., C)``: ``(..., C)`` for each scale.

        Each scale by itself stays in the caches, where all together would not: a training step of RIDE takes 0.8 of the time, of an MCGSM
        with 128 components 0.4.
        """
        weights = -0.5 * wide(self.alpha).exp()
        return [torch.addcmul(own, distance, w) for own, w in zip(start.unbind(1), weights.unbind(1), strict=True)]

    def _means(self, inputs: Tensor) -> Tensor:
        """A x, ``(..., C, M)``."""
        means: Tensor = (inputs @ wide(self.predictors).flatten(0, 1).T).unflatten(-1, (self.components, self.dim_out))
        return means

    @torch.no_grad()
    def sample(self, inputs: Tensor, generator: torch.Generator | None = None) -> Tensor:
        self._check(inputs, None)
        with no_autocast(inputs.device):
            drawn = self._sample(wide(inputs).reshape(-1, self.dim_in), generator)
        return drawn.to(self.eta.dtype).reshape(*inputs.shape[:-1], self.dim_out)

    def _sample(self, rows: Tensor, generator: torch.Generator | None) -> Tensor:
        weights = torch.cat(self._logits(wide(self.eta), self._spread(rows)), 1).softmax(1)
        drawn = torch.multinomial(weights, 1, generator=generator).squeeze(1)
        component = drawn % self.components
        at = torch.arange(len(rows), device=rows.device)
        noise = torch.randn((len(rows), self.dim_out, 1), generator=generator, dtype=rows.dtype, device=rows.device)
        if self.cholesky is not None:
            noise = torch.linalg.solve_triangular(wide(self.factors()).mT[component], noise, upper=True)
        deviation = (-0.5 * wide(self.alpha)).exp().T.flatten()[drawn].unsqueeze(1)
        return self._means(rows)[at, component] + deviation * noise.squeeze(2)

    def fit(
        self,
        inputs: Tensor,
        outputs: Tensor,
        max_iterations: int = 500,
        validation: tuple[Tensor, Tensor] | None = None,
        progress: FitProgress | None = None,
    ) -> float:
        for rows in [(inputs, outputs)] if validation is None else [(inputs, outputs), validation]:
            self._check(*rows)
        with no_autocast(inputs.device):  # gradients, too, would be computed under it
            return fit_lbfgs(self, (inputs, outputs), validation, max_iterations, progress)

    def _check(self, inputs: Tensor, outputs: Tensor | None) -> None:
        if inputs.shape[-1:] != (self.dim_in,):
            raise ValueError(f"expected inputs of shape (..., {self.dim_in}), got {tuple(inputs.shape)}")
        if outputs is not None and outputs.shape != (*inputs.shape[:-1], self.dim_out):
            expected = (*inputs.shape[:-1], self.dim_out)
            raise ValueError(f"expected outputs of shape {expected}, got {tuple(outputs.shape)}")

    def extra_repr(self) -> str:
        """What ``repr`` shows."""
        shape = f"components={self.components}, scales={self.scales}, features={self.features.shape[1]}"
        return f"{self.dim_in}, {self.dim_out}, {shape}"


def log_sum_exp(parts: Sequence[Tensor]) -> Tensor:
    """Take the logarithm of the sum of exp over the last axis of all parts, which are of one shape.

    Its gradient is a product, where that of ``torch.logsumexp`` takes every exponential again.
    """
    shift = functools.reduce(torch.maximum, [part.detach() for part in parts]).amax(-1, keepdim=True)
    shift = shift.clamp_min(torch.finfo(shift.dtype).min)  # where all are minus infinity, so is the result
    total = sum((part - shift).exp() for part in parts)
    assert isinstance(total, Tensor)
    return total.sum(-1).log() + shift.squeeze(-1)
