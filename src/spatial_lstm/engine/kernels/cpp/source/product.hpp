// The matrix product of a few gathered rows with a packed panel of weights, the sums in registers.
#pragma once

#include <algorithm>
#include <array>
#include <utility>
#include <vector>

#include "memory.hpp"
#include "team.hpp"
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

// Bytes of weights from which on the second cache does not hold them, and from which on no cache does for sure, for all cores share the last.
constexpr int64_t PAST_SECOND = 1 << 21, PAST_LAST = 1 << 24;

// Some panels, in the order in which they are taken: upwards or down. Of weights that the second cache does not hold it is the other way each time, so
// that those come first that came last, which a cache may hold. At 768 and 1,024 features, of 28 and 43 MB, inference took 0.94 of the time, training
// 0.90 to 0.97, two threads 0.85 to 0.91; at 512 0.98 to 1.00 (two cores of an EPYC with AVX2, whose third cache has 32 MB).
struct Panels {
    Span all;
    bool up, turns;
    int64_t count() const { return all.size(); }
    // For the next time.
    void turn() { up ^= turns; }
    int64_t at(int64_t turn) const { return up ? all.begin + turn : all.end - 1 - turn; }
};

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
// rows. At 512 features inference took 0.90 to 0.92 of the time, training 0.89 to 0.93, at 256 0.95 and 0.97, at 192, of 1.6 MB, both 1.01 (one core of an
// EPYC with AVX2; of one with AVX-512 not known).
template <class F>
struct Ahead {
    // How many inputs are multiplied before more is fetched: with 64 it took as long.
    static constexpr int TURN = 32;
    // Sites a step from which on it helps where a cache holds the weights: few ask for weights as fast as that gives them, and what is fetched ahead
    // stands in the way. With two sites a step inference at 256 and 512 features took 0.58 to 0.62 of the time without, with 8 0.78 to 0.88, with 11 and 16
    // 0.88 to 1.01, with 24 to 50 up to 1.05; at 768 features, of 24 MB, 1.03 to 1.11 with 8, at 1,024 1.01 to 1.21 with 2 to 12 (same EPYC).
    static constexpr int64_t LEAST_SITES = 16;
    static constexpr int64_t IN_LINE = LINE / static_cast<int64_t>(sizeof(F));

    const F* from = nullptr;
    int64_t lines = 0;  // each turn

    // Whether it helps, for so many bytes of weights and sites.
    static bool helps(int64_t bytes, int64_t sites) { return bytes >= PAST_LAST || (bytes >= PAST_SECOND && sites >= LEAST_SITES); }
    // So many numbers, spread over products of so many inputs, or pairs of them, together; nothing where a thread has no share of a step's sites.
    static Ahead spread(const F* from, int64_t numbers, int64_t inputs) {
        return inputs > 0 ? Ahead{from, 1 + numbers * TURN / (inputs * IN_LINE)} : Ahead{};
    }
    // So many, over so many turns.
    static Ahead over(const F* from, int64_t numbers, int64_t turns) { return turns > 0 ? Ahead{from, 1 + numbers / (turns * IN_LINE)} : Ahead{}; }
    // Fetch a turn's.
    [[gnu::always_inline]] void fetch() {
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
                for (int w = 0; w < W; ++w) weights[w] = in_register(load_factors(panel + w * STRIDE));
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
