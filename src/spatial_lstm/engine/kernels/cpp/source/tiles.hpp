// Products on the CPU's matrix unit, AMX, where it has one for 16 bits: an instruction multiplies 16 rows of 32 numbers with a vector of columns. One core
// of a Xeon (family 6, model 207) reaches 1,000 to 2,200 GFLOP/s so, as others leave it the unit, 170 by multiply-adds of float32, and 84 by those of pairs.
#pragma once

#include <cstdint>
#include <type_traits>

#include "product.hpp"
#include "vector.hpp"

// A tile's rows, and of those that are multiplied how many numbers each has.
constexpr int TILE_ROWS = 16, TILE_DEPTH = 32;

// Whether numbers are multiplied so; and what rows of them are filled up to with zeros.
template <class F>
constexpr bool TILED = TILES && std::is_same_v<F, BFloat16>;
template <class F>
constexpr int FILLED_TO = TILED<F> ? TILE_DEPTH : PAIR<F>;

// There are eight, each 16 rows of 64 bytes.
#if TILES_THERE
// What each tile is, for this thread.
inline void begin_tiles() {
    struct alignas(64) {
        uint8_t palette, start, reserved[14];
        uint16_t bytes[16];
        uint8_t rows[16];
    } shapes = {};
    shapes.palette = 1;
    for (int i = 0; i < 8; ++i) shapes.bytes[i] = 64, shapes.rows[i] = TILE_ROWS;
    asm volatile("ldtilecfg %0" : : "m"(shapes));
}
inline void end_tiles() { asm volatile("tilerelease" : : : "memory"); }
template <int I>
[[gnu::always_inline]] inline void clear_tile() {
    asm volatile("tilezero %%tmm%c0" : : "i"(I));
}
template <int I>
[[gnu::always_inline]] inline void load_tile(const void* from, int64_t bytes) {
    asm volatile("tileloadd (%0,%1), %%tmm%c2" : : "r"(from), "r"(bytes), "i"(I) : "memory");
}
// Rows so many numbers apart: sums, what is multiplied, or pairs of that.
template <int I>
[[gnu::always_inline]] inline void load_sums(const float* from, int64_t next) {
    load_tile<I>(from, next * static_cast<int64_t>(sizeof(float)));
}
template <int I>
[[gnu::always_inline]] inline void load_rows(const BFloat16* from, int64_t next) {
    load_tile<I>(from, next * static_cast<int64_t>(sizeof(BFloat16)));
}
template <int I>
[[gnu::always_inline]] inline void load_columns(const BFloat16* from, int64_t next) {
    load_rows<I>(from, next);
}
template <int I>
[[gnu::always_inline]] inline void store_sums(float* to, int64_t next) {
    asm volatile("tilestored %%tmm%c2, (%0,%1)" : : "r"(to), "r"(next * static_cast<int64_t>(sizeof(float))), "i"(I) : "memory");
}
template <int SUMS, int ROWS, int COLUMNS>
[[gnu::always_inline]] inline void multiply_tiles() {
    asm volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(SUMS), "i"(ROWS), "i"(COLUMNS));
}
#else  // in memory, for tests on CPUs that have none, and under sanitizers
struct Tile {
    float sums[TILE_ROWS][LANES<float>];
    BFloat16 factors[TILE_ROWS][TILE_DEPTH];
};
inline thread_local Tile emulated_tiles[8];

inline void begin_tiles() {}
inline void end_tiles() {}
template <int I>
void clear_tile() {
    emulated_tiles[I] = {};
}
template <int I>
void load_sums(const float* from, int64_t next) {
    for (int r = 0; r < TILE_ROWS; ++r) std::memcpy(emulated_tiles[I].sums[r], from + r * next, sizeof(emulated_tiles[I].sums[r]));
}
template <int I>
void load_rows(const BFloat16* from, int64_t next) {
    for (int r = 0; r < TILE_ROWS; ++r) std::memcpy(emulated_tiles[I].factors[r], from + r * next, sizeof(emulated_tiles[I].factors[r]));
}
template <int I>
void load_columns(const BFloat16* from, int64_t next) {
    for (int pair = 0; pair < TILE_DEPTH / 2; ++pair) std::memcpy(emulated_tiles[I].factors[pair], from + pair * next, VECTOR_BYTES);
}
template <int I>
void store_sums(float* to, int64_t next) {
    for (int r = 0; r < TILE_ROWS; ++r) std::memcpy(to + r * next, emulated_tiles[I].sums[r], sizeof(emulated_tiles[I].sums[r]));
}
template <int SUMS, int ROWS, int COLUMNS>
void multiply_tiles() {
    const auto first = [](Vector<float> pairs) { return (Vector<float>)((Bits32)pairs << 16); };
    const auto second = [](Vector<float> pairs) { return (Vector<float>)((Bits32)pairs & 0xffff0000); };
    for (int r = 0; r < TILE_ROWS; ++r) {
        Vector<float> sum = load(emulated_tiles[SUMS].sums[r], LANES<float>);
        for (int k = 0; k < TILE_DEPTH; k += 2) {
            const auto row = spread(emulated_tiles[ROWS].factors[r] + k), columns = load_factors(emulated_tiles[COLUMNS].factors[k / 2]);
            sum += first(row) * first(columns) + second(row) * second(columns);
        }
        store(emulated_tiles[SUMS].sums[r], sum, LANES<float>);
    }
}
#endif

// The unit, for as long as this thread multiplies such numbers.
template <class F>
class Tiles {
   public:
    Tiles() {
        if constexpr (TILED<F>) begin_tiles();
    }
    ~Tiles() {
        if constexpr (TILED<F>) end_tiles();
    }
    Tiles(const Tiles&) = delete;
    Tiles& operator=(const Tiles&) = delete;
};

// Call work(number) with each constant 0, 1, .. below COUNT.
template <int COUNT, class Work>
[[gnu::always_inline]] inline void each_constant(const Work& work) {
    if constexpr (COUNT > 0) {
        each_constant<COUNT - 1>(work);
        work(std::integral_constant<int, COUNT - 1>{});
    }
}

// Rows of as many numbers, so many numbers apart. In memory they go on, whatever is there, up to a multiple of TILE_ROWS.
struct TileRows {
    const BFloat16* from;
    int64_t next, count, depth;
};

// tile_product of R tiles of rows, or fewer rows, and W vectors: 32 rows by two vectors read a tile for each product; with few rows it takes as long to read
// the weights, whatever is done, and as many sums as there are hide how long a product takes.
template <int R, int W>
void product_of_tiles(const TileRows& rows, const BFloat16* panel, int64_t width, const float* start, const Sums<float>& sums, Ahead<BFloat16>& ahead) {
    constexpr int OTHERS = 8 - R * W - R, L = LANES<float>;
    static_assert(OTHERS > 0);
    each_constant<W>([&](auto w) __attribute__((always_inline)) {
        each_constant<R>([&](auto r) __attribute__((always_inline)) {
            if (start) load_sums<r * W + w>(start + w * L, 0);
            else clear_tile<r * W + w>();
        });
    });
    for (int64_t k = 0; k < rows.depth; k += TILE_DEPTH, panel += TILE_DEPTH * width * L) {
        ahead.fetch();
        each_constant<R>([&](auto r) __attribute__((always_inline)) { load_rows<R * W + r>(rows.from + r * TILE_ROWS * rows.next + k, rows.next); });
        each_constant<W>([&](auto w) __attribute__((always_inline)) {
            load_columns<R * W + R + w % OTHERS>(panel + w * 2 * L, width * 2 * L);
            each_constant<R>([&](auto r) __attribute__((always_inline)) { multiply_tiles<r * W + w, R * W + r, R * W + R + w % OTHERS>(); });
        });
    }
    each_constant<R>([&](auto r) __attribute__((always_inline)) {
        const int64_t count = rows.count - r * TILE_ROWS;
        float* const to = sums.to + r * TILE_ROWS * sums.row;
        each_constant<W>([&](auto w) __attribute__((always_inline)) {
            if (count >= TILE_ROWS) return store_sums<r * W + w>(to + w * sums.vector, sums.row);
            float some[TILE_ROWS * L];
            store_sums<r * W + w>(some, L);
            for (int64_t i = 0; i < count; ++i) store(to + i * sums.row + w * sums.vector, load_factors(some + i * L), L);
        });
    });
}

// How many vectors to multiply at once with so many rows.
constexpr int64_t vectors_at_once(int64_t rows) { return rows > TILE_ROWS ? 2 : 5; }

// What to fetch while so many rows of so many numbers are multiplied with `width` vectors: so many numbers.
inline Ahead<BFloat16> ahead_of_tiles(const BFloat16* from, int64_t numbers, int64_t rows, int64_t depth, int64_t width) {
    int64_t products = 0;
    for (; rows > 0; rows -= 2 * TILE_ROWS) products += (width + vectors_at_once(rows) - 1) / vectors_at_once(rows);
    return Ahead<BFloat16>::over(from, numbers, products * depth / TILE_DEPTH);
}

// sums (rows, `width` vectors) = start (vectors), or zeros, + rows @ panel (depth, vectors), whose numbers lie in pairs; more is fetched meanwhile.
inline void tile_product(TileRows rows, const BFloat16* panel, int64_t width, const float* start, Sums<float> sums, Ahead<BFloat16>& ahead) {
    constexpr int L = LANES<float>;
    for (; rows.count > 0; rows.from += 2 * TILE_ROWS * rows.next, rows.count -= 2 * TILE_ROWS, sums.to += 2 * TILE_ROWS * sums.row) {
        const int64_t at_once = alike(width, vectors_at_once(rows.count));
        for (int64_t w = 0; w < width; w += at_once) {
            const int64_t some = std::min(at_once, width - w);
            const BFloat16* const from = panel + w * 2 * L;
            const float* const of = start ? start + w * L : nullptr;
            const Sums<float> to{sums.to + w * sums.vector, sums.row, sums.vector};
            const auto multiply = [&](auto tiles, auto most) {
                as_constant<most>(some, [&](auto vectors) { product_of_tiles<tiles, vectors>(rows, from, width, of, to, ahead); });
            };
            if (rows.count > TILE_ROWS) multiply(std::integral_constant<int, 2>{}, std::integral_constant<int, vectors_at_once(2 * TILE_ROWS)>{});
            else multiply(std::integral_constant<int, 1>{}, std::integral_constant<int, vectors_at_once(TILE_ROWS)>{});
        }
    }
}
