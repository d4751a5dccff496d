// The gradients of the weights, from dz at a unit's sites, window by window: each weight's sum over a block of sites is taken in
// registers before it joins the unit's total, so that rounding errors do not grow with the number of sites.
#pragma once

#include <algorithm>
#include <memory>

#include "buffer.hpp"
#include "layer.hpp"
#include "places.hpp"
#include "product.hpp"
#include "saved.hpp"
#include "team.hpp"
#include "units.hpp"

// Where the gradients go, in the shapes of the weights; each may be null. What belongs to idle axes is left as it is.
template <class S>
struct Gradients {
    S *weight_ih, *weight_hh, *bias, *weight_peephole, *weight_ch;
};

template <class S>
class WeightGradient {
   public:
    using F = Factor<S>;
    virtual ~WeightGradient() = default;
    // Before the first sites of a unit: this member's share of the totals.
    virtual void begin(const Unit& unit, const Team& team) = 0;
    // This member's share of the sums over some sites, whose dz, a row of factors each, starts at `dz`.
    virtual void add(const Unit& unit, const Team& team, const Places& places, Span sites, const F* dz) = 0;
    // Once all units are done: write the results.
    virtual void finish() = 0;
};

// W vectors of gates are summed at once, for as many inputs R as then fit the registers. A team's members share out the inputs, not the sites.
template <class S, int W>
class PanelWeightGradient final : public WeightGradient<S> {
    using T = Compute<S>;
    using F = Factor<S>;
    static constexpr int L = LANES<T>, R = rows_at_once(W);
    // Sites whose sum is taken in registers: rounding errors grow with this number, and with that of blocks. At 64 and 256 training took as long,
    // within the noise of 5 % (geometric mean over the sizes of the layer's benchmark, one thread of a Xeon with AVX-512).
    static constexpr int64_t BLOCK = 128;
    // Gates whose results, which lie the other way round, stay in cache: those of one of its lines. 4 and 64 took as long, within the same noise.
    static constexpr int64_t FEW = 16;

   public:
    PanelWeightGradient(const Layer& layer, const Units& units, const Results<S>& of, const Gradients<S>& to)
        : layer_(layer),
          units_(units),
          rows_(layer.axes * layer.hidden),
          gates_(layer.blocks * layer.hidden),
          depth_((to.weight_ih ? layer.inputs : 0) + (to.weight_hh ? rows_ : 0) + (to.weight_ch ? rows_ : 0) + (to.bias ? 1 : 0)),
          tiles_((depth_ + R - 1) / R),
          stride_(round_up(gates_, PAIR<F>)),
          width_(round_up(gates_, W * L)),
          peephole_size_(to.weight_peephole ? (2 * layer.axes + 1) * layer.hidden : 0),
          saved_(layer, of),
          to_(to),
          totals_(units.count() * tiles_ * R * width_),
          gathered_(layer.threads * BLOCK * tiles_ * R),
          panels_(layer.threads * BLOCK * width_),
          peephole_totals_(units.count() * peephole_size_) {}

    void begin(const Unit& unit, const Team& team) override {
        std::fill(total(unit.index, team.first(tiles_) * R), total(unit.index, team.last(tiles_) * R), T{0});
        std::fill(peephole_total(unit.index) + team.first(peephole_size_), peephole_total(unit.index) + team.last(peephole_size_), T{0});
    }

    void add(const Unit& unit, const Team& team, const Places& places, Span sites, const F* dz) override {
        if (!depth_ && !to_.weight_peephole) return;
        for (; sites.begin < sites.end; sites.begin += BLOCK, dz += BLOCK * stride_) {
            const Span some{sites.begin, std::min(sites.end, sites.begin + BLOCK)};
            const int64_t rows = round_up(some.size(), PAIR<F>) / PAIR<F>;
            for (int64_t row = team.first(rows); row < team.last(rows); ++row) pack(places, unit.direction, team.number, row, rows, some, dz);
            team.wait();
            for (int64_t tile = team.first(tiles_); tile < team.last(tiles_); ++tile) add_tile(unit.index, tile, rows, team.number);
            if (to_.weight_peephole) peephole(unit, team, places, some, dz);
            team.wait();
        }
    }

    void finish() override {
        units_.share(layer_.directions * depth_, gates_ * units_.groups(), [this](int64_t first, int64_t last) {
            for (int64_t gate = 0; gate < gates_; gate += FEW)
                for (int64_t row = first; row < last; ++row) write(row / depth_, row % depth_, gate, std::min(gates_, gate + FEW));
        });
        for (int64_t i = 0; i < layer_.directions * peephole_size_; ++i) {
            const int64_t d = i / peephole_size_, feature = i % layer_.hidden, row = layer_.peephole_row(d, i % peephole_size_ / layer_.hidden);
            T sum{0};
            for (int64_t group = 0; group < units_.groups(); ++group) sum += peephole_total(d * units_.groups() + group)[i % peephole_size_];
            store_number(to_.weight_peephole + row * layer_.hidden + feature, sum);
        }
    }

   private:
    F* gathered(int64_t team) const { return gathered_.get() + team * BLOCK * tiles_ * R; }
    F* panel(int64_t team) const { return panels_.get() + team * BLOCK * width_; }
    T* total(int64_t unit, int64_t row) const { return totals_.get() + (unit * tiles_ * R + row) * width_; }
    T* peephole_total(int64_t unit) const { return peephole_totals_.get() + unit * peephole_size_; }

    // Row `row` of a block, of one site or of a pair: [x, h_0 .., c_0 .., 1], and dz as panels of W vectors, zero beyond what there is.
    void pack(const Places& places, int64_t d, int64_t team, int64_t row, int64_t rows, Span sites, const F* dz) const {
        const int64_t i = row * PAIR<F>, site = sites.begin + i, other = site + 1;
        F *to = gathered(team) + row * tiles_ * R * PAIR<F>, *end = to + tiles_ * R * PAIR<F>;
        const auto segment = [&](const auto* from, const auto* second, int64_t length) {
            for (int64_t k = 0; k < length; k += L) {
                const int lanes = static_cast<int>(std::min<int64_t>(L, length - k));
                const auto v = paired<F>(load(from + k, lanes), second ? load(second + k, lanes) : Vector<T>{});
                store_factors(to + k * PAIR<F>, v, lanes);
            }
            to += length * PAIR<F>;
        };
        const bool both = PAIR<F> == 2 && other < sites.end;
        if (to_.weight_ih) segment(saved_.input(places.raster(site)), both ? saved_.input(places.raster(other)) : nullptr, layer_.inputs);
        for (int64_t k = 0; k < layer_.axes && to_.weight_hh; ++k) segment(saved_.previous_h(places, d, site, k), both ? saved_.previous_h(places, d, other, k) : nullptr, layer_.hidden);
        for (int64_t k = 0; k < layer_.axes && to_.weight_ch; ++k) segment(saved_.previous_c(places, d, site, k), both ? saved_.previous_c(places, d, other, k) : nullptr, layer_.hidden);
        const T one[L] = {1};  // of as many lanes as are read at most
        if (to_.bias) segment(one, both ? one : nullptr, 1);
        std::fill(to, end, F{});
        for (int64_t column = 0; column < width_; column += L) {
            const int lanes = static_cast<int>(std::clamp<int64_t>(gates_ - column, 0, L));
            const auto v = paired<F>(load(dz + i * stride_ + column, lanes), both ? load(dz + (i + 1) * stride_ + column, lanes) : Vector<T>{});
            store_factors(panel(team) + ((column / (W * L) * rows + row) * W * L + column % (W * L)) * PAIR<F>, v, L);
        }
    }

    // R rows of the total, over a block's rows.
    void add_tile(int64_t unit, int64_t tile, int64_t rows, int64_t team) const {
        for (int64_t column = 0; column < width_; column += W * L) {
            const F *from = gathered(team) + tile * R * PAIR<F>, *weights = panel(team) + column * rows * PAIR<F>;
            Vector<T> sums[R][W] = {};
            for (int64_t row = 0; row < rows; ++row, from += tiles_ * R * PAIR<F>, weights += W * L * PAIR<F>) {
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
            for (int r = 0; r < R; ++r)
                for (int w = 0; w < W; ++w) {
                    T* to = total(unit, tile * R + r) + column + w * L;
                    store(to, load_factors(to) + sums[r][w], L);
                }
        }
    }

    // Row k of the totals, over all groups in their order, is a column of the weights that row k of the gathered input belongs to.
    void write(int64_t d, int64_t k, int64_t first, int64_t last) const {
        T sums[FEW] = {};
        for (int64_t group = 0; group < units_.groups(); ++group) {
            const T* from = total(d * units_.groups() + group, k) + first;
            for (int64_t j = 0; j < last - first; ++j) sums[j] += from[j];
        }
        const auto column = [&](S* weights, int64_t columns, int64_t width, const int64_t* places) {
            if (!weights || k < 0) return;
            if (k < columns)
                for (int64_t j = first; j < last; ++j) store_number(weights + layer_.row(d, j) * width + (places ? places[k] : k), sums[j - first]);
            k -= columns;
        };
        column(to_.weight_ih, layer_.inputs, layer_.inputs, nullptr);
        column(to_.weight_hh, rows_, layer_.weight_columns, layer_.columns);
        column(to_.weight_ch, rows_, layer_.weight_columns, layer_.columns);
        column(to_.bias, 1, 1, nullptr);
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
    const int64_t rows_, gates_, depth_, tiles_, stride_, width_, peephole_size_;
    const Saved<S> saved_;
    const Gradients<S> to_;
    const Buffer<T> totals_;
    const Buffer<F> gathered_, panels_;
    const Buffer<T> peephole_totals_;
};

// Panels of the width that wastes fewest lanes beyond the last gate, the first of equals.
template <class S>
std::unique_ptr<WeightGradient<S>> make_weight_gradient(const Layer& layer, const Units& units, const Results<S>& of, const Gradients<S>& to) {
    constexpr int FIRST = REGISTERS == 32 ? 4 : 2;
    const int64_t lanes = LANES<Compute<S>>, vectors = (layer.blocks * layer.hidden + lanes - 1) / lanes;
    const auto padded = [&](int width) { return (vectors + width - 1) / width * width; };
    int best = FIRST;
    for (int width = FIRST; width <= FIRST + 2; ++width)
        if (padded(width) < padded(best)) best = width;
    if (best == FIRST) return std::make_unique<PanelWeightGradient<S, FIRST>>(layer, units, of, to);
    if (best == FIRST + 1) return std::make_unique<PanelWeightGradient<S, FIRST + 1>>(layer, units, of, to);
    return std::make_unique<PanelWeightGradient<S, FIRST + 2>>(layer, units, of, to);
}
