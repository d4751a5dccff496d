"""A small image fed forward and backward, site by site, with every number: the example that ``python -m spatial_lstm trace`` prints.

All results come from :mod:`spatial_lstm.reference`; what is written here is the sums that lead to them.
"""

from __future__ import annotations

from .example import Example
from .sections import lines

__all__ = ["Example", "lines"]
