"""Causal neighborhoods and conditional whitening."""

from __future__ import annotations

import math

import pytest
import torch

from spatial_lstm.image_models import CausalNeighborhood, ConditionalWhitening
from tests.cases import assert_close


@pytest.mark.parametrize(
    ("size", "channels", "condition_channels"), [(3, 1, 0), (5, 1, 0), (5, 3, 0), (9, 2, 1), (3, 2, 2)]
)
def test_neighborhood_site_by_site(size: int, channels: int, condition_channels: int) -> None:
    model = CausalNeighborhood(size, channels, condition_channels)
    r = size // 2
    images = torch.randn(2, channels, size + 2, size + 4)
    condition = torch.randn(2, condition_channels, *images.shape[2:]) if condition_channels else None
    inputs, targets = model(images, condition), model.targets(images)
    assert model.count == {3: 4, 5: 12, 9: 40}[size]
    assert inputs.shape == (2, model.dim, images.shape[2] - r, images.shape[3] - 2 * r)
    for i in range(inputs.shape[2]):
        for j in range(inputs.shape[3]):
            row, column = i + r, j + r
            window = [(a, b) for a in range(row - r, row + r + 1) for b in range(column - r, column + r + 1)]
            before = [at for at in window if at < (row, column)]
            expected = [images[:, c, a, b] for c in range(channels) for a, b in before]
            for k in range(condition_channels):
                assert condition is not None
                expected += [condition[:, k, min(a, images.shape[2] - 1), b] for a, b in window]
            assert torch.equal(inputs[:, :, i, j], torch.stack(expected, 1))
            assert torch.equal(targets[:, :, i, j], images[:, :, row, column])


def test_rows_of_the_condition_below_the_images_are_read() -> None:
    model = CausalNeighborhood(5, 2, 1)
    images, condition = torch.randn(2, 2, 9, 8), torch.randn(2, 1, 9, 8)
    whole = model(images, condition)
    for below in (0, 1, 2):
        found = model(images[:, :, :7], condition[:, :, : 7 + below])
        assert torch.equal(found[:, :, : 3 + below], whole[:, :, : 3 + below])
        assert torch.equal(found, whole[:, :, :5]) == (below == 2)
    with pytest.raises(ValueError, match=r"expected condition of shape \(2, 1, 6, 8\)"):
        model(images[:, :, :6], condition)


def test_neighborhood_errors() -> None:
    for size in (1, 4):
        with pytest.raises(ValueError, match=f"odd neighborhood size of at least 3, got {size}"):
            CausalNeighborhood(size)
    model = CausalNeighborhood(5, 1, 1)
    images = torch.randn(2, 1, 6, 6)
    with pytest.raises(ValueError, match="expected a condition of 1 channels, got None"):
        model(images)
    with pytest.raises(ValueError, match=r"expected condition of shape \(2, 1, 6, 6\)"):
        model(images, torch.randn(2, 1, 6, 7))
    with pytest.raises(ValueError, match=r"expected images of shape \(N, 1, H, W\), got \(2, 3, 6, 6\)"):
        model(torch.randn(2, 3, 6, 6), images)
    with pytest.raises(ValueError, match="expected images of at least 3 x 5 pixels, got 6 x 4"):
        model(images[..., :4], images[..., :4])
    with pytest.raises(TypeError, match=r"expected images of a floating point type, got torch\.uint8"):
        model(images.byte(), images)
    with pytest.raises(TypeError, match="expected images to be a Tensor, got list"):
        model([1.0], images)


def fitted(
    dim_in: int = 4, dim_out: int = 2, rows: int = 300
) -> tuple[ConditionalWhitening, torch.Tensor, torch.Tensor]:
    mixing = torch.randn(dim_in + dim_out, dim_in + dim_out, dtype=torch.float64)
    data = torch.randn(rows, dim_in + dim_out, dtype=torch.float64) @ mixing + 100
    x, y = data.split([dim_in, dim_out], dim=1)
    return ConditionalWhitening(dim_in, dim_out, dtype=torch.float64).fit(x, y), x, y


def test_whitened_data_are_white() -> None:
    whitening, x, y = fitted()
    white, residual, _ = whitening(x, y)
    both = torch.cat([white, residual], 1)
    assert both.mean(0).abs().max() < 1e-10
    assert (both.T @ both / len(both) - torch.eye(6, dtype=torch.float64)).abs().max() < 1e-9
    for root in (whitening.whiten_in, whitening.whiten_out):
        assert_close([root], [root.T])


def test_log_det_against_finite_differences() -> None:
    whitening, x, y = fitted()
    step = 1e-4
    columns = []
    for k in range(2):
        shift = torch.zeros(2, dtype=torch.float64)
        shift[k] = step
        columns.append((whitening(x[0], y[0] + shift)[1] - whitening(x[0], y[0] - shift)[1]) / (2 * step))
    log_det = torch.linalg.slogdet(torch.stack(columns, 1)).logabsdet
    assert abs(log_det.item() - whitening(x, y)[2].item()) < 1e-7


def test_whitening_inverse_and_parts() -> None:
    whitening, x, y = fitted()
    white, residual, _ = whitening(x, y)
    found_x, found_y = whitening.inverse(white, residual)
    assert_close([found_x, found_y], [x, y])
    assert_close([whitening.whiten_inputs(x), whitening.color_outputs(white, residual)], [white, y])


def test_whitening_in_batches_is_whitening_at_once() -> None:
    whitening, x, y = fitted()
    other = ConditionalWhitening(4, 2, dtype=torch.float64).fit_batches(zip(x.split(70), y.split(70), strict=True))
    for name, value in whitening.state_dict().items():
        assert (value - other.state_dict()[name]).abs().max() < 1e-9 * max(1, value.abs().max())


def test_whitening_of_inputs_that_depend_on_one_another() -> None:
    x = torch.randn(100, 1, dtype=torch.float64).repeat(1, 3)
    y = x[:, :1] + 0.1 * torch.randn(100, 1, dtype=torch.float64)
    whitening = ConditionalWhitening(3, 1, dtype=torch.float64).fit(x, y)
    white, residual, log_det = whitening(x, y)
    assert torch.isfinite(white).all()
    assert abs(residual.std(unbiased=False).item() - 1) < 1e-6
    assert abs(log_det.item() + math.log((y - x[:, :1]).std().item())) < 0.05


def test_whitening_errors() -> None:
    whitening = ConditionalWhitening(4, 2)
    with pytest.raises(ValueError, match="expected more than 6 rows, one for every input and output and more, got 6"):
        whitening.fit(torch.randn(6, 4), torch.randn(6, 2))
    with pytest.raises(ValueError, match="that vary, got constants"):
        whitening.fit(torch.ones(10, 4), torch.randn(10, 2))
    with pytest.raises(ValueError, match="expected finite"):
        whitening.fit(torch.full((10, 4), math.nan), torch.randn(10, 2))
    with pytest.raises(ValueError, match=r"expected inputs of shape \(K, 4\), got \(10, 3\)"):
        whitening.fit(torch.randn(10, 3), torch.randn(10, 2))
    with pytest.raises(ValueError, match="expected as many outputs as inputs, 10, got 9"):
        whitening.fit(torch.randn(10, 4), torch.randn(9, 2))
