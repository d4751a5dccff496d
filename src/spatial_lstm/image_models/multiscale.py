"""Two scales: one level of an orthonormal Haar transformation."""

from __future__ import annotations

from spatial_lstm.image_models.twostage import TwoStageRIDE

HAAR = ((0.5, 0.5, 0.5, 0.5), (0.5, -0.5, 0.5, -0.5), (0.5, 0.5, -0.5, -0.5), (0.5, -0.5, -0.5, 0.5))
"""Rows: the bands (low, horizontal, vertical, diagonal) of a 2x2 block's pixels in raster order."""


class MultiscaleRIDE(TwoStageRIDE):
    """RIDE for gray images ``(N, 1, H, W)`` of even extents: the low band, then the three high bands jointly given its full window.

    The bands are those of the orthonormal Haar transformation of every 2x2 block of pixels, four of which a site stands for.
    Arguments as :class:`TwoStageRIDE`'s.
    """

    basis = HAAR
    scale = 2
    channels = 1
