"""A ragged batch on its way through a network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain, groupby
from typing import NamedTuple

from torch import Tensor

from spatial_lstm.modules.sized.groups import WORTHWHILE, similar
from spatial_lstm.modules.sized.layout import cropped, in_a_row, in_format, stacked


class Sheet(NamedTuple):
    """Some images in one tensor: a batch, or a strip of images side by side along the last axis.

    Attributes:
        x: ``(N, C, *S)``, or a strip ``(1, C, *S)``.
        places: Which images of the whole batch these are.
        starts: Where each begins in a strip; None for a batch.
        zero: Whether what belongs to no image is zero; any finite numbers otherwise.
    """

    x: Tensor
    places: list[int]
    starts: list[int] | None = None
    zero: bool = True

    def images(self, sizes: Sequence[Sequence[int]]) -> list[Tensor]:
        """Each alone, ``(1, *own, C)``."""
        x = self.x.movedim(1, -1)
        if self.starts is None:
            return [cropped(image, own) for image, own in zip(x.split(1), sizes, strict=True)]
        ends = [start + own[-1] for start, own in zip(self.starts, sizes, strict=True)]
        rests = [start - end for end, start in zip(ends, [*self.starts[1:], x.shape[-2]], strict=True)]
        extents = chain.from_iterable((own[-1], rest) for own, rest in zip(sizes, rests, strict=True))
        return list(x.split(list(extents), -2)[::2])

    def is_filled(self, sizes: Sequence[Sequence[int]]) -> bool:
        """Whether there are no sites but those of images."""
        if self.starts is None:
            return all(list(own) == list(self.x.shape[2:]) for own in sizes)
        return sum(own[-1] for own in sizes) == self.x.shape[-1]


class Ragged:
    """Images of different sizes in as few tensors as a layer can take them in.

    Layers that see single sites run on a sheet as it is, windows on strips with room between the images, and what knows sizes itself on
    padded batches. In the strips of a layer all images have the same extents but for the last axis.

    Args:
        sheets: All images.
        sizes: ``(N, n)``, N at least 1.
    """

    def __init__(self, sheets: Sequence[Sheet], sizes: Tensor) -> None:
        self.sheets = sheets
        self.sizes = sizes
        self._own: list[list[int]] = sizes.tolist()

    @classmethod
    def of(cls, x: Tensor, sizes: Tensor) -> Ragged:
        """From a batch with anything in the padding."""
        whole = Sheet(_within(x, sizes), list(range(len(sizes))), zero=False)
        if whole.is_filled(sizes.tolist()):
            return cls([whole._replace(x=in_format(whole.x), zero=True)], sizes)
        return cls([whole], sizes).tight()

    def each(self, run: Callable[[Tensor], Tensor], *, zero: bool = False) -> Ragged:
        """Run what sees single sites on every sheet; ``zero``: it makes zero of zero."""
        # Not s._replace, which torch 2.11 does not compile.
        return Ragged([Sheet(run(s.x), s.places, s.starts, zero and s.zero) for s in self.sheets], self.sizes)

    def images(self) -> list[Tensor]:
        """Each alone, ``(1, *own, C)``, in order."""
        found = [
            pair for sheet in self.sheets for pair in zip(sheet.places, sheet.images(self._sizes(sheet)), strict=True)
        ]
        return [image for _, image in sorted(found, key=lambda pair: pair[0])]

    def tight(self) -> Ragged:
        """In sheets without any other sites."""
        if all(sheet.is_filled(self._sizes(sheet)) for sheet in self.sheets):
            return self
        return self._strips([own[-1] for own in self._own], 0, 1, 0.0)

    def spaced(self, room: list[int], gap: int, multiple: int, value: float) -> Ragged:
        """In strips where windows see of each image what they see of it alone, or in batches without padding.

        Args:
            room: Sites along the last axis from the beginning of each image that none of the others may begin in.
            gap: Sites between two images at least.
            multiple: What images begin at multiples of.
            value: What stands in the gaps.
        """

        def serves(sheet: Sheet) -> bool:
            if sheet.starts is None:
                return sheet.is_filled(self._sizes(sheet))
            ends = [start + room[place] for start, place in zip(sheet.starts, sheet.places, strict=True)]
            far = all(end <= start for end, start in zip(ends, sheet.starts[1:], strict=False))
            return not gap and far and not any(start % multiple for start in sheet.starts)

        return self if all(map(serves, self.sheets)) else self._strips(room, gap, multiple, value)

    def batches(self, *, zero: bool) -> Ragged:
        """In padded batches of similar images; ``zero``: with nothing else in the padding."""
        # On a GPU moving some more sites costs less than more launches.
        alike = self.sheets[0].x.device.type != "cpu"
        groups = [list(range(len(self.sizes)))] if alike else similar(self._own, WORTHWHILE)
        there = all(sheet.starts is None and not (zero and self._has_rubbish(sheet)) for sheet in self.sheets)
        if there and len(self.sheets) <= len(groups):
            return self
        images = self.images()
        return Ragged([_batch([images[k] for k in group], group) for group in groups], self.sizes)

    def padded(self) -> Tensor:
        """One batch as large as the largest image, zero in the padding."""
        first = self.sheets[0]
        if len(self.sheets) == 1 and first.starts is None and not self._has_rubbish(first):
            return _within(first.x, self.sizes)
        return stacked(self.images()).movedim(-1, 1)

    def _strips(self, room: list[int], gap: int, multiple: int, value: float) -> Ragged:
        images, sizes = self.images(), self._own
        order = sorted(range(len(images)), key=lambda k: sizes[k][:-1])
        sheets = []
        for _, group in groupby(order, key=lambda k: sizes[k][:-1]):
            places = list(group)
            own = [images[k] for k in places]
            if len({image.shape[-2] for image in own}) == 1:
                sheets.append(_batch(own, places))
                continue
            starts = [0]
            for k in places[:-1]:
                end = starts[-1] + max(room[k], sizes[k][-1] + gap)
                starts.append(-(-end // multiple) * multiple)
            sheets.append(Sheet(in_a_row(own, starts, value).movedim(-1, 1), places, starts, zero=value == 0))
        return Ragged(sheets, self.sizes)

    def _has_rubbish(self, sheet: Sheet) -> bool:
        return not sheet.zero and not sheet.is_filled(self._sizes(sheet))

    def _sizes(self, sheet: Sheet) -> list[list[int]]:
        return [self._own[place] for place in sheet.places]


def _batch(images: Sequence[Tensor], places: list[int]) -> Sheet:
    return Sheet(stacked(images).movedim(-1, 1), places)


def _within(x: Tensor, sizes: Tensor) -> Tensor:
    """A batch without what is beyond all of its images."""
    return cropped(x.movedim(1, -1), sizes.amax(0).tolist()).movedim(-1, 1)
