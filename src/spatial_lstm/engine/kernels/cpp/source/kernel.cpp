// The functions that Python calls: 0 when done, 1 without memory, 2 for a layer that is not provided for.
#include <new>

#include "backward.hpp"
#include "forward.hpp"

namespace {

template <template <class, class, int> class Direction, class S, class Cell, class... Arguments>
bool for_axes(const Layer& layer, Arguments&... arguments) {
    switch (layer.axes) {
        case 1: Direction<S, Cell, 1>(layer, arguments...).run(); return true;
        case 2: Direction<S, Cell, 2>(layer, arguments...).run(); return true;
        case 3: Direction<S, Cell, 3>(layer, arguments...).run(); return true;
        case 4: Direction<S, Cell, 4>(layer, arguments...).run(); return true;
        default: return false;
    }
}

template <template <class, class, int> class Direction, class S, class... Arguments>
bool for_cell(const Layer& layer, Arguments&... arguments) {
    if (layer.cell == SPATIAL) return for_axes<Direction, S, Spatial>(layer, arguments...);
    if (layer.cell == GRAVES && layer.peephole) return for_axes<Direction, S, Graves<true>>(layer, arguments...);
    if (layer.cell == GRAVES) return for_axes<Direction, S, Graves<false>>(layer, arguments...);
    return layer.cell == STABLE && for_axes<Direction, S, Stable>(layer, arguments...);
}

template <class Work>
int guarded(const Work& work) noexcept {
    try {
        return work() ? 0 : 2;
    } catch (const std::bad_alloc&) {
        return 1;
    }
}

template <class S>
int forward(const Layer& layer, const Results<S>& to) {
    return guarded([&] {
        const Units units(layer);
        return for_cell<Forward, S>(layer, units, to);
    });
}

template <class S>
int backward(const Layer& layer, const Results<S>& of, const Flows<S>& flows, const Gradients<S>& to) {
    return guarded([&] {
        const Units units(layer);
        const auto gradient = make_gradient<S>(layer, units, of, to);
        return for_cell<Backward, S>(layer, units, of, flows, *gradient);
    });
}

}  // namespace

#define PROVIDE(type, S)                                                                                                   \
    extern "C" int forward_##type(const Layer* layer, const Results<S>* to) { return forward<S>(*layer, *to); }            \
    extern "C" int backward_##type(const Layer* layer, const Results<S>* of, const Flows<S>* flows, const Gradients<S>* to) { \
        return backward<S>(*layer, *of, *flows, *to);                                                                      \
    }

PROVIDE(float32, float)
PROVIDE(float64, double)
PROVIDE(bfloat16, BFloat16)
