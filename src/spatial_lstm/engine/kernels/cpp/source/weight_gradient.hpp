// The gradients of the weights, from dz at a unit's sites, window by window: each weight's sum over a block of sites is taken in
// registers before it joins the unit's total, so that rounding errors do not grow with the number of sites.
#pragma once

#include <algorithm>
#include <array>
#include <utility>
#include <vector>

#include "buffer.hpp"
#include "layer.hpp"
#include "memory.hpp"
#include "places.hpp"
#include "product.hpp"
#include "saved.hpp"
#include "team.hpp"
#include "tiles.hpp"
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
    // R inputs by up to WIDEST vectors of gates are summed at once, and fit the registers: a tile. A team's members share out the tiles of all parts
    // of the sites, and gather each its own inputs, so that they need not wait for one another.
    static constexpr int L = LANES<T>, WIDEST = REGISTERS == 32 ? 5 : 2, R = TILED<F> ? TILE_ROWS : rows_at_once(WIDEST);
    // Numbers of dz are read where they are; pairs of two sites' are put together first, in panels.
    static constexpr bool PACKS = PAIR<F> > 1;
    // Sites whose sum is taken in registers: rounding errors grow with this number, and with that of blocks. At 64 and 256 training took as long,
    // within the noise of 5 % (geometric mean over the sizes of the layer's benchmark, one thread of a Xeon with AVX-512).
    static constexpr int64_t BLOCK = 128;
    // Inputs of a block's sites that are gathered at once, before all panels of dz pass by them: the second cache holds 128 x 384 numbers, and pages
    // stay few. With them and totals panel by panel training took 0.93 of the time at 512 features, 0.96 at 256, 0.99 to 1.00 up to 128; at 192, 256
    // and 768 inputs 1.01, 1.01 and 1.04 of that at 512 features, within 3 % at fewer (one core of an EPYC with AVX2).
    static constexpr int64_t MOST_INPUTS = 384;
    // Whether a panel's dz of a block are brought together first, if half of the smallest first cache holds them: sites lie far apart, and their lines
    // crowd into few places of it. Training took 0.93 of the time at 128 features, 0.89 at 512, 0.96 to 1.01 at fewer (one core of an EPYC with AVX2).
    static constexpr bool COPIES = !PACKS && BLOCK * WIDEST * L * static_cast<int64_t>(sizeof(T)) <= 16384;

   public:
    WeightGradient(const Layer& layer, const Units& units, const Results<S>& of, const Gradients<S>& to)
        : layer_(layer),
          units_(units),
          rows_(layer.axes * layer.hidden),
          gates_(layer.blocks * layer.hidden),
          depth_((to.weight_ih ? layer.inputs : 0) + (to.weight_hh ? rows_ : 0) + (to.weight_ch ? rows_ : 0) + (to.bias ? 1 : 0)),
          tiles_((depth_ + R - 1) / R),
          gathers_(std::min(tiles_, alike(tiles_, MOST_INPUTS / R))),
          pitch_(TILED<F> ? gathers_ * R : std::min(depth_, gathers_ * R)),
          stride_(round_up(gates_, FILLED_TO<F>)),
          vectors_((gates_ + L - 1) / L),
          width_(vectors_ * L),
          panels_((vectors_ + WIDEST - 1) / WIDEST),
          starts_(panel_starts(vectors_, panels_)),
          peephole_size_(to.weight_peephole ? (2 * layer.axes + 1) * layer.hidden : 0),
          parts_(units.parts(depth_ * width_)),
          saved_(layer, of),
          to_(to),
          totals_(units.count() * parts_ * depth_ * width_),
          gathered_(layer.threads * BLOCK * pitch_),
          packed_(layer.threads * BLOCK * (PACKS ? width_ : COPIES ? WIDEST * L : 0)),
          peephole_totals_(units.count() * peephole_size_) {}

    // Before the first sites of a unit: this member's share of the totals. Where there is one part, its first block will be the first to write to them.
    void begin(const Unit& unit, const Team& team) const {
        const int64_t numbers = parts_ > 1 ? parts_ * width_ * depth_ : 0;
        std::fill(total(unit.index, 0, 0) + team.first(numbers), total(unit.index, 0, 0) + team.last(numbers), T{0});
        std::fill(peephole_total(unit.index) + team.first(peephole_size_), peephole_total(unit.index) + team.last(peephole_size_), T{0});
    }

    // This member's share of the sums over the sites of steps begin .. end, whose dz, a row of factors each, starts at `dz`; a unit's last sites come
    // first. A vector may be read that begins in the last row. Members that do not sum apart read what others wrote.
    void add(const Unit& unit, const Team& team, const Places& places, int64_t begin, int64_t end, const F* dz) const {
        if (!depth_ && !to_.weight_peephole) return;
        for (int64_t part = 0, turn = 0; part < parts_; ++part) add_part(unit, team, places, part, begin, end, turn, dz);
        const Span all{places.begin, units_.sites(unit, end - 1).end};
        for (Span some{all.begin, 0}; some.begin < all.end && to_.weight_peephole; some.begin += BLOCK) {
            some.end = std::min(all.end, some.begin + BLOCK);
            peephole(unit, team, places, some, dz + (some.begin - all.begin) * stride_);
        }
    }

    // Whether each of a team's members sums over its own share of each step's sites alone.
    bool sums_apart(const Team& team) const { return parts_ == team.members && !to_.weight_peephole; }

    // Once all units are done: write the results.
    void finish() const {
        units_.share(layer_.directions * vectors_, depth_ * L * units_.groups() * parts_, [this](int64_t first, int64_t last) {
            for (int64_t v = first; v < last; ++v) write(v / vectors_, v % vectors_);
        });
        for (int64_t i = 0; i < layer_.directions * peephole_size_; ++i) {
            const int64_t d = i / peephole_size_, feature = i % layer_.hidden, row = layer_.peephole_row(d, i % peephole_size_ / layer_.hidden);
            T sum{0};
            for (int64_t group = 0; group < units_.groups(); ++group) sum += peephole_total(d * units_.groups() + group)[i % peephole_size_];
            store_number(to_.weight_peephole + row * layer_.hidden + feature, sum);
        }
    }

   private:
    // Where panel p begins, in vectors of gates.
    int64_t start(int64_t p) const { return starts_[static_cast<std::size_t>(p)]; }
    // A panel's totals, a row for each input.
    T* total(int64_t unit, int64_t part, int64_t p) const { return totals_.get() + ((unit * parts_ + part) * width_ + start(p) * L) * depth_; }
    T* peephole_total(int64_t unit) const { return peephole_totals_.get() + unit * peephole_size_; }
    // What a member gathers for itself.
    F* inputs(const Team& team) const { return gathered_.get() + team.thread() * BLOCK * pitch_; }

    // The sites of a block, those of one part of each of some steps.
    struct Block {
        int64_t count;
        int32_t sites[BLOCK];  // by number in their window
    };

    // Where rows of dz are: so many numbers from one number in the list to the next.
    struct Place {
        const int32_t* rows;
        int64_t stride;
    };
    static constexpr std::array<int32_t, BLOCK> IN_ORDER = [] {
        std::array<int32_t, BLOCK> rows{};
        for (int32_t i = 0; i < BLOCK; ++i) rows[static_cast<std::size_t>(i)] = i;
        return rows;
    }();

    // This member's tiles of a part: its share of those of all parts.
    Span tiles_of(const Team& team, int64_t part) const {
        const auto within = [=](int64_t tile) { return std::clamp<int64_t>(tile - part * tiles_, 0, tiles_); };
        return {within(team.first(parts_ * tiles_)), within(team.last(parts_ * tiles_))};
    }

    void add_part(const Unit& unit, const Team& team, const Places& places, int64_t part, int64_t begin, int64_t end, int64_t& turn, const F* dz) const {
        const Span tiles = tiles_of(team, part);
        if ((!PACKS || sums_apart(team)) && tiles.begin == tiles.end) return;  // else all pack together
        bool first = parts_ == 1 && end == unit.steps;
        Block block;
        block.count = 0;
        for (int64_t step = begin; step < end; ++step) {
            const Span sites = units_.sites(unit, step).part(part, parts_);
            for (int64_t site = sites.begin; site < sites.end; ++site) {
                block.sites[block.count++] = static_cast<int32_t>(site - places.begin);
                if (block.count < BLOCK) continue;
                add_block(unit, team, places, part, tiles, block, turn++, dz, first);
                block.count = 0, first = false;
            }
        }
        if (block.count > 0) add_block(unit, team, places, part, tiles, block, turn++, dz, first);
    }

    void add_block(const Unit& unit, const Team& team, const Places& places, int64_t part, Span tiles, const Block& block, int64_t turn, const F* dz, bool first) const {
        const int64_t rows = round_up(block.count, FILLED_TO<F>) / PAIR<F>;
        F* gates = nullptr;
        if constexpr (PACKS) {
            const bool apart = sums_apart(team);
            // Together in one of two places by turns, so that all wait once a block.
            gates = packed_.get() + (team.number * team.members + (apart ? team.member : turn % std::min<int64_t>(team.members, 2))) * BLOCK * width_;
            for (int64_t row = apart ? 0 : team.first(rows); row < (apart ? rows : team.last(rows)); ++row) pack(row, rows, block, dz, gates);
            if (!apart) team.wait();
        }
        const int64_t at_once = TILED<F> || vectors_ == 1 ? 2 : 1;  // one tile has too few sums, then, to hide how long an addition takes
        for (int64_t tile = tiles.begin; tile < tiles.end; tile += gathers_) {
            const int64_t top = tile * R, last = std::min({tiles.end * R, (tile + gathers_) * R, depth_});
            gather(places, unit.direction, block, top, last, inputs(team));
            for (int64_t p = 0; p < panels_; ++p) {  // whose dz of a block, of at most 41 KB, then stays in the first cache, or nearly so
                const int64_t width = start(p + 1) - start(p), gate = start(p) * L;
                const F* own = PACKS ? gates + gate * rows * PAIR<F> : dz + gate;
                if (COPIES) own = copied(team, block, own, width);
                const auto place = PACKS || COPIES ? Place{IN_ORDER.data(), width * L * PAIR<F>} : Place{block.sites, stride_};
                T* const to = total(unit.index, part, p);
                for (int64_t row = top; row < last; row += at_once * R)
                    if constexpr (TILED<F>) add_tiles(inputs(team) + (row - top) * BLOCK, own, rows, std::min(at_once * R, last - row), width, to + row * width * L, first);
                    else add_tile(inputs(team) + (row - top) * PAIR<F>, own, place, rows, std::min(at_once * R, last - row), width, to + row * width * L, first);
            }
        }
    }

    // A panel's dz of a block, one site's after the other's.
    const F* copied(const Team& team, const Block& block, const F* dz, int64_t width) const {
        F* const to = packed_.get() + team.thread() * BLOCK * WIDEST * L;
        for (int64_t row = 0; row < block.count; ++row)
            for (int64_t v = 0; v < width; ++v) store_factors(to + (row * width + v) * L, load_factors(dz + block.sites[row] * stride_ + v * L), L);
        return to;
    }

    // What the sites of a block read, a row for each or for each pair: some of the inputs of [x, h_0 .., c_0 .., 1].
    void gather(const Places& places, int64_t d, const Block& block, int64_t first, int64_t last, F* to) const {
        int64_t at = 0;
        const auto segment = [&](int64_t length, const auto& of) {
            const int64_t begin = std::max<int64_t>(0, first - at), count = std::min(length, last - at) - begin;
            const int64_t place = at + begin - first;
            F* own = to + place * PAIR<F>;
            at += length;
            if (count <= 0) return;
            decltype(of(0)) from[BLOCK + 1];
            for (int64_t i = 0; i < block.count; ++i) {  // the pass has not touched them for long
                from[i] = of(places.begin + block.sites[i]) + begin;
                prefetch(from[i], count);
            }
            from[block.count] = nullptr;  // what the last of an odd number is paired with
            if constexpr (TILED<F>) return transpose_pairs(from, block.count, count, to + place * BLOCK);
            for (int64_t i = 0; i < block.count; i += PAIR<F>, own += pitch_ * PAIR<F>) {
                if constexpr (PAIR<F> == 1) copy(from[i], count, own);
                else pair_up(from[i], from[i + 1], count, own);
            }
        };
        if (to_.weight_ih) segment(layer_.inputs, [&](int64_t i) { return saved_.input(places.raster(i)); });
        for (int64_t k = 0; k < layer_.axes && to_.weight_hh; ++k) segment(layer_.hidden, [&](int64_t i) { return saved_.previous_h(places, d, i, k); });
        for (int64_t k = 0; k < layer_.axes && to_.weight_ch; ++k) segment(layer_.hidden, [&](int64_t i) { return saved_.previous_c(places, d, i, k); });
        if (!to_.bias || last < depth_) return;
        static constexpr T one[L] = {1};
        if constexpr (TILED<F>) {
            const T* from[BLOCK + 1] = {};
            std::fill_n(from, block.count, one);
            return transpose_pairs(from, block.count, 1, to + (depth_ - 1 - first) * BLOCK);
        }
        F* own = to + (depth_ - 1 - first) * PAIR<F>;
        for (int64_t i = 0; i < block.count; i += PAIR<F>, own += pitch_ * PAIR<F>) store_factors(own, load_paired<F>(one, one, 1), 1);
    }

    // Some numbers of two sites, the second of which may be missing, side by side.
    template <class From>
    void pair_up(const From* one, const From* other, int64_t count, F* to) const {
        for (int64_t k = 0; k < count; k += L) {
            const int lanes = static_cast<int>(std::min<int64_t>(L, count - k));
            store_factors(to + k * PAIR<F>, load_paired<F>(one + k, other ? other + k : nullptr, lanes), lanes);
        }
    }

    // Some numbers of all sites of a block, a row for each of them, filled up with zeros.
    template <class From>
    static void transpose_pairs(const From* const* from, int64_t sites, int64_t count, F* to) {
        for (int64_t k = 0; k < count; k += L)
            for (int64_t pair = 0; 2 * pair < sites; pair += TILE_DEPTH / 2) {
                const int lanes = static_cast<int>(std::min<int64_t>(L, count - k));
                for (int64_t first = pair; first < pair + TILE_DEPTH / 2; first += L) {
                    Vector<T> v[L];
#pragma GCC unroll 16
                    for (int i = 0; i < L; ++i) {
                        const int64_t site = 2 * (first + i);
                        v[i] = site < sites ? load_paired<F>(from[site] + k, from[site + 1] ? from[site + 1] + k : nullptr, lanes) : Vector<T>{};
                    }
                    transpose_block<T>(v);
                    for (int i = 0; i < lanes; ++i) store_factors(to + (k + i) * BLOCK + first * 2, v[i], L);
                }
            }
    }

    // Row `row` of all panels, from dz of a pair of sites, the second of which may be missing.
    void pack(int64_t row, int64_t rows, const Block& block, const F* dz, F* panels) const {
        if (TILED<F> && 2 * row >= block.count) {
            for (int64_t p = 0; p < panels_; ++p)
                std::fill_n(panels + (start(p) * rows + row * (start(p + 1) - start(p))) * L * PAIR<F>, (start(p + 1) - start(p)) * L * PAIR<F>, F{});
            return;
        }
        const bool both = 2 * row + 1 < block.count;
        const F *const from = dz + block.sites[2 * row] * stride_, *const second = both ? dz + block.sites[2 * row + 1] * stride_ : nullptr;
        for (int64_t p = 0; p < panels_; ++p) {
            F* to = panels + (start(p) * rows + row * (start(p + 1) - start(p))) * L * PAIR<F>;
            for (int64_t gate = start(p) * L; gate < start(p + 1) * L; gate += L, to += L * PAIR<F>) {
                const int lanes = static_cast<int>(std::min<int64_t>(L, gates_ - gate));
                store_factors(to, load_paired<F>(from + gate, both ? second + gate : nullptr, lanes), L);
            }
        }
    }

    // Add up the products of a tile's inputs with the gates of a panel, over a block's rows; what comes first is not added to anything.
    void add_tile(const F* from, const F* gates, const Place& place, int64_t rows, int64_t count, int64_t width, T* to, bool first) const {
        as_constant<WIDEST>(width, [&](auto vectors) {
            add_up<vectors>(from, gates, place, rows, count, to, first, std::make_index_sequence<vectors == 1 ? 2 * R : R>{});
        });
    }

    // The same on the CPU's matrix unit.
    static void add_tiles(const F* from, const F* gates, int64_t rows, int64_t count, int64_t width, T* to, bool first) {
        Ahead<F> nothing;
        if (first) return tile_product({from, BLOCK, count, rows * 2}, gates, width, nullptr, {to, width * L, L}, nothing);
        T sums[2 * TILE_ROWS * WIDEST * L];
        tile_product({from, BLOCK, count, rows * 2}, gates, width, nullptr, {sums, width * L, L}, nothing);
        for (int64_t i = 0; i < count * width * L; i += L) store(to + i, load_factors(to + i) + load_factors(sums + i), L);
    }

    template <int W, std::size_t... I>
    void add_up(const F* from, const F* gates, const Place& place, int64_t rows, int64_t count, T* to, bool first, std::index_sequence<I...>) const {
        using Way = void (*)(const WeightGradient&, const F*, const F*, const Place&, int64_t, T*, bool);
        static constexpr Way ways[] = {WeightGradient::add_up<W, static_cast<int>(I) + 1>...};
        ways[count - 1](*this, from, gates, place, rows, to, first);
    }

    template <int W, int COUNT>
    static void add_up(const WeightGradient& own, const F* from, const F* gates, const Place& place, int64_t rows, T* to, bool first) {
        const int64_t next_input = own.pitch_ * PAIR<F>, next_total = W * L;
        Vector<T> sums[COUNT][W] = {};
        if (!first)  // the totals, of many megabytes where there are many features
#pragma GCC unroll 16
            for (int r = 0; r < COUNT; ++r)
#pragma GCC unroll 16
                for (int w = 0; w < W; ++w) __builtin_prefetch(to + r * next_total + w * L, 1);
        for (int64_t row = 0; row < rows; ++row, from += next_input) {
            const F* const weights = gates + place.rows[row] * place.stride;
            Vector<T> v[W];
#pragma GCC unroll 16
            for (int w = 0; w < W; ++w) v[w] = in_register(load_factors(weights + w * L * PAIR<F>));
#pragma GCC unroll 16
            for (int r = 0; r < COUNT; ++r) {
                const Vector<T> x = spread(from + r * PAIR<F>);
#pragma GCC unroll 16
                for (int w = 0; w < W; ++w) sums[r][w] = multiply_add<F>(sums[r][w], x, v[w]);
            }
        }
#pragma GCC unroll 16
        for (int r = 0; r < COUNT; ++r)
#pragma GCC unroll 16
            for (int w = 0; w < W; ++w) {
                T* const total = to + r * next_total + w * L;
                store(total, first ? sums[r][w] : load_factors(total) + sums[r][w], L);
            }
    }

    // A vector of gates of the weights' gradients, from the totals of all groups in their order; these have a row for each column of the weights.
    void write(int64_t d, int64_t v) const {
        const int64_t gate = v * L, p = panel_with(v, vectors_, panels_), next = (start(p + 1) - start(p)) * L;
        int64_t k = 0;
        const auto columns = [&](S* weights, int64_t width, int64_t first, int64_t count) {
            if (!weights) return;
            const T* const top = total(d * units_.groups(), 0, p) + k * next + (v - start(p)) * L;
            const int64_t totals = units_.groups() * parts_, size = depth_ * width_;
            const auto read = [=](int64_t row, int64_t column, int lanes) {
                const T* from = top + row * next + column;
                Vector<T> sum{};
                for (int64_t i = 0; i < totals; ++i, from += size) {
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
    const int64_t rows_, gates_, depth_, tiles_, gathers_, pitch_, stride_, vectors_, width_, panels_;
    const std::vector<int64_t> starts_;
    const int64_t peephole_size_, parts_;
    const Saved<S> saved_;
    const Gradients<S> to_;
    const Buffer<T> totals_;
    const Buffer<F> gathered_, packed_;
    const Buffer<T> peephole_totals_;
};
