"""PixelRNN: causal, a distribution, the same pixel by pixel, and drawn from as it says."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch._subclasses import FakeTensorMode

from spatial_lstm.image_models import Ensemble, PixelRNN
from spatial_lstm.image_models.data import Splits, dequantize
from spatial_lstm.image_models.pixelrnn import MaskedConv2d
from spatial_lstm.image_models.pixelrnn.raster import RasterScan
from spatial_lstm.image_models.training import ImageStage, ImageTask, load_model
from spatial_lstm.training import BEST, Options, Trainer
from tests.cases import assert_close

VARIANTS = ("diagonal", "row")
KINDS = [(variant, channels, levels) for variant in VARIANTS for channels, levels in ((1, 2), (1, 5), (3, 2), (2, 4))]


def make(variant: str = "diagonal", channels: int = 1, levels: int = 2, layers: int = 2, hidden: int = 6) -> PixelRNN:
    """A small model with parameters at which everything matters."""
    torch.manual_seed(3)
    model = PixelRNN(
        channels,
        levels,
        hidden_size=hidden,
        num_layers=layers,
        variant=variant,
        kernel_size=5,
        dtype=torch.float64,
    )
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, 0, 0.4)
    return model


def drawn(model: PixelRNN, num: int, height: int, width: int) -> Tensor:
    """Images of random levels."""
    values = torch.randint(model.levels, (num, model.channels, height, width))
    return values.double() / (model.levels - 1)


@pytest.mark.parametrize(("variant", "channels", "levels"), KINDS)
@pytest.mark.parametrize(("height", "width"), [(5, 7), (1, 4), (6, 1)])
def test_pixel_by_pixel_is_all_at_once(variant: str, channels: int, levels: int, height: int, width: int) -> None:
    model = make(variant, channels, levels)
    images = drawn(model, 3, height, width)
    density = model.log_density(images)
    assert density.shape == images.shape
    assert_close([model.log_density_by_pixels(images)], [density.detach()])
    nats, pixels = model.log_prob(images)
    assert pixels == height * width
    assert_close([nats], [density.flatten(1).sum(1)])


@pytest.mark.parametrize(
    ("variant", "channels", "levels", "height", "width"),
    [
        ("diagonal", 1, 2, 3, 3),
        ("row", 1, 2, 3, 3),
        ("diagonal", 1, 3, 2, 3),
        ("diagonal", 3, 2, 1, 3),
        ("row", 2, 2, 2, 2),
    ],
)
def test_probabilities_add_up_to_one(variant: str, channels: int, levels: int, height: int, width: int) -> None:
    model = make(variant, channels, levels)
    places = channels * height * width
    values = torch.tensor(list(itertools.product(range(levels), repeat=places)), dtype=torch.float64) / (levels - 1)
    images = values.view(-1, channels, height, width)
    assert_close([model.log_prob(images).nats.exp().sum()], [torch.ones((), dtype=torch.float64)])


def in_order(images: Tensor) -> Tensor:
    """All places in the order in which they are drawn: pixel by pixel, color by color."""
    return images.permute(0, 2, 3, 1).flatten()


@pytest.mark.parametrize(("variant", "channels", "levels"), [("diagonal", 1, 2), ("diagonal", 3, 2), ("row", 3, 2)])
def test_no_place_sees_what_is_to_come(variant: str, channels: int, levels: int) -> None:
    model = make(variant, channels, levels)
    images = drawn(model, 1, 5, 6)
    for place in range(images.numel()):
        places = in_order(images).clone()
        places[place] = 1 - places[place]
        other = places.view(1, 5, 6, channels).permute(0, 3, 1, 2).contiguous()
        changed = in_order(model.log_density(other) - model.log_density(images)) != 0
        assert not changed[:place].any()
        assert changed[place]


def test_the_diagonal_bilstm_sees_all_that_came_before() -> None:
    """In one layer, far beyond the first convolution; but for the last pixel of the row above, which only that convolution can show."""
    model = make(layers=1)
    images = drawn(model, 1, 9, 10).requires_grad_()
    (block,) = model.network.recurrent_blocks()
    hidden = block.layer(model.network.first(images))
    for place in (3, 15, 44, 50, 89):
        (seen,) = torch.autograd.grad(hidden.flatten(2)[0, :, place].sum(), images, retain_graph=True)
        row, column = divmod(place, 10)
        blind = {10 * row - 1} if column + 2 < 9 else set()
        assert set(in_order(seen).nonzero().flatten().tolist()) == set(range(place)) - blind


def test_the_row_lstm_sees_a_triangle() -> None:
    """One layer behind a first convolution of 5: in the k-th row above a pixel, k + 3 pixels to the left and k + 1 to the right."""
    model = make("row", layers=1)
    height, width = 4, 25
    images = drawn(model, 1, height, width)
    images.requires_grad_()
    (block,) = model.network.recurrent_blocks()
    hidden = block.layer(model.network.first(model.network.scale(images)))
    hidden[0, :, -1, width // 2].sum().backward()
    assert images.grad is not None
    seen = [row.nonzero().flatten().tolist() for row in images.grad[0, 0]]
    for row in range(height - 1):
        above, middle = height - 1 - row, width // 2
        assert seen[row] == list(range(middle - above - 3, middle + above + 2)), row
    assert max(seen[-1]) < width // 2


def test_samples_follow_the_probabilities() -> None:
    model = make(layers=1)
    images = torch.tensor(list(itertools.product([0.0, 1.0], repeat=4)), dtype=torch.float64).view(-1, 1, 2, 2)
    expected = model.log_prob(images).nats.exp()
    samples = model.sample(2, 2, 20_000, generator=torch.Generator().manual_seed(0))
    found = (samples.flatten(1) @ torch.tensor([8.0, 4.0, 2.0, 1.0], dtype=torch.float64)).long().bincount(minlength=16)
    error = (expected * (1 - expected) / 20_000).sqrt()
    assert ((found / 20_000 - expected).abs() < 4.5 * error).all()


@pytest.mark.parametrize(("variant", "channels", "levels"), KINDS)
def test_samples_are_images_of_the_levels(variant: str, channels: int, levels: int) -> None:
    model = make(variant, channels, levels)
    steps: list[tuple[int, int]] = []
    generator = torch.Generator().manual_seed(1)
    first = model.sample(3, 4, 5, generator=generator, progress=lambda *step: steps.append(step))
    assert first.shape == (5, channels, 3, 4)
    assert torch.equal(model.quantize(first) / (levels - 1), first)
    assert torch.equal(model.sample(3, 4, 5, generator=torch.Generator().manual_seed(1)), first)
    assert steps == [(k, 12) for k in range(1, 13)]
    assert len({tuple(image.flatten().tolist()) for image in first}) > 1


@pytest.mark.parametrize("channels", [1, 3])
def test_completion_draws_the_hole_given_what_is_before(channels: int) -> None:
    """The frequencies of the last pixel are the model's, whatever stood there."""
    model = make(channels=channels)
    image = drawn(model, 1, 3, 4)
    mask = torch.zeros(1, 1, 3, 4, dtype=torch.bool)
    mask[..., -1, -1] = True
    many = image.repeat(8000, 1, 1, 1)
    many[:, :, -1, -1] = 0.3  # not read
    filled = model.complete(many, mask, generator=torch.Generator().manual_seed(2))
    assert torch.equal(filled.masked_fill(mask, 0), image.masked_fill(mask, 0).expand_as(filled))
    choices = torch.tensor(list(itertools.product([0.0, 1.0], repeat=channels)), dtype=torch.float64)
    each = image.repeat(len(choices), 1, 1, 1)
    each[:, :, -1, -1] = choices
    expected = model.log_prob(each).nats.softmax(0)
    found = (filled[:, None, :, -1, -1] == choices).all(2).double().mean(0)
    assert ((found - expected).abs() < 4.5 * (expected * (1 - expected) / 8000).sqrt() + 1e-12).all()


def test_of_several_completions_the_likeliest_image_is_kept() -> None:
    model = make()
    images = drawn(model, 4, 5, 5)
    mask = torch.zeros(1, 1, 5, 5, dtype=torch.bool)
    mask[:, :, 1:4, 1:4] = True
    one = model.complete(images, mask, generator=torch.Generator().manual_seed(0))
    best = model.inpaint(images, mask, candidates=64, generator=torch.Generator().manual_seed(0))
    assert (model.log_prob(best).nats >= model.log_prob(one).nats).all()
    assert torch.equal(best.masked_fill(mask, 0), images.masked_fill(mask, 0))


def test_levels_of_dequantized_pixels_are_their_integers() -> None:
    pixels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    model = PixelRNN(1, 256, hidden_size=2)
    for image in (dequantize(pixels, np.random.default_rng(0)), torch.from_numpy(pixels / np.float32(255))[None]):
        assert model.quantize(image[None]).flatten().tolist() == list(range(256))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_levels_are_told_apart_in_every_type(dtype: torch.dtype) -> None:
    for levels in (2, 3, 16, 100, 255, 256):
        model = PixelRNN(1, levels, hidden_size=1, dtype=dtype)
        values = torch.arange(float(levels))
        for images in ((values / (levels - 1)).to(dtype), values.to(dtype) / (levels - 1)):
            assert torch.equal(model.quantize(images.view(1, 1, 1, -1)).flatten().float(), values), levels


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_values_between_levels_belong_to_their_interval(dtype: torch.dtype) -> None:
    model = PixelRNN(1, 256, hidden_size=1, dtype=dtype)
    images = torch.rand(1, 1, 100, 100, dtype=dtype)
    assert torch.equal(model.quantize(images), (images * 256).floor())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_samples_of_16_bits_are_scored_as_they_were_drawn(dtype: torch.dtype) -> None:
    model = PixelRNN(1, 256, hidden_size=4, dtype=dtype)
    scan = RasterScan(model.network, torch.zeros(1, 1, 9, 9, dtype=dtype))
    values = scan.run(torch.ones(1, 1, 9, 9, dtype=torch.bool), generator=torch.Generator().manual_seed(0))
    images = model.sample(9, 9, generator=torch.Generator().manual_seed(0))
    assert images.dtype == dtype
    assert torch.equal(model.quantize(images), values)


@pytest.mark.parametrize("variant", VARIANTS)
def test_images_without_values_are_scored(variant: str) -> None:
    """Batched by vmap, on the meta device, and fake."""
    model = make(variant, levels=4)
    images = drawn(model, 3, 4, 5)
    batched = torch.func.vmap(lambda image: model.log_prob(image.unsqueeze(0)).nats)(images)
    assert_close([batched.squeeze(1)], [model.log_prob(images).nats])
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        assert model.log_prob(mode.from_tensor(images)).nats.shape == (3,)
    empty = PixelRNN(3, hidden_size=4, variant=variant, device="meta")
    assert empty.log_prob(torch.zeros(2, 3, 4, 5, device="meta")).nats.is_meta
    with torch.device("meta"):
        assert not PixelRNN(3, hidden_size=4, variant=variant, device="cpu").network.first.mask.is_meta


@pytest.mark.parametrize(("channels", "levels"), [(1, 2), (3, 4)])
@pytest.mark.parametrize("variant", VARIANTS)
def test_gradients_reach_every_parameter(variant: str, channels: int, levels: int) -> None:
    model = make(variant, channels, levels)
    model(drawn(model, 2, 6, 7)).nats.sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name


def test_masked_convolutions() -> None:
    """One pixel's own channels are seen by group, those to come not at all."""
    for mask, blocks, own in (("A", 1, False), ("B", 2, True)):
        conv = MaskedConv2d(4, 6, 5, mask=mask, rows=1, colors=2, blocks=blocks, dtype=torch.float64)
        weight = torch.autograd.functional.jacobian(conv, torch.randn(1, 4, 4, 7, dtype=torch.float64))[0, :, 2, 3, 0]
        seen = weight != 0  # (outputs, inputs, H, W)
        assert not seen[:, :, 3].any()
        assert not seen[:, :, 2, 4:].any()
        assert not seen[:, :, 0].any()
        assert seen[:, :, 1, 1:6].all()
        assert seen[:, :, 2, 1:3].all()
        for output, input in itertools.product(range(6), range(4)):
            group = output % (6 // blocks) * 2 * blocks // 6
            assert bool(seen[output, input, 2, 3]) == (input // 2 < group + own)


def test_it_trains_and_is_rebuilt(tmp_path: Path) -> None:
    images = [(torch.rand(1, 6, 6, generator=torch.Generator().manual_seed(k)) < 0.1).float() for k in range(40)]
    task = ImageTask(PixelRNN(hidden_size=4), Splits("dots", images[:24], images[24:32], images[32:]))
    stage = ImageStage(optimizer="adam", rate=2e-2, final_rate=2e-2, batch=8, steps=30, patch=6, mirror=False)
    before = task.evaluate()
    best = Trainer(task, [stage], folder=tmp_path, options=Options(validate_every=10), progress=False).run()
    assert best > before + 0.1
    again = load_model(tmp_path / BEST)
    assert isinstance(again, PixelRNN)
    with torch.no_grad():
        assert float(again.log_prob(task.held_out).nats.mean()) == pytest.approx(best)


def test_an_ensemble_of_it() -> None:
    model = make()
    images = drawn(model, 2, 5, 5)
    turned = [
        view for image in (images, images.flip(2), images.flip(3), images.flip(2, 3)) for view in (image, image.mT)
    ]
    expected = torch.stack([model.log_prob(view).nats for view in turned]).logsumexp(0) - math.log(8)
    assert_close([Ensemble(model).log_prob(images).nats], [expected])


def test_a_compiled_model_scores_alike() -> None:
    model = make()
    images = drawn(model, 2, 5, 6)
    compiled = torch.compile(lambda x: model.log_prob(x).nats, backend="eager", fullgraph=True)
    assert_close([compiled(images)], [model.log_prob(images).nats])


def test_errors() -> None:
    model = PixelRNN(hidden_size=2)
    images = torch.zeros(2, 1, 4, 5)
    with pytest.raises(ValueError, match="expected images with values of 0 and 1 alone, got others, from 0.5 to 0.5"):
        model.log_prob(images + 0.5)
    with pytest.raises(ValueError, match="expected images with values from 0 to 1, got others, from 255 to 255"):
        PixelRNN(1, 256, hidden_size=2).log_prob(images + 255)
    with pytest.raises(ValueError, match="expected images with values from 0 to 1"):
        PixelRNN(1, 256, hidden_size=2).log_prob(images * torch.nan)
    with pytest.raises(ValueError, match=r"expected images of shape \(N, 1, H, W\), got \(2, 3, 4, 5\)"):
        model.log_prob(images.repeat(1, 3, 1, 1))
    with pytest.raises(ValueError, match=r"expected images of the model's torch\.float32 on cpu, got torch\.float64"):
        model.log_prob(images.double())
    with pytest.raises(TypeError, match="floating point type, got torch.int64"):
        model.log_prob(images.long())
    with pytest.raises(ValueError, match="expected variant to be one of diagonal, row, got 'column'"):
        PixelRNN(variant="column")
    with pytest.raises(ValueError, match="expected levels from 2 to 256, got 1"):
        PixelRNN(levels=1)
    for levels in (2.0, 4.0, True):
        with pytest.raises(TypeError, match="expected levels to be an int, got"):
            PixelRNN(levels=levels)  # type: ignore[arg-type]
    for variant in VARIANTS:
        with pytest.raises(ValueError, match="expected backend to be one of .*'auto'.*'reference'.*, got 'foo'"):
            PixelRNN(variant=variant, backend="foo")
    with pytest.raises(ValueError, match="expected an odd kernel_size, got 4"):
        PixelRNN(kernel_size=4)
    with pytest.raises(
        ValueError, match="expected a hidden_size and head_features of at least 3, one for each color, got 1 and 2"
    ):
        PixelRNN(3, hidden_size=1, head_features=2)
    with pytest.raises(TypeError, match="expected mask to be a bool Tensor, got torch.float32"):
        model.complete(images, images)
    with pytest.raises(
        ValueError, match=r"expected mask of shape \(2, 1, 4, 5\) or \(1, 1, 4, 5\), got \(1, 1, 5, 4\)"
    ):
        model.complete(images, torch.ones(1, 1, 5, 4, dtype=torch.bool))
    with pytest.raises(ValueError, match="positive"):
        model.sample(0, 4)
