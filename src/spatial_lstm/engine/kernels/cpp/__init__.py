"""The C++ kernel for CPUs: wavefronts whose products and gates are fused, compiled on first use."""

from __future__ import annotations

from spatial_lstm.engine.kernels.cpp.kernel import CppKernel
from spatial_lstm.engine.kernels.cpp.planes import as_rows

__all__ = ["CppKernel", "as_rows"]
