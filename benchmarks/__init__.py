"""How fast the layer is, how much memory it takes, and beside whom. ``python -m benchmarks --help``; see :mod:`benchmarks.__main__`."""
