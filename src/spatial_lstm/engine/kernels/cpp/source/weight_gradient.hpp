// The gradients of the weights, from dz at a unit's sites, window by window: each weight's sum over a block of sites is taken in
// registers before it joins the unit's total, so that rounding errors do not grow with the number of sites.
#pragma once

#include <algorithm>

#include "buffer.hpp"
#include "layer.hpp"
#include "memory.hpp"
#include "places.hpp"
#include "product.hpp"
#include "saved.hpp"
#include "team.hpp"
#include "transpose.hpp"
#include "units.hpp"

// Where the gradients go, in the shapes of the weights; each may be null. What belongs to idle axes is left as it is.
template <class S>
struct Gradients {
    S *weight_ih, *weight_hh, *bias, *weight_peephole, *weight_ch;
};

template <class S>
class WeightGradient {
    using T = Compute<S>;
    using F = Factor<S>;
    // R inputs by up to WIDEST vectors of gates are summed at once, and fit the registers. A team's members share out the inputs, not the sites, and gather
    // each its own, so that they need not wait for one another.
    static constexpr int L = LANES<T>, WIDEST = REGISTERS == 32 ? 5 : 2, R = rows_at_once(WIDEST);
    // Numbers of dz are read where they are; pairs of two sites' are put together first, in panels.
    static constexpr bool PACKS = PAIR<F> > 1;
    // Sites whose sum is taken in registers: rounding errors grow with this number, and with that of blocks. At 64 and 256 training took as long,
    // within the noise of 5 % (geometric mean over the sizes of the layer's benchmark, one thread of a Xeon with AVX-512).
    static constexpr int64_t BLOCK = 128;
    // Panels whose dz of a block, 330 KB, stays in the second cache while all inputs go by. At 512 units training took 5 % less.
    static constexpr int64_t TOGETHER = 8;
    // Sites whose x and predecessors' h, which the pass has not touched for long, are fetched before they are due. A judgment.
    static constexpr int64_t AHEAD = 16;

   public:
    WeightGradient(const Layer& layer, const Units& units, const Results<S>& of, const Gradients<S>& to)
        : layer_(layer),
          units_(units),
          rows_(layer.axes * layer.hidden),
          gates_(layer.blocks * layer.hidden),
          depth_((to.weight_ih ? layer.inputs : 0) + (to.weight_hh ? rows_ : 0) + (to.weight_ch ? rows_ : 0) + (to.bias ? 1 : 0)),
          tiles_((depth_ + R - 1) / R),
          stride_(round_up(gates_, PAIR<F>)),
          vectors_((gates_ + L - 1) / L),
          width_(vectors_ * L),
          panels_((vectors_ + WIDEST - 1) / WIDEST),
          peephole_size_(to.weight_peephole ? (2 * layer.axes + 1) * layer.hidden : 0),
          saved_(layer, of),
          to_(to),
          totals_(units.count() * tiles_ * R * width_),
          gathered_(layer.threads * BLOCK * tiles_ * R),
          packed_(PACKS ? layer.threads * BLOCK * width_ : 0),
          peephole_totals_(units.count() * peephole_size_) {}

    // Before the first sites of a unit: this member's share of the totals.
    void begin(const Unit& unit, const Team& team) const {
        std::fill(peephole_total(unit.index) + team.first(peephole_size_), peephole_total(unit.index) + team.last(peephole_size_), T{0});
    }

    // This member's share of the sums over some sites, whose dz, a row of factors each, starts at `dz`; a unit's last sites come first. A vector
    // may be read that begins in the last row.
    void add(const Unit& unit, const Team& team, const Places& places, Span sites, const F* dz) const {
        if (!depth_ && !to_.weight_peephole) return;
        bool first = sites.end == units_.sites(unit, unit.steps - 1).end;
        const Span tiles{team.first(tiles_), team.last(tiles_)};
        F* const inputs = gathered_.get() + (team.number * team.members + team.member) * BLOCK * tiles_ * R;
        for (int64_t block = 0; sites.begin < sites.end; ++block, sites.begin += BLOCK, dz += BLOCK * stride_, first = false) {
            const Span some{sites.begin, std::min(sites.end, sites.begin + BLOCK)};
            const int64_t rows = round_up(some.size(), PAIR<F>) / PAIR<F>;
            for (int64_t row = 0; row < rows; ++row) gather(places, unit.direction, some.begin + row * PAIR<F>, some.end, tiles, inputs + row * tiles_ * R * PAIR<F>);
            F* const gates = PACKS ? packed_.get() + (team.number * team.members + block % std::min<int64_t>(team.members, 2)) * BLOCK * width_ : nullptr;
            if constexpr (PACKS) {  // in one of two places by turns, so that all wait once a block
                for (int64_t row = team.first(rows); row < team.last(rows); ++row) pack(row, rows, dz, 2 * row + 1 < some.size(), gates);
                team.wait();
            }
            for (int64_t begin = 0; begin < panels_; begin += TOGETHER)
                for (int64_t tile = tiles.begin; tile < tiles.end; ++tile)
                    for (int64_t p = begin; p < std::min(begin + TOGETHER, panels_); ++p)
                        add_tile(unit.index, tile, p, rows, inputs, PACKS ? gates + start(p) * L * rows * PAIR<F> : dz + start(p) * L, first);
            if (to_.weight_peephole) peephole(unit, team, places, some, dz);
        }
        team.wait();
    }

    // Once all units are done: write the results.
    void finish() const {
        units_.share(layer_.directions * vectors_, depth_ * L * units_.groups(), [this](int64_t first, int64_t last) {
            for (int64_t v = first; v < last; ++v) write(v / vectors_, v % vectors_ * L);
        });
        for (int64_t i = 0; i < layer_.directions * peephole_size_; ++i) {
            const int64_t d = i / peephole_size_, feature = i % layer_.hidden, row = layer_.peephole_row(d, i % peephole_size_ / layer_.hidden);
            T sum{0};
            for (int64_t group = 0; group < units_.groups(); ++group) sum += peephole_total(d * units_.groups() + group)[i % peephole_size_];
            store_number(to_.weight_peephole + row * layer_.hidden + feature, sum);
        }
    }

   private:
    // Where panel p begins, in vectors of gates: panels are as alike as can be.
    int64_t start(int64_t p) const { return vectors_ * p / panels_; }
    T* total(int64_t unit, int64_t row) const { return totals_.get() + (unit * tiles_ * R + row) * width_; }
    T* peephole_total(int64_t unit) const { return peephole_totals_.get() + unit * peephole_size_; }

    // What a site read, or a pair of sites: some tiles' inputs of [x, h_0 .., c_0 .., 1], zero beyond what there is.
    void gather(const Places& places, int64_t d, int64_t site, int64_t end, Span tiles, F* to) const {
        const int64_t other = site + 1, ahead = std::min(site + AHEAD, end - 1), first = tiles.begin * R, last = tiles.end * R;
        const bool both = PAIR<F> == 2 && other < end;
        int64_t at = 0;
        const auto segment = [&](int64_t length, const auto& of) {
            const int64_t begin = std::max<int64_t>(0, first - at), stop = std::min(length, last - at);
            if (begin < stop) {
                const auto *from = of(site), *second = both ? of(other) : nullptr;
                prefetch(of(ahead) + begin, stop - begin);
                for (int64_t k = begin; k < stop; k += L) {
                    const int lanes = static_cast<int>(std::min<int64_t>(L, stop - k));
                    store_factors(to + (at + k) * PAIR<F>, paired<F>(load(from + k, lanes), second ? load(second + k, lanes) : Vector<T>{}), lanes);
                }
            }
            at += length;
        };
        if (to_.weight_ih) segment(layer_.inputs, [&](int64_t i) { return saved_.input(places.raster(i)); });
        for (int64_t k = 0; k < layer_.axes && to_.weight_hh; ++k) segment(layer_.hidden, [&](int64_t i) { return saved_.previous_h(places, d, i, k); });
        for (int64_t k = 0; k < layer_.axes && to_.weight_ch; ++k) segment(layer_.hidden, [&](int64_t i) { return saved_.previous_c(places, d, i, k); });
        static constexpr T one[L] = {1};  // of as many lanes as are read at most
        if (to_.bias) segment(1, [](int64_t) { return one; });
        if (at < last) std::fill(to + at * PAIR<F>, to + last * PAIR<F>, F{});
    }

    // Row `row` of all panels, from dz of a pair of sites, the second of which may be missing.
    void pack(int64_t row, int64_t rows, const F* dz, bool both, F* panels) const {
        dz += row * PAIR<F> * stride_;
        for (int64_t p = 0; p < panels_; ++p) {
            F* to = panels + (start(p) * rows + row * (start(p + 1) - start(p))) * L * PAIR<F>;
            for (int64_t gate = start(p) * L; gate < start(p + 1) * L; gate += L, to += L * PAIR<F>) {
                const int lanes = static_cast<int>(std::min<int64_t>(L, gates_ - gate));
                store_factors(to, paired<F>(load(dz + gate, lanes), both ? load(dz + stride_ + gate, lanes) : Vector<T>{}), L);
            }
        }
    }

    // R rows of the total, at the gates of a panel, over a block's rows; what comes first is not added to anything.
    void add_tile(int64_t unit, int64_t tile, int64_t p, int64_t rows, const F* inputs, const F* gates, bool first) const {
        const F* from = inputs + tile * R * PAIR<F>;
        T* to = total(unit, tile * R) + start(p) * L;
        const int64_t width = start(p + 1) - start(p);
        if (width == 1) add_up<1>(from, gates, rows, to, first);
        if (width == 2) add_up<2>(from, gates, rows, to, first);
        if (width == 3) add_up<3>(from, gates, rows, to, first);
        if (width == 4) add_up<4>(from, gates, rows, to, first);
        if (width == 5) add_up<5>(from, gates, rows, to, first);
    }

    template <int W>
    void add_up(const F* from, const F* weights, int64_t rows, T* to, bool first) const {
        Vector<T> sums[R][W] = {};
        for (int r = 0; r < R && !first; ++r)  // the totals, of many megabytes where there are many features
            for (int w = 0; w < W; ++w) __builtin_prefetch(to + r * width_ + w * L, 1);
        for (int64_t row = 0; row < rows; ++row, from += tiles_ * R * PAIR<F>, weights += PACKS ? W * L * PAIR<F> : stride_) {
            Vector<T> v[W];
#pragma GCC unroll 16
            for (int w = 0; w < W; ++w) v[w] = load_factors(weights + w * L * PAIR<F>);
#pragma GCC unroll 16
            for (int r = 0; r < R; ++r) {
                const Vector<T> x = spread(from + r * PAIR<F>);
#pragma GCC unroll 16
                for (int w = 0; w < W; ++w) sums[r][w] = multiply_add<F>(sums[r][w], x, v[w]);
            }
        }
        for (int r = 0; r < R; ++r, to += width_)
            for (int w = 0; w < W; ++w) store(to + w * L, first ? sums[r][w] : load_factors(to + w * L) + sums[r][w], L);
    }

    // L gates of the weights' gradients, from the totals of all groups in their order; these have a row for each column of the weights.
    void write(int64_t d, int64_t gate) const {
        int64_t k = 0;
        const auto columns = [&](S* weights, int64_t width, int64_t first, int64_t count) {
            if (!weights) return;
            const T* const top = total(d * units_.groups(), k) + gate;
            const int64_t groups = units_.groups(), group = tiles_ * R * width_, next = width_;
            const auto read = [=](int64_t row, int64_t column, int lanes) {
                const T* from = top + row * next + column;
                Vector<T> sum{};
                for (int64_t g = 0; g < groups; ++g, from += group) {
                    __builtin_prefetch(from + std::min<int64_t>(L, count - row - 1) * next);  // of the next rows, each on a page of its own
                    sum += load(from, lanes);
                }
                return sum;
            };
            S* const to = weights + d * layer_.weight_rows * width + first;
            const int64_t* const rows = layer_.rows + gate;
            const auto write = [=](int64_t row, int64_t column, Vector<T> v, int lanes) { store(to + rows[column] * width + row, v, lanes); };
            transpose<T>(count, std::min<int64_t>(L, gates_ - gate), read, write);
            k += count;
        };
        columns(to_.weight_ih, layer_.inputs, 0, layer_.inputs);
        for (S* weights : {to_.weight_hh, to_.weight_ch})
            layer_.runs([&](int64_t, int64_t column, int64_t count) { columns(weights, layer_.weight_columns, column, count); });
        columns(to_.bias, 1, 0, 1);
    }

    // Of the peepholes: i of every axis, f of every axis, o. A team's members share out the features.
    void peephole(const Unit& unit, const Team& team, const Places& places, Span sites, const F* dz) const {
        const int64_t n = layer_.axes, hidden = layer_.hidden, vectors = (hidden + L - 1) / L;
        T* to = peephole_total(unit.index);
        for (int64_t feature = team.first(vectors) * L; feature < std::min(team.last(vectors) * L, hidden); feature += L) {
            const int lanes = static_cast<int>(std::min<int64_t>(L, hidden - feature));
            Vector<T> sums[2 * MOST_AXES + 1] = {};
            for (int64_t row = 0; row < sites.size(); ++row) {
                const F* from = dz + row * stride_ + feature;
                for (int64_t k = 0; k < n; ++k) {
                    const auto c_prev = load(saved_.previous_c(places, unit.direction, sites.begin + row, k) + feature, lanes);
                    sums[k] += load(from, lanes) * c_prev;
                    sums[n + k] += load(from + (1 + k) * hidden, lanes) * c_prev;
                }
                sums[2 * n] += load(from + (layer_.blocks - 1) * hidden, lanes) * load(saved_.c(unit.direction, sites.begin + row) + feature, lanes);
            }
            for (int64_t i = 0; i < 2 * n + 1; ++i) store(to + i * hidden + feature, load(to + i * hidden + feature, lanes) + sums[i], lanes);
        }
    }

    const Layer& layer_;
    const Units& units_;
    const int64_t rows_, gates_, depth_, tiles_, stride_, vectors_, width_, panels_, peephole_size_;
    const Saved<S> saved_;
    const Gradients<S> to_;
    const Buffer<T> totals_;
    const Buffer<F> gathered_, packed_;
    const Buffer<T> peephole_totals_;
};
