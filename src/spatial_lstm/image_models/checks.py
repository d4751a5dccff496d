"""Checks of what image models are given: images, and the sizes of samples."""

from __future__ import annotations

from collections.abc import Sized

from torch import Tensor

from spatial_lstm.arguments import as_int, as_positive_int, refuse_other


class NotFiniteError(ValueError):
    """Images or their log-likelihoods are infinite or NaN."""


def check_images(name: str, images: object, channels: int) -> None:
    """Refuse anything but images ``(N, C, H, W)`` of floating point numbers.

    Raises:
        TypeError: If it is no Tensor, or one of other numbers.
        ValueError: If it has another shape.
    """
    if not isinstance(images, Tensor):
        refuse_other(name, images, "the model's class")
    if images.ndim != 4 or images.shape[1] != channels:
        raise ValueError(f"expected {name} of shape (N, {channels}, H, W), got {tuple(images.shape)}")
    if not images.is_floating_point():
        raise TypeError(f"expected {name} of a floating point type, got {images.dtype}")


def check_some(images: Sized) -> None:
    """Refuse no image at all."""
    if not len(images):
        raise ValueError("expected at least one image, got none")


def check_finite(name: str, images: Tensor) -> None:
    """Refuse images ``(N, C, H, W)`` that are infinite or NaN somewhere.

    Raises:
        NotFiniteError: If there are any.
    """
    finite = images.isfinite().flatten(1).all(1)
    if not finite.all():
        raise NotFiniteError(f"expected finite {name}, got {int((~finite).sum())} of {len(images)} that are not")


def as_sizes(height: object, width: object, num: object, scale: int = 1) -> tuple[int, int, int]:
    """Rows, columns and number of a sample's images.

    Raises:
        TypeError: If one is no int.
        ValueError: If one is not positive, or rows or columns are not divisible by ``scale``.
    """
    rows, columns, count = (
        as_positive_int(name, value) for name, value in (("height", height), ("width", width), ("num", num))
    )
    if rows % scale or columns % scale:
        raise ValueError(f"expected height and width to be divisible by {scale}, got {rows} and {columns}")
    return rows, columns, count


def as_margin(margin: object, border: int) -> int:
    """How many pixels are cut off a sample on each side.

    Raises:
        TypeError: If it is no int.
        ValueError: If it is less than the model's border.
    """
    found = as_int("margin", margin)
    if found < border:
        raise ValueError(f"expected a margin of at least {border}, got {found}")
    return found
