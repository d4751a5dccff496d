"""Networks on ragged batches: what a padded batch gives is what each image gives alone."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from spatial_lstm import SizedModule, SizedSequential, SpatialLSTM
from tests.cases import assert_close, gradients

CONVOLUTIONS = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
POOLINGS = {
    "max": {1: nn.MaxPool1d, 2: nn.MaxPool2d, 3: nn.MaxPool3d},
    "average": {1: nn.AvgPool1d, 2: nn.AvgPool2d, 3: nn.AvgPool3d},
}


def ragged(
    axes: int, channels: int, least: int = 1, most: int = 9, batch: int = 4, lines: bool = False
) -> tuple[Tensor, Tensor]:
    """Images of random extents in a batch, NaN in the padding, and one site more than the largest on the last axis.

    With ``lines`` all but one are equal on all other axes.
    """
    sizes = torch.randint(least, most + 1, (batch, axes))
    sizes[0, 0] = least
    if lines:
        sizes[1:, :-1] = sizes[1, :-1]
    extents = sizes.amax(0).tolist()
    extents[-1] += 1
    x = torch.full((batch, channels, *extents), math.nan, dtype=torch.float64)
    for image, own in zip(x, sizes.tolist(), strict=True):
        region = (slice(None), *(slice(s) for s in own))
        image[region] = torch.randn(channels, *own, dtype=torch.float64)
    return x, sizes


def images(batch: Tensor, sizes: Tensor) -> list[Tensor]:
    """Each image without its padding, as a batch of one."""
    return [x[(slice(None), *(slice(s) for s in own))][None] for x, own in zip(batch, sizes.tolist(), strict=True)]


def alone(network: SizedSequential, image: Tensor) -> Tensor:
    """One image through PyTorch's layers themselves."""
    for layer in network:
        image = layer(image)[0] if isinstance(layer, SpatialLSTM) else layer(image)
    return image


def assert_as_alone(network: SizedSequential, x: Tensor, sizes: Tensor) -> None:
    """Outputs, sizes and every gradient; padding comes out zero, and no gradient goes in through it."""
    network.double()
    x.requires_grad_()
    y, own = network(x, sizes)
    singles = [alone(network, image) for image in images(x, sizes)]
    assert own.tolist() == [list(single.shape[2:]) for single in singles]
    assert own.tolist() == network.extents(sizes).tolist()
    parts = images(y, own)
    assert_close(parts, singles)
    inputs = [x, *network.parameters()]
    assert_close(gradients(parts, inputs), gradients(singles, inputs))
    padding = torch.ones_like(y, dtype=torch.bool)
    for part in images(padding, own):
        part.zero_()
    assert padding.any()
    assert not y[padding].any()
    assert not any(gradient.any() for gradient in gradients([network(x, sizes)[0][padding]], inputs))


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("padding", [0, 1, 2])
@pytest.mark.parametrize("axes", [1, 2, 3])
@pytest.mark.parametrize("lines", [False, True], ids=["any", "lines"])
def test_convolutions_one_on_the_other(lines: bool, axes: int, padding: int, stride: int) -> None:
    torch.manual_seed(10 * padding + stride)
    conv = CONVOLUTIONS[axes]
    network = SizedSequential(conv(2, 3, 3, stride, padding), nn.Softplus(), conv(3, 2, 2, 1, 1), nn.ReLU())
    assert_as_alone(network, *ragged(axes, 2, least=1 if padding else 3, lines=lines))


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("padding", [0, 1])
@pytest.mark.parametrize("axes", [1, 2, 3])
@pytest.mark.parametrize("kind", POOLINGS)
@pytest.mark.parametrize("lines", [False, True], ids=["any", "lines"])
def test_poolings_of_negative_numbers(lines: bool, kind: str, axes: int, padding: int, stride: int) -> None:
    torch.manual_seed(10 * padding + stride)
    conv = CONVOLUTIONS[axes](2, 2, 1)
    nn.init.constant_(conv.bias, -5.0)
    network = SizedSequential(conv, POOLINGS[kind][axes](3, stride, padding), CONVOLUTIONS[axes](2, 2, 1))
    assert_as_alone(network, *ragged(axes, 2, least=1 if padding and axes < 3 else 3, lines=lines))


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(2, 4, (1, 4), (3, 2), (2, 0), (1, 2)),
        nn.Conv2d(2, 4, (3, 4), padding="same", dilation=(1, 2)),
        nn.Conv2d(2, 4, 2, padding="valid", groups=2, bias=False),
        nn.MaxPool2d((2, 3), (1, 2), (1, 0), (2, 1)),
        nn.AvgPool2d((2, 3), (3, 1), (0, 1), divisor_override=4),
        nn.utils.parametrizations.weight_norm(nn.Conv2d(2, 2, 3, padding=1)),
    ],
    ids=lambda layer: str(layer).split("\n")[0],
)
@pytest.mark.parametrize("lines", [False, True], ids=["any", "lines"])
def test_options_of_windows(lines: bool, layer: nn.Module) -> None:
    torch.manual_seed(0)
    assert_as_alone(SizedSequential(nn.Conv2d(2, 2, 1), layer), *ragged(2, 2, least=7, most=11, lines=lines))


@pytest.mark.parametrize("cell", ["spatial", "graves", "stable", "diagonal"])
@pytest.mark.parametrize("axes", [1, 2, 3])
@pytest.mark.parametrize("lines", [False, True], ids=["any", "lines"])
def test_recurrent_layers_between_convolutions(lines: bool, axes: int, cell: str) -> None:
    torch.manual_seed(axes + 10 * lines)
    conv = CONVOLUTIONS[axes]
    first = SpatialLSTM(3, 4, directions="all", spatial_dims=axes, merge="sum", cell=cell)
    last = SpatialLSTM(2, 3, directions="r" * axes, spatial_dims=axes, cell=cell)
    network = SizedSequential(conv(1, 3, 3, 2, 1), nn.Tanh(), first, nn.Sigmoid(), conv(4, 2, 3, 1, 1), last)
    assert_as_alone(network, *ragged(axes, 1, most=6 if axes == 3 else 9, lines=lines))


@pytest.mark.parametrize("lines", [False, True], ids=["any", "lines"])
@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
@pytest.mark.parametrize("axes", [1, 2, 3])
def test_batch_normalization_sees_the_sites_of_images_alone(axes: int, training: bool, lines: bool) -> None:
    torch.manual_seed(0)
    norm = {1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d}[axes](3).double()
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    plain = nn.BatchNorm1d(3).double()
    plain.load_state_dict(norm.state_dict())
    network = SizedSequential(norm, CONVOLUTIONS[axes](3, 3, 1, bias=False).double()).train(training)
    plain.train(training)
    x, sizes = ragged(axes, 3, lines=lines)
    x.requires_grad_()
    y, _ = network(x, sizes)
    rows = torch.cat([image[0].flatten(1).T for image in images(x, sizes)])  # (sites, C)
    expected = plain(rows) @ network[1].weight.flatten(1).T
    found = torch.cat([image[0].flatten(1).T for image in images(y, sizes)])
    assert_close([found], [expected])
    own = gradients([found], [x, norm.weight, norm.bias])
    assert_close(own, gradients([expected], [x, plain.weight, plain.bias]))
    assert_close([norm.running_mean, norm.running_var], [plain.running_mean, plain.running_var])


def test_one_site_is_not_normalized_over() -> None:
    network = SizedSequential(nn.BatchNorm2d(3))
    x = torch.randn(2, 3, 4, 5)
    with pytest.raises(ValueError, match=r"expected more than one site in the batch, for BatchNorm2d.*, got 1"):
        network(x[:1], [[1, 1]])
    assert network(x, [[1, 1], [1, 1]])[0].isfinite().all()
    assert network(x[:0])[0].shape == (0, 3, 4, 5)
    assert network.eval()(x[:1], [[1, 1]])[0].isfinite().all()


@pytest.mark.parametrize("lines", [False, True], ids=["any", "lines"])
def test_activations_may_overwrite_their_input(lines: bool) -> None:
    torch.manual_seed(0)
    x, sizes = ragged(2, 3, lines=lines)
    norm, conv, recurrent = nn.BatchNorm2d(3), nn.Conv2d(3, 2, 3, padding=1), SpatialLSTM(2, 2)
    results = []
    for inplace in (False, True):
        network = SizedSequential(norm, nn.ReLU(inplace), conv, nn.ELU(inplace=inplace), recurrent)
        y, _ = network.double()(x, sizes)
        results.append([y, *gradients([y], list(network.parameters()))])
    assert_close(*results)


class Doubled(SizedModule):
    """A layer of one's own: two sites for every one of the last axis."""

    def forward(self, x: Tensor, sizes: Tensor) -> tuple[Tensor, Tensor]:
        assert not x.isnan().any()
        return x.repeat_interleave(2, -1), self.extents(sizes)

    def extents(self, sizes: Tensor) -> Tensor:
        return sizes * torch.tensor([1] * (sizes.shape[1] - 1) + [2])


def test_layers_of_ones_own_and_networks_within_networks() -> None:
    inner = SizedSequential(OrderedDict(wide=Doubled(), narrow=nn.MaxPool2d((1, 2))))
    network = SizedSequential(nn.Conv2d(1, 2, 1), inner, nn.Tanh()).double()
    x, sizes = ragged(2, 1)
    y, own = network(x, sizes)
    assert own.tolist() == sizes.tolist()
    assert_close(images(y, own), [network[2](network[0](image)) for image in images(x, sizes)])
    assert list(network.state_dict()) == ["0.weight", "0.bias"]
    assert [name for name, _ in inner.named_children()] == ["wide", "narrow"]


def test_layers_are_reached_as_in_a_sequence() -> None:
    network = SizedSequential(OrderedDict([("wide", nn.Conv1d(1, 2, 2)), ("2", nn.ReLU()), ("3", nn.MaxPool1d(2))]))
    part = network[1:]
    assert isinstance(part, SizedSequential)
    assert list(network[:2].state_dict()) == ["wide.weight", "wide.bias"]
    assert part[-1] is network[2] is network[-1]
    assert part.append(nn.Tanh()) is part
    assert [name for name, _ in part.named_children()] == ["2", "3", "4"]
    network[0] = nn.Conv1d(1, 3, 1)
    assert network(torch.ones(1, 1, 6))[0].shape == (1, 3, 3)
    assert [name for name, _ in network.named_children()] == ["wide", "2", "3"]
    with pytest.raises(TypeError, match="got GroupNorm"):
        network.append(nn.GroupNorm(1, 3))
    with pytest.raises(ValueError, match="ceil_mode=False"):
        network[-1] = nn.MaxPool1d(2, ceil_mode=True)
    with pytest.raises(TypeError, match="expected the place of a layer to be an int, got str"):
        network["wide"]
    for place in (3, -4):
        with pytest.raises(IndexError, match=f"expected a place from -3 to 2, got {place}"):
            network[place]
    assert (len(network), len(network[3:])) == (3, 0)


def test_without_sizes_all_images_fill_the_batch() -> None:
    network = SizedSequential(nn.Conv1d(1, 2, 3, 2), nn.ReLU())
    x = torch.randn(2, 1, 8)
    y, sizes = network(x)
    assert_close([y], [torch.relu(network[0](x))])
    assert sizes.tolist() == [[3], [3]]
    assert network(x, [8, 4])[1].tolist() == [[3], [1]]


@pytest.mark.parametrize("lines", [False, True], ids=["any", "lines"])
@pytest.mark.parametrize(
    "first", [nn.PReLU(), nn.Dropout2d(0.0), nn.MaxPool2d(1), SpatialLSTM(2, 2)], ids=lambda layer: type(layer).__name__
)
def test_what_stands_in_the_padding_does_not_reach_a_first_layer(first: nn.Module, lines: bool) -> None:
    torch.manual_seed(0)
    assert_as_alone(SizedSequential(first, nn.Sigmoid(), nn.Conv2d(2, 2, 2, 1, 1)), *ragged(2, 2, lines=lines))


def test_how_images_are_computed_together() -> None:
    seen: list[tuple[int, ...]] = []
    network = SizedSequential(nn.Conv2d(1, 1, 3, 2, 1), nn.ReLU(), SpatialLSTM(1, 1), nn.Tanh(), nn.Conv2d(1, 1, 1))
    for layer in network:
        layer.register_forward_pre_hook(lambda _, inputs: seen.append(tuple(inputs[0].shape)))
    sizes = [[90, 200], [90, 11], [90, 195], [20, 60], [90, 10], [20, 60]]
    y, own = network(torch.zeros(6, 1, 92, 210), sizes)
    strips = [(2, 1, 20, 60), (1, 1, 90, 200 + 2 + 12 + 196 + 10)]
    after = [(2, 1, 10, 30), (1, 1, 45, 210)]
    batches = [(2, 1, 45, 6), (2, 1, 10, 30), (2, 1, 45, 100)]
    assert seen == [*strips, *after, *batches, *batches, (2, 1, 10, 30), (1, 1, 45, 100 + 6 + 98 + 5)]
    assert (y.shape, own.tolist()) == ((6, 1, 45, 100), [[-(-h // 2), -(-w // 2)] for h, w in sizes])
    seen.clear()
    network(torch.zeros(3, 1, 9, 50))
    assert seen == [(3, 1, 9, 50), *[(3, 1, 5, 25)] * 4]


def test_channels_are_dropped_of_each_image_by_itself() -> None:
    torch.manual_seed(0)
    network = SizedSequential(nn.MaxPool2d(1), nn.Dropout2d())
    y, sizes = network(torch.ones(8, 16, 3, 9), [[3, k + 2] for k in range(8)])
    kept = [image[0].flatten(1) for image in images(y, sizes)]
    assert all(bool((channels == channels[:, :1]).all()) for channels in kept)
    assert len({tuple(channels[:, 0].tolist()) for channels in kept}) == 8
    assert bool((network.eval()(torch.ones(1, 16, 3, 9))[0] == 1).all())


def test_what_comes_out_of_each_image_alone() -> None:
    network = SizedSequential(nn.Conv1d(2, 3, 2), nn.ReLU())
    x, sizes = torch.randn(3, 2, 8), torch.tensor([[8], [2], [5]])
    y, own = network(x, sizes)
    assert_close(network.images(x, sizes), images(y, own))


def test_extents_say_which_images_are_too_small() -> None:
    network = SizedSequential(nn.Conv2d(1, 1, (2, 3)), nn.Conv2d(1, 1, 1, padding=1))
    assert network.extents(torch.tensor([[2, 3], [1, 3], [2, 2], [5, 9]])).tolist() == [[3, 3], [0, 0], [0, 0], [6, 9]]


@pytest.mark.parametrize(
    ("layer", "error", "words"),
    [
        (nn.GroupNorm(1, 2), TypeError, "whose way with padding is known.*got GroupNorm"),
        (nn.Sequential(nn.ReLU()), TypeError, "SizedModule.*got Sequential"),
        (nn.ConvTranspose2d(1, 1, 2), TypeError, "got ConvTranspose2d"),
        (nn.Conv2d(1, 1, 3, padding=1, padding_mode="reflect"), ValueError, "padding_mode='zeros'"),
        (nn.MaxPool2d(2, ceil_mode=True), ValueError, "ceil_mode=False"),
        (nn.MaxPool2d(2, return_indices=True), ValueError, "return_indices=False"),
        (nn.AvgPool2d(3, padding=1, count_include_pad=False), ValueError, "counts its padding"),
        (SpatialLSTM(1, 1, channels_last=True), ValueError, "channels_last=False"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else "",
)
def test_layers_that_would_see_padding_are_refused(layer: nn.Module, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        SizedSequential(layer)


@pytest.mark.parametrize(
    "layers",
    [
        (OrderedDict(a=nn.ReLU()), OrderedDict(a=nn.Tanh())),
        (OrderedDict(a=nn.ReLU()), OrderedDict(b=nn.Tanh())),
        (nn.ReLU(), OrderedDict({"0": nn.Tanh()})),
        (OrderedDict({"1": nn.Tanh()}), nn.ReLU()),
    ],
    ids=["same", "two", "beside", "before"],
)
def test_dictionaries_beside_other_layers_are_refused(layers: Any) -> None:
    with pytest.raises(
        TypeError, match="expected layers, or one ordered dictionary of them, got one among 2 arguments"
    ):
        SizedSequential(*layers)


def test_the_default_device_is_not_where_sizes_are() -> None:
    network = SizedSequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.MaxPool2d(3, 2, 1), SpatialLSTM(4, 2), nn.AvgPool2d(1)
    )
    x, sizes = torch.randn(2, 3, 4, 5), torch.tensor([[4, 5], [2, 3]])
    for own in (sizes, None):
        expected, extents = network(x, own)
        with torch.device("meta"):
            found, left = network(x, own)
        assert_close([found], [expected])
        assert torch.equal(left, extents)
    with torch.device("meta"):
        assert network.extents(sizes).device == sizes.device


@pytest.mark.parametrize(
    ("x", "sizes", "error", "words"),
    [
        (torch.zeros(2, 1, 5, 5), [[5, 5], [2, 5]], ValueError, r"window of Conv2d.*got 2 x 5 sites in image 1"),
        (torch.zeros(2, 1, 5, 5), [[5, 5], [0, 5]], ValueError, "sizes from 1"),
        (torch.zeros(2, 1, 5, 5), [[5, 5], [6, 5]], ValueError, "sizes from 1"),
        (torch.zeros(2, 1, 5, 5), [5, 5], ValueError, r"shape \(2, 2\)"),
        (torch.zeros(2, 1, 5), [5, 5], ValueError, r"\(N, C, \*S\) with 2 spatial axes, got \(2, 1, 5\)"),
        (torch.zeros(1, 5, 5), None, ValueError, r"\(N, C, \*S\) with 2 spatial axes, got \(1, 5, 5\)"),
        (torch.zeros(1, 5, 5), [5, 5], ValueError, r"\(N, C, \*S\) with 2 spatial axes, got \(1, 5, 5\)"),
        (torch.zeros(2, 1, 5, 2), None, ValueError, r"window of Conv2d.*got 5 x 2 sites in image 0"),
        (torch.zeros(2, 1), None, ValueError, r"\(N, C, \*S\)"),
        ([[1.0]], None, TypeError, "Tensor, got list"),
    ],
    ids=["small", "zero", "large", "rank", "axes", "no-N", "no-N-sizes", "all-small", "no-axes", "list"],
)
def test_what_does_not_fit_is_refused(x: Any, sizes: Sequence[Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        SizedSequential(nn.ReLU(), nn.Conv2d(1, 1, 3))(x, sizes)


def test_layers_that_do_not_fit_one_another_are_refused() -> None:
    network = SizedSequential(nn.ReLU(), SizedSequential(nn.Conv2d(1, 1, 1)), SpatialLSTM(1, 1, spatial_dims=1))
    for sizes in (None, [[5, 5], [5, 4]]):
        with pytest.raises(ValueError, match="expected layers for 2 spatial axes here, got SpatialLSTM"):
            network(torch.zeros(2, 1, 5, 5), sizes)
    with pytest.raises(ValueError, match="with 2 spatial axes, got"):
        network(torch.zeros(2, 1, 5))


@pytest.mark.parametrize("training", [True, False])
def test_statistics_of_one_site_are_refused(training: bool) -> None:
    network = SizedSequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2, track_running_stats=training)).train(training)
    for x, sizes in ((torch.zeros(1, 1, 3, 3), None), (torch.zeros(1, 1, 3, 5), [[3, 3]])):
        with pytest.raises(ValueError, match=r"expected more than one site .* for BatchNorm2d\(2.*, got 1"):
            network(x, sizes)
    assert network(torch.ones(2, 1, 3, 3))[0].isfinite().all()


def test_windows_that_miss_an_image_are_refused() -> None:
    """PyTorch's pooling writes somewhere else then, with sizes or without."""
    network = SizedSequential(nn.MaxPool2d(2, padding=1, dilation=3))
    for x, sizes in ((torch.zeros(2, 1, 5, 6), [[5, 6], [5, 2]]), (torch.zeros(2, 1, 5, 2), None)):
        with pytest.raises(ValueError, match=r"no smaller than the dilation of MaxPool2d.*got \[5, 2\]"):
            network(x, sizes)
    assert network(torch.ones(2, 1, 5, 6), [[5, 6], [5, 3]])[0].isfinite().all()


def test_no_images_at_all() -> None:
    network = SizedSequential(nn.Conv2d(1, 2, 3, padding=1), SpatialLSTM(2, 3))
    y, sizes = network(torch.zeros(0, 1, 4, 5), torch.zeros(0, 2, dtype=torch.int64))
    assert y.shape == (0, 3, 4, 5)
    assert sizes.shape == (0, 2)
    assert network.images(torch.zeros(0, 1, 4, 5)) == []
