// The matrix product of a few gathered rows with a packed panel of weights, the sums in registers.
#pragma once

#include <algorithm>
#include <array>
#include <utility>
#include <vector>

#include "memory.hpp"
#include "vector.hpp"

// Sums of 25 vectors, or of 12 rows, hide how long an addition takes; more only lengthen the code: a judgement. Segments: x, and h and c of four axes.
constexpr int MOST_SUMS = 25, MOST_ROWS = 12, MOST_SEGMENTS = 9;
// How many vectors of weights to take at once where there are no more than 16 registers: those of four rows or six then have sums there, and of
// three vectors and two it takes as few loads as multiplications. With four or five vectors, by two rows, products reached 73 % of the peak of an
// EPYC with AVX2, with these 98.
constexpr int FEW_VECTORS = 3;

// How many rows fit the registers beside `width` vectors of weights and one of input.
constexpr int rows_at_once(int width) {
    return std::max(1, std::min({(REGISTERS - width - 1) / width, MOST_SUMS / width, MOST_ROWS}));
}

// How many of `count` rows, of which there may be none, to take at a time, no more than `most`: as few times as can be, and each as many as can
// be, for a few take nearly as long as more.
constexpr int64_t alike(int64_t count, int64_t most) {
    if (count <= most) return most;
    const int64_t times = (count + most - 1) / most;
    return (count + times - 1) / times;
}

// Where each of some panels begins, in vectors, and where the last ends: they are as alike as can be.
inline std::vector<int64_t> panel_starts(int64_t vectors, int64_t panels) {
    std::vector<int64_t> starts;
    for (int64_t p = 0; p <= panels; ++p) starts.push_back(vectors * p / panels);
    return starts;
}

// Which of these panels has a vector.
constexpr int64_t panel_with(int64_t vector, int64_t vectors, int64_t panels) { return ((vector + 1) * panels - 1) / vectors; }

// A row of input is several stretches of memory, one after the other: x, the predecessors' h, ... Lengths count factors or pairs of them.
template <class F>
struct Rows {
    int segments = 0;
    int lengths[MOST_SEGMENTS];
    const F* at[MOST_SEGMENTS][MOST_ROWS];
};

// Where sums go, with the numbers from one row's to the next's, and from one vector's to the next's.
template <class T>
struct Sums {
    T* to;
    int64_t row, vector;
};

// What the second cache is to fetch while products run, a little at a time: the weights that come next. Else they come in one rush, at the first
// rows, and then there is nothing to fetch. At 512 features inference took 0.90 to 0.92 of the time, training 0.89 to 0.93 (one core of an EPYC with
// AVX2; of one with AVX-512 not known).
template <class F>
struct Ahead {
    // How many inputs are multiplied before more is fetched: with 64 it took as long.
    static constexpr int TURN = 32;
    // From how many bytes of weights on, which the second cache does not hold. At 256 features, of 2.9 MB, inference took 0.95 of the time, training
    // 0.97, at 192, of 1.6 MB, both 1.01.
    static constexpr int64_t LEAST = 1 << 21;
    static constexpr int64_t IN_LINE = LINE / static_cast<int64_t>(sizeof(F));

    const F* from = nullptr;
    int64_t lines = 0;  // each turn

    // So many numbers, spread over products of so many inputs, or pairs of them, together; nothing where a thread has no share of a step's sites.
    static Ahead spread(const F* from, int64_t numbers, int64_t inputs) {
        return inputs > 0 ? Ahead{from, 1 + numbers * TURN / (inputs * IN_LINE)} : Ahead{};
    }
    // Fetch a turn's.
    void fetch() {
        for (int64_t line = 0; line < lines; ++line, from += IN_LINE) __builtin_prefetch(from, 0, 2);
    }
};

// sums (R, W vectors) = start (W vectors) + rows (R, K) @ panel (K, W vectors), of the rows from `first` on, while more is fetched where `FETCHES`
template <class F, int W, int R, bool FETCHES>
void product(const Rows<F>& rows, int first, const F* panel, const Compute<F>* start, const Sums<Compute<F>>& sums, Ahead<F>& ahead) {
    using T = Compute<F>;
    constexpr int STRIDE = LANES<T> * PAIR<F>;
    Vector<T> own[R][W];
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 16
        for (int w = 0; w < W; ++w) own[r][w] = load_factors(start + w * LANES<T>);
    for (int s = 0; s < rows.segments; ++s) {
        const F* from[R];
#pragma GCC unroll 16
        for (int r = 0; r < R; ++r) from[r] = rows.at[s][first + r];
        for (int k = 0, end = rows.lengths[s]; k < rows.lengths[s];) {
            if constexpr (FETCHES) ahead.fetch(), end = std::min(k + Ahead<F>::TURN, rows.lengths[s]);
            for (; k < end; ++k, panel += W * STRIDE) {
                Vector<T> weights[W];
#pragma GCC unroll 16
                for (int w = 0; w < W; ++w) in_register(weights[w] = load_factors(panel + w * STRIDE));
#pragma GCC unroll 16
                for (int r = 0; r < R; ++r) {
                    const Vector<T> x = spread(from[r] + k * PAIR<F>);
#pragma GCC unroll 16
                    for (int w = 0; w < W; ++w) own[r][w] = multiply_add<F>(own[r][w], x, weights[w]);
                }
            }
        }
    }
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 16
        for (int w = 0; w < W; ++w) store(sums.to + r * sums.row + w * sums.vector, own[r][w], LANES<T>);
}

template <class F>
using Product = void (*)(const Rows<F>&, int, const F*, const Compute<F>*, const Sums<Compute<F>>&, Ahead<F>&);

template <class F, int W, bool FETCHES, std::size_t... R>
constexpr std::array<Product<F>, sizeof...(R)> products(std::index_sequence<R...>) {
    return {product<F, W, R + 1, FETCHES>...};
}

// PRODUCTS<F, W, FETCHES>[R - 1] multiplies R rows.
template <class F, int W, bool FETCHES>
constexpr auto PRODUCTS = products<F, W, FETCHES>(std::make_index_sequence<rows_at_once(W)>{});

template <class F, bool FETCHES, std::size_t... W>
constexpr std::array<const Product<F>*, sizeof...(W)> products_of(std::index_sequence<W...>) {
    return {PRODUCTS<F, W + 1, FETCHES>.data()...};
}

// PRODUCTS_OF<F, MOST>[FETCHES][W - 1] are those with W vectors of weights, up to so many.
template <class F, int MOST>
constexpr std::array<std::array<const Product<F>*, MOST>, 2> PRODUCTS_OF = {products_of<F, false>(std::make_index_sequence<MOST>{}),
                                                                            products_of<F, true>(std::make_index_sequence<MOST>{})};
