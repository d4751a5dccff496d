"""Handwritten digits told apart by a small network of four-direction layers: ``python -m examples.digits`` in a clone.

The data are the 8x8 digits that ship with scikit-learn. :mod:`~examples.digits.network` is what is trained, and
:mod:`~examples.digits.task` tells the package's training loop how: it brings checkpoints, resuming and metrics.
"""
