"""Full-batch L-BFGS for conditional densities."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from spatial_lstm.arguments import as_count
from spatial_lstm.image_models.base import FitProgress
from spatial_lstm.image_models.checks import NotFiniteError
from spatial_lstm.image_models.conditional import ConditionalDensity

Rows = tuple[Tensor, Tensor]

# Rows at a time; bounds memory.
CHUNK = 16384
# Iterations between looks at the loss, each of which costs about as much as an iteration.
ROUND = 10
# Looks without improvement on the validation rows that end fitting.
PATIENCE = 5
# Nats per row that a round must gain: less is rounding in float32.
LEAST_GAIN = 1e-7


def fit_lbfgs(
    density: ConditionalDensity,
    data: Rows,
    validation: Rows | None,
    max_iterations: int,
    progress: FitProgress | None,
) -> float:
    """Minimize a density's mean negative log-likelihood; see :meth:`spatial_lstm.image_models.MCGSM.fit`.

    Data are taken 16384 rows at a time, so that memory does not grow with them. Every ten iterations the loss is looked at: fitting stops
    when it is no longer finite, gains less than 1e-7 nats, or has not improved on the validation rows five times in a row; the best
    parameters seen are kept.
    """
    max_iterations = as_count("max_iterations", max_iterations)
    if not len(data[0]):
        raise ValueError("expected at least one row to fit, got none")
    parameters = [p for p in density.parameters() if p.requires_grad]
    optimizer = torch.optim.LBFGS(
        parameters, max_iter=ROUND, history_size=20, line_search_fn="strong_wolfe", tolerance_change=0.0
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        return _loss(density, data, backward=True)

    def evaluate() -> tuple[float, float]:
        train = float(_loss(density, data))
        return train, train if validation is None else float(_loss(density, validation))

    train, best = evaluate()
    if not (math.isfinite(train) and math.isfinite(best)):
        found = train if math.isfinite(best) else best
        raise NotFiniteError(f"expected rows with a finite log-likelihood at the start, got a mean of {-found}")
    kept = _copy(parameters)
    stale = 0
    for iteration in range(ROUND, max_iterations + ROUND, ROUND):
        optimizer.param_groups[0]["max_iter"] = min(ROUND, max_iterations - iteration + ROUND)
        optimizer.step(closure)
        before, (train, held_out) = train, evaluate()
        if progress:
            progress(min(iteration, max_iterations), train, None if validation is None else held_out)
        if held_out < best:
            best, kept, stale = held_out, _copy(parameters), 0
        else:
            stale += 1
        if stale >= PATIENCE or not before - train > LEAST_GAIN:
            break
    optimizer.zero_grad()
    with torch.no_grad():
        for parameter, value in zip(parameters, kept, strict=True):
            parameter.copy_(value)
    return best


def _loss(density: ConditionalDensity, data: Rows, backward: bool = False) -> Tensor:
    """The mean negative log-likelihood in float64, and with ``backward`` its gradient added to the parameters."""
    rows = len(data[0])
    total = torch.zeros((), dtype=torch.float64, device=data[0].device)
    with torch.set_grad_enabled(backward):
        for inputs, outputs in zip(data[0].split(CHUNK), data[1].split(CHUNK), strict=True):
            loss = -density.log_prob(inputs, outputs).sum() / rows
            if backward:
                loss.backward()
            total += loss.detach().double()
    return total


def _copy(parameters: list[nn.Parameter]) -> list[Tensor]:
    return [p.detach().clone() for p in parameters]
