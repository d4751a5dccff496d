"""Handwritten digits told apart by a small network of four-direction layers: ``python -m spatial_lstm digits``.

The data are the 8x8 digits that ship with scikit-learn, extra ``[demo]``.
"""

from spatial_lstm.digits.network import DigitClassifier
from spatial_lstm.digits.picture import draw
from spatial_lstm.digits.training import Digits, Run, load_digits

__all__ = ["DigitClassifier", "Digits", "Run", "draw", "load_digits"]
