"""The network that reads lines: padding, narrow lines, its options, and growing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from spatial_lstm.handwriting import ARCHITECTURES, HandwritingRecognizer, columns_needed
from tests.cases import assert_close, gradients

WIDTHS = torch.tensor([37, 12, 60, 41])
TARGETS = torch.tensor([[1, 2, 2, 4], [3, 0, 0, 0], [0, 0, 0, 0], [4, 4, 1, 0]])
LENGTHS = torch.tensor([4, 1, 0, 3])


def make(architecture: str = "default", **options: Any) -> HandwritingRecognizer:
    torch.manual_seed(0)
    recognizer = HandwritingRecognizer(**{"classes": 5, "height": 32, "architecture": architecture, **options})
    return recognizer.double()


def lines() -> Tensor:
    """Lines of :data:`WIDTHS`, with noise and NaN right of them."""
    torch.manual_seed(1)
    images = torch.rand(4, 1, 32, 62, dtype=torch.float64)
    images[0, ..., 37:] = torch.nan
    return images


def single(images: Tensor, k: int) -> tuple[Tensor, Tensor]:
    return images[k : k + 1, ..., : WIDTHS[k]], WIDTHS[k : k + 1]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_padded_batch_gives_what_each_line_gives_alone(architecture: str) -> None:
    recognizer, images = make(architecture).eval(), lines()
    log_probs, lengths = recognizer(images, WIDTHS)
    alone = [recognizer(*single(images, k)) for k in range(4)]
    assert lengths.tolist() == [int(own) for _, own in alone] == recognizer.columns(WIDTHS).tolist()
    assert_close([log_probs[k, :n] for k, n in enumerate(lengths)], [found[0] for found, _ in alone])
    for k, n in enumerate(lengths):
        assert (log_probs[k, n:].exp() == functional.one_hot(torch.tensor(0), 5)).all()
    losses = [recognizer.loss(*single(images, k), TARGETS[k : k + 1], LENGTHS[k : k + 1]) for k in range(4)]
    loss = recognizer.loss(images, WIDTHS, TARGETS, LENGTHS)
    parameters = list(recognizer.parameters())
    assert_close([loss], [torch.stack(losses).mean()])
    assert_close(gradients([loss], parameters), gradients([torch.stack(losses).mean()], parameters))


def test_training_sees_no_padding() -> None:
    recognizer, images = make(), lines()
    found = recognizer.loss(images, WIDTHS, TARGETS, LENGTHS)
    wider = functional.pad(images, (0, 21), value=torch.inf)
    expected = recognizer.loss(wider, WIDTHS, TARGETS, LENGTHS)
    parameters = list(recognizer.parameters())
    assert_close([found], [expected])
    assert_close(gradients([found], parameters), gradients([expected], parameters))


@pytest.mark.parametrize("architecture", ["default", "graves-2009"])
def test_a_line_too_narrow_for_its_text_is_continued_with_paper(architecture: str) -> None:
    recognizer = make(architecture)
    images, text = torch.rand(1, 1, 32, 9, dtype=torch.float64), torch.tensor([[1, 1, 2, 3, 3, 3, 4]])
    size, needed = torch.tensor([7]), 10
    width = recognizer.least_width(needed)
    assert recognizer.columns(torch.tensor([width, width - 1])).tolist() == [needed, needed - 1]
    longer = functional.pad(images, (0, width - 9))
    expected = recognizer.loss(longer, torch.tensor([width]), text, size)
    found = recognizer.loss(images, torch.tensor([9]), text, size)
    assert torch.isfinite(found)
    assert_close([found], [expected])


def test_a_line_narrower_than_a_block_is_continued_with_paper() -> None:
    recognizer = make("graves-2009")
    narrow = torch.rand(1, 1, 32, 2, dtype=torch.float64)
    found, lengths = recognizer(narrow, torch.tensor([2]))
    assert lengths.tolist() == [1]
    assert recognizer.columns(torch.tensor([2])).tolist() == [0]
    assert_close([found], [recognizer(functional.pad(narrow, (0, 2)), torch.tensor([4]))[0]])


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("width", [1, 2, 3, 4])
def test_narrow_lines_are_continued_with_paper_not_with_padding(architecture: str, width: int) -> None:
    recognizer, widths = make(architecture).eval(), torch.tensor([40, width])
    texts, sizes = torch.tensor([[1, 2, 0], [3, 4, 4]]), torch.tensor([2, 3])
    clean = torch.rand(2, 1, 32, 40, dtype=torch.float64)
    narrow = clean[1:, ..., :width]
    read = recognizer(narrow, widths[1:])[0][0]
    nats = [recognizer.loss(clean[:1], widths[:1], texts[:1], sizes[:1])]
    nats.append(recognizer.loss(narrow, widths[1:], texts[1:], sizes[1:]))
    for padding in (0.0, 1.0, torch.nan):
        images = clean.clone()
        images[1, ..., width:] = padding
        given = images.clone().requires_grad_()
        log_probs, lengths = recognizer(given, widths)
        loss = recognizer.loss(given, widths, texts, sizes)
        assert_close([log_probs[1, : lengths[1]], loss], [read, torch.stack(nats).mean()])
        (slope,) = gradients([loss + log_probs[1, : lengths[1]].sum()], [given])
        assert bool((slope[1, ..., width:] == 0).all())
        assert bool(slope.isfinite().all())
        assert torch.equal(given.detach().nan_to_num(), images.nan_to_num())


@pytest.mark.parametrize("width", [1, 2])
def test_one_column_of_one_row_is_not_trained_on(width: int) -> None:
    recognizer, widths = make(height=16), torch.tensor([width] * 2)
    images = torch.rand(2, 1, 16, width, dtype=torch.float64)
    with pytest.raises(ValueError, match="expected more than one site in the batch, for BatchNorm2d.*, got 1"):
        recognizer(images[:1], widths[:1])
    assert recognizer(images, widths)[0].isfinite().all()
    assert recognizer.eval()(images[:1], widths[:1])[0].isfinite().all()


def test_columns_needed_are_those_from_which_on_the_loss_is_finite() -> None:
    needed = columns_needed(TARGETS, LENGTHS)
    assert needed.tolist() == [5, 1, 1, 4]
    log_probs = torch.randn(5, 1, 5).log_softmax(2)
    for k in (0, 1, 3):
        for columns in range(1, 6):
            text = TARGETS[k : k + 1, : LENGTHS[k]]
            loss = functional.ctc_loss(log_probs[:columns], text, torch.tensor([columns]), LENGTHS[k : k + 1])
            assert bool(torch.isfinite(loss)) == (columns >= needed[k])


def test_the_loss_is_the_mean_of_nats_per_character() -> None:
    recognizer, images = make(), lines()
    log_probs, lengths = recognizer(images, WIDTHS)
    args = TARGETS, lengths, LENGTHS
    nats = functional.ctc_loss(log_probs.transpose(0, 1), *args, reduction="none")
    assert_close([recognizer.loss(images, WIDTHS, TARGETS, LENGTHS)], [(nats / torch.tensor([4, 1, 1, 3])).mean()])


@pytest.mark.parametrize("name", ["default-convolutions", "default-sequences"])
def test_controls_have_as_many_parameters(name: str) -> None:
    count, other = (sum(p.numel() for p in make(n).parameters()) for n in ("default", name))
    assert count != other
    assert abs(other / count - 1) < 0.01


def test_names_of_weights() -> None:
    modules = dict.fromkeys(name.rsplit(".", 1)[0] for name in make().state_dict())
    assert list(modules) == [
        *(f"features.{kind}{number}" for number in (1, 2, 3) for kind in ("conv", "norm")),
        "features.grid",
        "features.conv4",
        "features.norm4",
        "features.columns",
        "output",
    ]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_network_is_made_again_from_its_configuration(architecture: str) -> None:
    recognizer = make(architecture, cell="graves", directions=("ff", "rr"), dropout=0.25)
    again = HandwritingRecognizer(**recognizer.config()).double()
    again.load_state_dict(recognizer.state_dict())
    found, same = (network.eval()(lines(), WIDTHS)[0].exp() for network in (recognizer, again))
    assert_close([same], [found])
    assert not torch.equal(recognizer.train()(lines(), WIDTHS)[0].exp(), found)


def test_a_grown_network_reads_what_it_read_before() -> None:
    recognizer = make()
    larger = recognizer.grown(8)
    (before, _), (after, _) = (network(lines(), WIDTHS) for network in (recognizer, larger))
    assert_close([after[:, 0, :5].log_softmax(1)], [before[:, 0]])
    assert bool((after[:, 0, 5:] < after[:, 0, :5].amax(1, keepdim=True)).all())
    assert larger.config() == {**recognizer.config(), "classes": 8}
    loss = larger.loss(lines(), WIDTHS, TARGETS + 3 * (TARGETS == 4), LENGTHS)
    assert bool(gradients([loss], [larger.output.weight])[0][7].any())
    with pytest.raises(ValueError, match="at least the 5 classes"):
        recognizer.grown(4)


def test_a_grown_network_leaves_parts_in_their_mode() -> None:
    recognizer = make()
    recognizer.features.eval()
    larger = recognizer.grown(8)
    assert (larger.training, larger.output.training) == (True, True)
    assert not any(module.training for module in larger.features.modules())


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_default_device_is_not_where_widths_are(architecture: str) -> None:
    recognizer, images = make(architecture), lines()
    expected, lengths = recognizer(images, WIDTHS)
    loss = recognizer.loss(images, WIDTHS, TARGETS, LENGTHS)
    with torch.device("meta"):
        empty = HandwritingRecognizer(4, architecture=architecture)
        found, own = recognizer(images, WIDTHS)
        assert torch.equal(found, expected)
        assert torch.equal(own, lengths)
        assert_close([recognizer.loss(images, WIDTHS, TARGETS, LENGTHS)], [loss])
        assert recognizer.grown(6).output.weight.device == images.device
    assert all(parameter.is_meta for parameter in empty.parameters())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_the_loss_of_16_bits(dtype: torch.dtype) -> None:
    recognizer, images = make().to(dtype), lines().nan_to_num().to(dtype)
    loss = recognizer.loss(images, WIDTHS, TARGETS, LENGTHS)
    loss.backward()
    log_probs, lengths = recognizer(images, WIDTHS)
    nats = functional.ctc_loss(log_probs.float().transpose(0, 1), TARGETS, lengths, LENGTHS, reduction="none")
    assert_close([loss], [(nats / LENGTHS.clamp(min=1)).mean()])
    for name, parameter in recognizer.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.dtype == dtype
        assert parameter.grad.isfinite().all(), name


def test_no_lines_at_all() -> None:
    recognizer = make()
    images, none = torch.zeros(0, 1, 32, 20, dtype=torch.float64), torch.zeros(0, dtype=torch.int64)
    assert recognizer(images, none)[0].shape == (0, 5, 5)
    loss = recognizer.loss(images, none, torch.zeros(0, 3, dtype=torch.int64), none)
    loss.backward()
    assert float(loss.detach()) == 0


IMAGES = torch.zeros(2, 1, 32, 20, dtype=torch.float64)
W, T, L = torch.tensor([20, 10]), torch.tensor([[1, 2], [3, 4]]), torch.tensor([2, 1])


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda r: HandwritingRecognizer(1), ValueError, "at least 2 classes"),
        (lambda r: HandwritingRecognizer(5, architecture="best"), ValueError, "one of default, graves.*'best'"),
        (lambda r: HandwritingRecognizer(5, height=8), ValueError, "height that is enough.*got 8"),
        (lambda r: HandwritingRecognizer(5, cell="gru"), ValueError, "cell"),
        (lambda r: HandwritingRecognizer(5, dropout=None), TypeError, "dropout to be a float, got NoneType"),
        (lambda r: HandwritingRecognizer(5, dropout=-0.5), ValueError, "dropout from 0 to 1, got -0.5"),
        (lambda r: r.columns(W.double()), TypeError, "widths to be a Tensor of integers, got torch.float64"),
        (lambda r: r(IMAGES.to("meta"), W), ValueError, "images on cpu, as the weights, got meta"),
        (lambda r: r(IMAGES, W.cfloat()), TypeError, "got torch.complex64"),
        (lambda r: r(IMAGES[0], W), ValueError, r"\(N, 1, 32, W\), got \(1, 32, 20\)"),
        (lambda r: r(IMAGES[:, :, :31], W), ValueError, r"\(N, 1, 32, W\)"),
        (lambda r: r(IMAGES.float(), W), ValueError, "torch.float64, as the weights, got torch.float32"),
        (lambda r: r(IMAGES, [20, 10]), TypeError, "widths to be a Tensor of integers, got list"),
        (lambda r: r(IMAGES, W.double()), TypeError, "got torch.float64"),
        (lambda r: r(IMAGES, W[:1]), ValueError, r"widths of shape \(2,\)"),
        (lambda r: r(IMAGES, W + 1), ValueError, r"from 1 to the batch's 20, got \[21, 11\]"),
        (lambda r: r.loss(IMAGES, W, T, L[:1]), ValueError, r"target_lengths \(2,\)"),
        (lambda r: r.loss(IMAGES, W, T, L + 1), ValueError, r"from 0 to 2, got \[3, 2\]"),
        (lambda r: r.loss(IMAGES, W, T + 2, L), ValueError, "from 1 to 4, 0 being the blank, got 5"),
        (lambda r: r.loss(IMAGES, W, T - 1, L), ValueError, "from 1 to 4, 0 being the blank, got 0"),
        (lambda r: r.loss(IMAGES, W, T.double(), L), TypeError, "targets to be a Tensor of integers"),
    ],
)
def test_what_does_not_fit_is_refused(
    call: Callable[[HandwritingRecognizer], object], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        call(make())
