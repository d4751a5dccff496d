#include "calls.hpp"

PROVIDE(bfloat16, BFloat16)
