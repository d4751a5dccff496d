// The matrix product of a few gathered rows with a packed panel of weights, the sums in registers.
#pragma once

#include <array>
#include <utility>

#include "vector.hpp"

constexpr int MOST_ROWS = 6, MOST_SEGMENTS = 9;

// How many rows fit the registers beside `width` vectors of weights and one of input.
constexpr int rows_at_once(int width) {
    const int fit = (REGISTERS - width - 1) / width;
    return fit < 1 ? 1 : fit > MOST_ROWS ? MOST_ROWS : fit;
}

// A row of input is several stretches of memory, one after the other: x, the predecessors' h, ...
template <class T>
struct Rows {
    int segments = 0;
    int lengths[MOST_SEGMENTS];
    const T* at[MOST_SEGMENTS][MOST_ROWS];
};

// sums [R][W] += rows (R, K) @ panel (K, W vectors)
template <class T, int W, int R>
void product(const Rows<T>& rows, const T* panel, Vector<T>* sums) {
    Vector<T> own[R][W];
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 16
        for (int w = 0; w < W; ++w) own[r][w] = sums[r * W + w];
    for (int s = 0; s < rows.segments; ++s) {
        const T* from[R];
#pragma GCC unroll 16
        for (int r = 0; r < R; ++r) from[r] = rows.at[s][r];
        for (int k = 0; k < rows.lengths[s]; ++k, panel += W * LANES<T>) {
            Vector<T> weights[W];
#pragma GCC unroll 16
            for (int w = 0; w < W; ++w) weights[w] = load<T>(panel + w * LANES<T>);
#pragma GCC unroll 16
            for (int r = 0; r < R; ++r) {
                const Vector<T> x = fill<T>(from[r][k]);
#pragma GCC unroll 16
                for (int w = 0; w < W; ++w) own[r][w] += x * weights[w];
            }
        }
    }
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 16
        for (int w = 0; w < W; ++w) sums[r * W + w] = own[r][w];
}

template <class T>
using Product = void (*)(const Rows<T>&, const T*, Vector<T>*);

template <class T, int W, std::size_t... R>
constexpr std::array<Product<T>, sizeof...(R)> products(std::index_sequence<R...>) {
    return {product<T, W, R + 1>...};
}

// PRODUCTS<T, W>[R - 1] multiplies R rows.
template <class T, int W>
constexpr auto PRODUCTS = products<T, W>(std::make_index_sequence<rows_at_once(W)>{});
