#include "calls.hpp"

#ifndef SPATIAL_LSTM_BFLOAT16_ALONE  // for tests of that, compiled in a third of the time
PROVIDE(float64, double)
#endif
