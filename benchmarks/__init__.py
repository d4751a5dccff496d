"""How fast the layer is, how much memory it takes, and beside whom. ``python -m benchmarks --help``; see :mod:`benchmarks.__main__`."""

import os

# numpy's OpenBLAS, once it is done, keeps its threads spinning for some 30 ms by default, and whatever is timed next on several threads
# takes up to 1.6 times as long. Read as numpy loads; at 2^4 cycles its own products take as long as before.
os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "4")
