// The functions that Python calls: 0 when done, 1 without memory, 2 for a layer that is not provided for.
#include <new>

#include "backward.hpp"
#include "forward.hpp"
#include "gradient.hpp"

namespace {

template <template <class, class, int> class Direction, class S, class Cell, int N, class... Tables>
void run(const Layer& layer, Tables... tables) {
    Direction<S, Cell, N>(layer, tables...).run();
}

template <template <class, class, int> class Direction, class S, class Cell, class... Tables>
bool for_axes(const Layer& layer, Tables... tables) {
    switch (layer.axes) {
        case 1: run<Direction, S, Cell, 1>(layer, tables...); return true;
        case 2: run<Direction, S, Cell, 2>(layer, tables...); return true;
        case 3: run<Direction, S, Cell, 3>(layer, tables...); return true;
        case 4: run<Direction, S, Cell, 4>(layer, tables...); return true;
        default: return false;
    }
}

template <template <class, class, int> class Direction, class S, class... Tables>
int for_cell(const Layer* layer, Tables... tables) noexcept {
    try {
        bool known = false;
        if (layer->cell == SPATIAL) known = for_axes<Direction, S, Spatial>(*layer, tables...);
        if (layer->cell == GRAVES && layer->peephole) known = for_axes<Direction, S, Graves<true>>(*layer, tables...);
        if (layer->cell == GRAVES && !layer->peephole) known = for_axes<Direction, S, Graves<false>>(*layer, tables...);
        if (layer->cell == STABLE) known = for_axes<Direction, S, Stable>(*layer, tables...);
        return known ? 0 : 2;
    } catch (const std::bad_alloc&) {
        return 1;
    }
}

// The width of the gradients' panels that wastes fewest lanes beyond the last gate, the first of equals.
template <class S>
int gradient_width(const Layer& layer, int first, int last) {
    const int64_t lanes = LANES<Compute<S>>, vectors = ((layer.axes + 3) * layer.hidden + lanes - 1) / lanes;
    int best = first;
    for (int width = first; width <= last; ++width)
        if ((vectors + width - 1) / width * width < (vectors + best - 1) / best * best) best = width;
    return best;
}

template <class S, class... Tables>
int gradients(const Layer* layer, Tables... tables) noexcept {
    constexpr int FIRST = REGISTERS == 32 ? 4 : 2;
    try {
        switch (gradient_width<S>(*layer, FIRST, FIRST + 2) - FIRST) {
            case 0: Gradient<S, FIRST>(*layer, tables...).run(); break;
            case 1: Gradient<S, FIRST + 1>(*layer, tables...).run(); break;
            default: Gradient<S, FIRST + 2>(*layer, tables...).run(); break;
        }
        return 0;
    } catch (const std::bad_alloc&) {
        return 1;
    }
}

}  // namespace

#define PROVIDE(type, S)                                                                                                              \
    extern "C" int forward_##type(const Layer* layer, void* h, void* c, void* gates) {                                                \
        return for_cell<Forward, S>(layer, h, c, gates);                                                                              \
    }                                                                                                                                 \
    extern "C" int backward_##type(const Layer* layer, const void* h, const void* c, const void* gates, const void* dh, const void* dc, \
                                   void* dz, void* dh0, void* dc0) {                                                                  \
        return for_cell<Backward, S>(layer, h, c, gates, dh, dc, dz, dh0, dc0);                                                       \
    }                                                                                                                                 \
    extern "C" int gradients_##type(const Layer* layer, const void* h, const void* c, const void* dz, void* dx, void* weight_ih,      \
                                    void* weight_hh, void* weight_ch, void* bias) {                                                   \
        return gradients<S>(layer, h, c, dz, dx, weight_ih, weight_hh, weight_ch, bias);                                              \
    }

PROVIDE(float32, float)
PROVIDE(float64, double)
PROVIDE(bfloat16, BFloat16)
