// What dz at a site is worth to what the site read: the products of dz with the weights, for the predecessors' h and c and for the input.
#pragma once

#include <algorithm>
#include <vector>

#include "buffer.hpp"
#include "layer.hpp"
#include "places.hpp"
#include "product.hpp"
#include "tiles.hpp"
#include "transpose.hpp"
#include "units.hpp"

// Write `count` lanes from lane `first` on.
template <class S>
inline void store_part(S* to, Vector<Compute<S>> v, int first, int count) {
#ifdef __AVX512F__
    const auto lanes = ((1u << count) - 1) << first;
    if constexpr (std::is_same_v<S, float>) return _mm512_mask_storeu_ps(to - first, static_cast<__mmask16>(lanes), (__m512)v);
    if constexpr (std::is_same_v<S, double>) return _mm512_mask_storeu_pd(to - first, static_cast<__mmask8>(lanes), (__m512d)v);
#endif
#if defined(__AVX2__) && !defined(__AVX512F__)
    alignas(64) static constexpr int32_t lane_numbers[16] = {0, 1, 2, 3, 4, 5, 6, 7, 0, 1, 2, 3, 4, 5, 6, 7};
    const auto lanes_from = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(lane_numbers + first * static_cast<int>(sizeof(Compute<S>) / 4)));
    store(to, (Vector<Compute<S>>)_mm256_permutevar8x32_ps((__m256)v, lanes_from), count);
#else
    Compute<S> numbers[2 * LANES<Compute<S>>] = {};
    store(numbers, v, LANES<Compute<S>>);
    store(to, load_factors(numbers + first), count);
#endif
}

template <class S>
class InputGradient {
    using T = Compute<S>;
    using F = Factor<S>;
    // Sums of SIDE sites by SIDE features, with the weights of as many, fit the registers.
    static constexpr int L = LANES<T>, SIDE = REGISTERS == 32 ? 4 : 3;
    // Vectors of columns that a panel holds at most: few enough for the registers.
    static constexpr int WIDEST = REGISTERS == 32 ? 4 : FEW_VECTORS;

   public:
    // `x` (R, D, C) is where the gradient of the input goes, or null.
    InputGradient(const Layer& layer, S* x)
        : layer_(layer),
          x_(x),
          gates_(layer.blocks * layer.hidden),
          depth_(round_up(gates_, FILLED_TO<F>)),
          split_(layer.axes * layer.hidden),
          states_(split_ * (layer.weight_ch ? 2 : 1)),
          wide_(x && (TILED<F> || 2 * layer.inputs >= L || round_up(states_ + layer.inputs, L) == round_up(states_, L))),
          first_input_(round_up(states_, L) + layer.inputs > round_up(states_ + layer.inputs, L) ? states_ : round_up(states_, L)),
          columns_(wide_ ? first_input_ + layer.inputs : states_),
          vectors_((columns_ + L - 1) / L),
          panels_((vectors_ + WIDEST - 1) / WIDEST),
          starts_(panel_starts(vectors_, panels_)),
          bytes_(depth_ * vectors_ * L * static_cast<int64_t>(sizeof(F))),
          weights_(layer.directions * depth_ * vectors_ * L),
          narrow_(x && !wide_ ? layer.directions * layer.inputs * gates_ : 0) {}

    // Pack the weights, before anything else.
    void prepare(const Units& units) const {
        const int64_t rows = depth_ / PAIR<F>;
        units.share(layer_.directions * rows, vectors_ * L * PAIR<F>, [this, rows](int64_t first, int64_t last) {
            for (int64_t row = first; row < last; ++row) pack(row / rows, row % rows * PAIR<F>);
        });
        if (x_ && !wide_)
            for (int64_t d = 0; d < layer_.directions; ++d) transpose(d);
    }

    // By some panels, of `count` sites of direction d from `site` on, whose dz, a row of factors each, starts at `dz`: write what goes to the
    // predecessors' h, add what goes to their c, rows of (n h), and write the gradient of an input that is wide.
    void send(const Places& places, int64_t d, int64_t site, int64_t count, const F* dz, T* to_h, T* to_c, const Panels& panels) const {
        for (int64_t turn = 0; turn < panels.count(); ++turn) {
            const int64_t p = panels.at(turn), width = start(p + 1) - start(p);
            const F* const next = turn + 1 < panels.count() && Ahead<F>::helps(bytes_, count) ? panel(d, panels.at(turn + 1)) : nullptr;
            as_constant<WIDEST>(width, [&](auto vectors) { multiply<vectors>(places, d, p, next, site, count, dz, to_h, to_c); });
        }
    }

    // The gradient of an input that is not wide, of such sites.
    void send_narrow(const Places& places, int64_t d, int64_t site, int64_t count, const F* dz) const {
        if (!x_ || wide_) return;
        for (int64_t row = 0; row < count; row += SIDE)
            for (int64_t c = 0; c < layer_.inputs; c += SIDE) {
                const int64_t features = std::min<int64_t>(SIDE, layer_.inputs - c), rows = std::min<int64_t>(SIDE, count - row);
                const F* from = dz + row * depth_;
                as_constant<SIDE>(features, [&](auto some) { add_up<some>(places, d, site + row, rows, from, c); });
            }
    }

    int64_t panels() const { return panels_; }
    int64_t bytes() const { return bytes_; }  // of a direction

   private:
    // Where panel p begins, in vectors of columns.
    int64_t start(int64_t p) const { return starts_[static_cast<std::size_t>(p)]; }
    F* panel(int64_t d, int64_t p) const { return weights_.get() + (d * vectors_ + start(p)) * depth_ * L; }

    // A panel holds some vectors of columns of [weight_hh, weight_ch, weight_ih], one gate, or pair of gates, per row; weight_ih if the
    // input is wide. This is a row of all panels, for a row of the weights is then read in one go.
    void pack(int64_t d, int64_t gate) const {
        if (gate >= gates_) {
            for (int64_t p = 0; p < panels_; ++p) std::fill_n(panel(d, p) + gate * (start(p + 1) - start(p)) * L, (start(p + 1) - start(p)) * L * PAIR<F>, F{});
            return;
        }
        const bool both = PAIR<F> == 2 && gate + 1 < gates_;
        const int64_t row = layer_.row(d, gate), other = both ? layer_.row(d, gate + 1) : 0;
        const auto place = [=](int64_t p, int64_t j) { return panel(d, p) + gate * (start(p + 1) - start(p)) * L + (j - start(p) * L) * PAIR<F>; };
        const auto columns = [=](const void* matrix, int64_t width, int64_t column, int64_t begin, int64_t end) {
            const S *from = static_cast<const S*>(matrix) + row * width + column, *second = static_cast<const S*>(matrix) + other * width + column;
            for (int64_t p = panel_with(begin / L, vectors_, panels_), j = begin; j < end; ++p) {
                F* to = place(p, j);
                const auto some = [&](auto lanes) __attribute__((always_inline)) {  // so many, a constant where there is a whole vector
                    store_factors(to, load_paired<F>(from + (j - begin), both ? second + (j - begin) : nullptr, lanes), lanes);
                    j += lanes, to += L * PAIR<F>;
                };
                const int64_t right = std::min(end, start(p + 1) * L);
                while (j + L <= right) some(std::integral_constant<int, L>{});
                if (j < right) some(static_cast<int>(right - j));
            }
        };
        const auto clear = [=](int64_t begin, int64_t end) {  // within a vector
            for (int64_t p = 0; p < panels_ && begin < end; ++p)
                if (start(p) * L <= begin && begin < start(p + 1) * L) std::fill_n(place(p, begin), (end - begin) * PAIR<F>, F{});
        };
        layer_.runs([&](int64_t state, int64_t column, int64_t count) {
            columns(layer_.weight_hh, layer_.weight_columns, column, state, state + count);
            if (layer_.weight_ch) columns(layer_.weight_ch, layer_.weight_columns, column, split_ + state, split_ + state + count);
        });
        columns(layer_.weight_ih, layer_.inputs, 0, first_input_, columns_);
        clear(states_, std::min(first_input_, vectors_ * L));
        clear(columns_, vectors_ * L);
    }

    // weight_ih of an input that is not wide, one row of gates per feature.
    void transpose(int64_t d) const {
        for (int64_t c = 0; c < layer_.inputs; ++c)
            for (int64_t j = 0; j < gates_; ++j)
                narrow_.get()[(d * layer_.inputs + c) * gates_ + j] = number<T, S>(layer_.weight_ih, layer_.row(d, j) * layer_.inputs + c);
    }

    S* input(int64_t d, int64_t raster) const { return x_ + (raster * layer_.directions + d) * layer_.inputs; }

    template <int W>
    void multiply(const Places& places, int64_t d, int64_t p, const F* next, int64_t site, int64_t sites, const F* dz, T* to_h, T* to_c) const {
        if constexpr (TILED<F>) multiply_tiles<W>(places, d, p, next, site, sites, dz, to_h, to_c);
        else multiply_rows<W>(places, d, p, next, site, sites, dz, to_h, to_c);
    }

    template <int W>
    void multiply_rows(const Places& places, int64_t d, int64_t p, const F* next, int64_t site, int64_t sites, const F* dz, T* to_h, T* to_c) const {
        constexpr int AT_ONCE = rows_at_once(W);
        constexpr T zeros[W * L] = {};
        const F* const weights = panel(d, p);
        const int64_t first = start(p) * L;
        const bool direct = first + W * L <= split_;  // all columns go to h, one site's after the other's
        Ahead<F> ahead;
        if (next) ahead = Ahead<F>::spread(next, depth_ * W * L, (sites + AT_ONCE - 1) / AT_ONCE * depth_ / PAIR<F>);
        for (int64_t row = 0, at_once = alike(sites, AT_ONCE); row < sites; row += at_once) {
            const int count = static_cast<int>(std::min(at_once, sites - row));
            Rows<F> rows;
            rows.segments = 1;
            rows.lengths[0] = static_cast<int>(depth_ / PAIR<F>);
            for (int r = 0; r < count; ++r) rows.at[0][r] = dz + (row + r) * depth_;
            const Product<F> product = (ahead.lines > 0 ? PRODUCTS<F, W, true> : PRODUCTS<F, W, false>)[static_cast<std::size_t>(count - 1)];
            if (direct) {
                product(rows, 0, weights, zeros, {to_h + row * split_ + first, split_, L}, ahead);
                continue;
            }
            Vector<T> sums[AT_ONCE * W];
            S* x[AT_ONCE] = {};
            product(rows, 0, weights, zeros, {reinterpret_cast<T*>(sums), W * L, L}, ahead);
            for (int r = 0; r < count && wide_; ++r) x[r] = input(d, places.raster(site + row + r));
            for (int w = 0; w < W; ++w) hand_out<W>(first + w * L, sums + w, count, to_h + row * split_, to_c + row * split_, x);
        }
    }

    template <int W>
    void multiply_tiles(const Places& places, int64_t d, int64_t p, const F* next, int64_t site, int64_t sites, const F* dz, T* to_h, T* to_c) const {
        const int64_t first = start(p) * L;
        Ahead<F> ahead;
        if (next) ahead = ahead_of_tiles(next, depth_ * W * L, sites, depth_, W);
        if (first + W * L <= split_) return tile_product({dz, depth_, sites, depth_}, panel(d, p), W, nullptr, {to_h + first, split_, L}, ahead);
        for (int64_t row = 0; row < sites; row += TILE_ROWS) {
            const int count = static_cast<int>(std::min<int64_t>(TILE_ROWS, sites - row));
            Vector<T> sums[TILE_ROWS * W];
            tile_product({dz + row * depth_, depth_, count, depth_}, panel(d, p), W, nullptr, {reinterpret_cast<T*>(sums), W * L, L}, ahead);
            S* x[TILE_ROWS] = {};
            for (int r = 0; r < count && wide_; ++r) x[r] = input(d, places.raster(site + row + r));
            for (int w = 0; w < W; ++w) hand_out<W>(first + w * L, sums + w, count, to_h + row * split_, to_c + row * split_, x);
        }
    }

    // A vector of columns of some sites, every W-th of `found`: those of weight_hh go to the predecessors' h, those of weight_ch to their c, the others
    // to the input.
    template <int W>
    [[gnu::always_inline]] void hand_out(int64_t column, const Vector<T>* found, int sites, T* to_h, T* to_c, S* const* x) const {
        // What a kind's columns begin .. end have of it goes to each site's row.
        const auto part = [&](int64_t begin, int64_t end, const auto& write) __attribute__((always_inline)) {
            const int64_t first = std::max(begin, column), last = std::min(end, column + L);
            const int lane = static_cast<int>(first - column), count = static_cast<int>(last - first);
            if (count == L) {
                for (int r = 0; r < sites; ++r) write(r, first - begin, found[r * W], 0, std::integral_constant<int, L>{});
            } else if (count > 0) {
                for (int r = 0; r < sites; ++r) write(r, first - begin, found[r * W], lane, count);
            }
        };
        part(0, split_, [&](int r, int64_t j, Vector<T> v, int lane, auto count) { put(to_h + r * split_ + j, v, lane, count); });
        part(split_, states_, [&](int r, int64_t j, Vector<T> v, int lane, auto count) {
            T own[L] = {};
            put(own, v, lane, count);
            T* const to = to_c + r * split_ + j;
            store(to, load(to, count) + load(own, count), count);
        });
        part(first_input_, columns_, [&](int r, int64_t j, Vector<T> v, int lane, auto count) { put(x[r] + j, v, lane, count); });
    }

    // Write some lanes, the first ones without a look at where they begin.
    template <class To, class Count>
    [[gnu::always_inline]] static void put(To* to, Vector<T> v, int lane, Count count) {
        if constexpr (std::is_same_v<Count, int>) store_part(to, v, lane, count);
        else store(to, v, L);
    }

    // The gradient of a few features of an input that is not wide, at no more than SIDE sites: sums over vectors of gates.
    template <int COUNT>
    void add_up(const Places& places, int64_t d, int64_t site, int64_t rows, const F* dz, int64_t feature) const {
        const F* from[SIDE];
        const T* weights = narrow_.get() + (d * layer_.inputs + feature) * gates_;
        for (int i = 0; i < SIDE; ++i) from[i] = dz + std::min<int64_t>(i, rows - 1) * depth_;  // beyond the last, the last again
        Vector<T> sums[round_up(SIDE * COUNT, L)] = {};
        const auto add = [&](int64_t gate, auto lanes) __attribute__((always_inline)) {  // so many, a constant where there is a whole vector
            Vector<T> w[COUNT];
#pragma GCC unroll 16
            for (int j = 0; j < COUNT; ++j) w[j] = load(weights + j * gates_ + gate, lanes);
#pragma GCC unroll 16
            for (int i = 0; i < SIDE; ++i) {
                const auto v = load(from[i] + gate, lanes);
#pragma GCC unroll 16
                for (int j = 0; j < COUNT; ++j) sums[i * COUNT + j] = plus_product<T>(sums[i * COUNT + j], v, w[j]);
            }
        };
        int64_t gate = 0;
        for (; gate + L <= gates_; gate += L) add(gate, std::integral_constant<int, L>{});
        if (gate < gates_) add(gate, static_cast<int>(gates_ - gate));
        T found[round_up(SIDE * COUNT, L)];
        for (int first = 0; first < SIDE * COUNT; first += L) store(found + first, sums_of_lanes<T>(sums + first), L);
        for (int64_t i = 0; i < rows; ++i)
            for (int j = 0; j < COUNT; ++j) store_number(input(d, places.raster(site + i)) + feature + j, found[i * COUNT + j]);
    }

    const Layer& layer_;
    S* const x_;
    const int64_t gates_, depth_, split_, states_;
    const bool wide_;  // whether the input fills half a vector, or what is left of one
    // Columns of the input begin with a vector where that takes no more of them, else with the first that is left.
    const int64_t first_input_, columns_, vectors_, panels_;
    const std::vector<int64_t> starts_;
    const int64_t bytes_;
    const Buffer<F> weights_;
    const Buffer<T> narrow_;
};
