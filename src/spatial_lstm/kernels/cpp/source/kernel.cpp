// The functions that Python calls: 0 when done, 1 without memory, 2 for a layer that is not provided for.
#include <new>

#include "backward.hpp"
#include "forward.hpp"

namespace {

template <template <class, class, int> class Direction, class S, class Cell, class... Tables>
bool for_axes(const Layer& layer, Tables&... tables) {
    switch (layer.axes) {
        case 1: Direction<S, Cell, 1>(layer, tables...).run(); return true;
        case 2: Direction<S, Cell, 2>(layer, tables...).run(); return true;
        case 3: Direction<S, Cell, 3>(layer, tables...).run(); return true;
        case 4: Direction<S, Cell, 4>(layer, tables...).run(); return true;
        default: return false;
    }
}

template <template <class, class, int> class Direction, class S, class... Tables>
bool for_cell(const Layer& layer, Tables&... tables) {
    if (layer.cell == SPATIAL) return for_axes<Direction, S, Spatial>(layer, tables...);
    if (layer.cell == GRAVES && layer.peephole) return for_axes<Direction, S, Graves<true>>(layer, tables...);
    if (layer.cell == GRAVES) return for_axes<Direction, S, Graves<false>>(layer, tables...);
    return layer.cell == STABLE && for_axes<Direction, S, Stable>(layer, tables...);
}

template <class Work>
int guarded(const Work& work) noexcept {
    try {
        return work() ? 0 : 2;
    } catch (const std::bad_alloc&) {
        return 1;
    }
}

}  // namespace

#define PROVIDE(type, S)                                                                                                                \
    extern "C" int forward_##type(const Layer* layer, void* h, void* c, void* gates) {                                                  \
        return guarded([=] { return for_cell<Forward, S>(*layer, h, c, gates); });                                                       \
    }                                                                                                                                   \
    extern "C" int backward_##type(const Layer* layer, const void* h, const void* c, const void* gates, const void* dh, const void* dc, \
                                   void* dh0, void* dc0, S* dx, S* weight_ih, S* weight_hh, S* weight_ch, S* bias, S* peephole) {       \
        return guarded([=] {                                                                                                            \
            const auto gradient = make_gradient<S>(*layer, h, c, {dx, weight_ih, weight_hh, weight_ch, bias, peephole});                \
            return for_cell<Backward, S>(*layer, h, c, gates, dh, dc, dh0, dc0, *gradient);                                             \
        });                                                                                                                             \
    }

PROVIDE(float32, float)
PROVIDE(float64, double)
PROVIDE(bfloat16, BFloat16)
