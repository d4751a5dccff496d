// What Python calls of one type of numbers. Each has a file of its own, so that as many compilers can be at work at once.
#pragma once

#include <cstring>
#include <new>
#include <type_traits>

#include "backward.hpp"
#include "exported.hpp"
#include "forward.hpp"
#include "planes.hpp"

enum Status : int { DONE = 0, NO_MEMORY = 1, NO_SUCH_CELL = 2, OTHER_BLOCKS = 3 };

// Call work(cell) with the number of axes of the layer as a type, once it is sure that its cell has as many blocks as the tables were made for.
template <class Cell, int N, class Work>
Status with_axes(const Layer& layer, const Work& work) {
    if (layer.axes != N) {
        if constexpr (N < MOST_AXES) return with_axes<Cell, N + 1>(layer, work);
        return NO_SUCH_CELL;
    }
    if (layer.blocks != Cell::template blocks<N>) return OTHER_BLOCKS;
    work(Cell{}, std::integral_constant<int, N>{});
    return DONE;
}

template <class Cell>
bool is_of(const Layer& layer) {
    return std::strcmp(layer.cell, Cell::name) == 0 && Cell::peephole == (layer.weight_peephole != nullptr);
}

// Call work(cell, axes) with the layer's cell and number of axes as types.
template <class... Cells, class Work>
Status with_cell(CellList<Cells...>, const Layer& layer, const Work& work) noexcept {
    Status status = NO_SUCH_CELL;
    try {
        (void)((is_of<Cells>(layer) && (status = with_axes<Cells, 1>(layer, work), true)) || ...);
    } catch (const std::bad_alloc&) {
        status = NO_MEMORY;
    }
    return status;
}

template <class S>
int forward(const Layer& layer, const Results<S>& to) {
    return with_cell(AllCells{}, layer, [&](auto cell, auto axes) {
        const Units units(layer);
        Forward<S, decltype(cell), decltype(axes)::value>(layer, units, to).run();
    });
}

template <class S>
int backward(const Layer& layer, const Results<S>& of, const BackwardData<S>& data, const Gradients<S>& to) {
    return with_cell(AllCells{}, layer, [&](auto cell, auto axes) {
        const Units units(layer);
        const WeightGradient<S> weight_gradient(layer, units, of, to);
        Backward<S, decltype(cell), decltype(axes)::value>(layer, units, of, data, weight_gradient).run();
    });
}

// The functions of a type, which return a status but for those that copy nothing but numbers.
#define PROVIDE(type, S)                                                                                                            \
    EXPORTED int forward_##type(const Layer* layer, const Results<S>* to) { return forward<S>(*layer, *to); }                       \
    EXPORTED int backward_##type(const Layer* layer, const Results<S>* of, const BackwardData<S>* data, const Gradients<S>* to) {   \
        return backward<S>(*layer, *of, *data, *to);                                                                                \
    }                                                                                                                               \
    EXPORTED void to_rows_##type(const Planes* planes) { to_rows<S>(*planes); }
