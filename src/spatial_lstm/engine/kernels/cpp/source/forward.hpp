// The wavefronts forward: per site one product on [x, h_0, .., h_{n-1}] with the sums in registers, then the gates, fused. States of the
// step before are read from a ring of two steps; what is saved goes where it is wanted at once: h into the output's rows, c and gates into
// tables of sites.
#pragma once

#include <algorithm>

#include "buffer.hpp"
#include "cells.hpp"
#include "folded.hpp"
#include "layer.hpp"
#include "memory.hpp"
#include "packed.hpp"
#include "places.hpp"
#include "product.hpp"
#include "saved.hpp"
#include "shared.hpp"
#include "team.hpp"
#include "units.hpp"

template <class S, class Cell, int N>
class Forward {
    using T = Compute<S>;
    using F = Factor<S>;
    static constexpr int B = Cell::template blocks<N>, L = LANES<T>;
    static constexpr bool CONVERTS = !std::is_same_v<S, T>;

   public:
    // Sites whose input stays in cache while the panels of weights pass by; every number of rows at once divides it. At half and twice as many
    // training took as long, within the noise of 5 % (geometric mean over the sizes of the layer's benchmark, one thread of a Xeon with AVX-512).
    static constexpr int64_t BLOCK = 240;

    Forward(const Layer& layer, const Units& units, const Results<S>& to, bool recompute = false)
        : layer_(layer),
          units_(units),
          hidden_(layer.hidden),
          weights_(layer),
          depth_(weights_.depth()),
          ring_(recompute ? 0 : units.widest() * hidden_),
          streams_(!recompute && STREAMS<S> && hidden_ % L == 0 && fills_lines(to.output) && fills_lines(to.gates) && written(layer, to) >= LEAST_STREAMED),
          to_(to),
          saved_(layer, to),
          ring_h_(layer.threads * 2 * ring_),
          ring_c_(to.c ? 0 : layer.threads * 2 * ring_),
          converted_(CONVERTS ? layer.threads * BLOCK * depth_ : 0),
          places_(recompute ? 0 : layer.threads * Places::numbers(layer, BLOCK)) {}

    void run() {
        const int64_t unused = to_.c ? layer_.table_rows - layer_.sites : 0;
        for (int64_t d = 0; d < layer_.directions; ++d) std::fill_n(saved_.c(d, layer_.sites), unused * hidden_, T{0});
        prepare();
        units_.run(1, [this](const Team& team, const Unit& unit) {
            Walk walk(layer_, units_, unit);
            const int64_t thread = team.number * team.members + team.member;
            Places places = walk.window(places_.get() + thread * Places::numbers(layer_, BLOCK), BLOCK);
            for (int64_t step = 0; step < unit.steps; ++step) {
                const Span sites = units_.sites(unit, step);
                const int64_t before = step ? units_.sites(unit, step - 1).begin : 0;
                const auto c = [&](int64_t of, int64_t begin) { return to_.c ? saved_.c(unit.direction, begin) : ring(ring_c_, team, of); };
                S *const h = ring(ring_h_, team, step), *const previous_h = ring(ring_h_, team, step - 1);
                const At at{places, unit.direction, thread, sites.begin, before, h, previous_h, c(step, sites.begin), c(step - 1, before)};
                const int64_t last = sites.begin + team.last(sites.size());
                for (int64_t first = sites.begin + team.first(sites.size()); first < last; first += BLOCK) {
                    places.begin = first;
                    walk.find(step, first, std::min(last, first + BLOCK), places);
                    block<false>(at, first, std::min(last, first + BLOCK), nullptr);
                }
                team.wait();
            }
            finish_streams();
        });
    }

    // Pack the weights, before anything else.
    void prepare() const { weights_.prepare(units_); }

    // Write the gates of the sites first .. last of direction d, at most BLOCK, whose output and c are known.
    void recompute_gates(const Places& places, int64_t d, int64_t first, int64_t last, S* to, int64_t thread) const {
        block<true>(At{places, d, thread, 0, 0, nullptr, nullptr, nullptr, saved_.c(d, 0)}, first, last, to);
    }

   private:
    // Bytes of output and gates that are written past the caches, which hold less. At half of it training took 4 % longer, at one and a half times
    // and more 3 to 7 % less, the forward pass 5 to 19 % (h = 32, one core of an EPYC whose second cache has a megabyte).
    static constexpr int64_t LEAST_STREAMED = 1 << 20;

    static int64_t written(const Layer& layer, const Results<S>& to) {
        return layer.directions * layer.sites * layer.hidden * (to.gates ? 1 + B : 1) * static_cast<int64_t>(sizeof(S));
    }

    // Where a block stands: its step begins with site `begin`, the one before with `before`, and there are their states, a row a site. Where
    // gates are recomputed, all sites are of the step before.
    struct At {
        const Places& places;
        int64_t d, thread, begin, before;
        S *h, *previous_h;
        T *c, *previous_c;
    };

    // Sites first .. last, of one step or of several that are known.
    template <bool Recompute>
    void block(const At& at, int64_t first, int64_t last, S* recomputed) const {
        F* converted = CONVERTS ? converted_.get() + at.thread * BLOCK * depth_ : nullptr;
        if constexpr (CONVERTS)
            for (int64_t i = first; i < last; ++i) convert<Recompute>(at, i, converted + (i - first) * depth_);
        Rows<F> rows;
        int64_t begin = -1, end = -1;  // whose rows these are
        for (int64_t p = 0; p < weights_.panels(); ++p)
            for (int64_t i = first, at_once = weights_.at_once(p); i < last; i += at_once) {
                const int64_t next = std::min(i + at_once, last);
                if (i != begin || next != end)  // else all of a small step, for the panel before
                    for (int64_t site = i; site < next; ++site) {
                        const int r = static_cast<int>(site - i);
                        if constexpr (CONVERTS) {
                            rows.segments = 1;
                            rows.lengths[0] = static_cast<int>(depth_ / PAIR<F>);
                            rows.at[0][r] = converted + (site - first) * depth_;
                        } else {
                            gather<Recompute>(at, site, r, rows);
                        }
                    }
                begin = i, end = next;
                gates<Recompute>(at, p, i, static_cast<int>(next - i), rows, recomputed ? recomputed + (i - first) * B * hidden_ : nullptr);
            }
        if constexpr (!Recompute)
            for (int64_t i = first; i < last; ++i) to_faces(at, i);
    }

    // The states of a site's predecessor; of h, the output's if the step before is long past.
    template <bool Recompute>
    const S* previous_h(const At& at, int64_t site, int k) const {
        if constexpr (Recompute) return saved_.previous_h(at.places, at.d, site, k);
        const int64_t p = at.places.pred(site, k);
        return p >= 0 ? at.previous_h + (p - at.before) * hidden_ : saved_.near_h(at.d, -1 - p);
    }

    const T* previous_c(const At& at, int64_t site, int k) const {
        const int64_t p = at.places.pred(site, k);
        return p >= 0 ? at.previous_c + (p - at.before) * hidden_ : saved_.near_c(at.d, -1 - p);
    }

    // The states of a step, one row a site.
    template <class Number>
    Number* ring(const Buffer<Number>& both, const Team& team, int64_t step) const { return both.get() + (team.number * 2 + (step & 1)) * ring_; }

    // Where the input of a site lies.
    template <bool Recompute>
    void gather(const At& at, int64_t site, int r, Rows<F>& rows) const {
        int s = 0;
        const auto segment = [&](const T* from, int64_t length) {
            rows.lengths[s] = static_cast<int>(length);
            rows.at[s++][r] = from;
        };
        segment(saved_.input(at.places.raster(site)), layer_.inputs);
        for (int k = 0; k < N; ++k) segment(previous_h<Recompute>(at, site, k), hidden_);
        for (int k = 0; k < N && layer_.weight_ch; ++k) segment(previous_c(at, site, k), hidden_);
        rows.segments = s;
    }

    // The input of a site, as factors one after the other.
    template <bool Recompute>
    void convert(const At& at, int64_t site, F* to) const {
        F* const end = to + depth_;
        const auto segment = [&](const auto* from, int64_t length) {
            for (int64_t k = 0; k < length; k += L) {
                const int count = static_cast<int>(std::min<int64_t>(L, length - k));
                store(to + k, load(from + k, count), count);
            }
            to += length;
        };
        segment(saved_.input(at.places.raster(site)), layer_.inputs);
        for (int k = 0; k < N; ++k) segment(previous_h<Recompute>(at, site, k), hidden_);
        for (int k = 0; k < N && layer_.weight_ch; ++k) segment(previous_c(at, site, k), hidden_);
        std::fill(to, end, F{});
    }

    // The features of a panel at a few sites: product, gates, c and h.
    template <bool Recompute>
    void gates(const At& at, int64_t p, int64_t first, int count, const Rows<F>& rows, S* to) const {
        Vector<T> z[MOST_ROWS * B + 1];
        weights_.multiply(at.d, p, count, rows, z);
        const int64_t feature = p * L;
        const int lanes = weights_.features(p), sharing = weights_.sharing(p);
        Vector<T> peephole[2 * N + 1];
        if constexpr (Cell::peephole)
            for (int i = 0; i < 2 * N + 1; ++i)
                peephole[i] = load_shared(sharing, lanes, [&](int) { return static_cast<const T*>(layer_.weight_peephole) + layer_.peephole_row(at.d, i) * hidden_ + feature; });
        if constexpr (!Recompute) to = to_.gates ? to_.gates + (at.d * layer_.sites + first) * B * hidden_ : nullptr;
        for (int r = 0; r < count; r += sharing) {
            const int sites = std::min(sharing, count - r);
            Vector<T> *own = z + r / sharing * B, c_prev[N], c, h;
            for (int k = 0; k < N; ++k) c_prev[k] = load_shared(sites, lanes, [&](int i) { return previous_c(at, first + r + i, k) + feature; });
            activate(own, c_prev, peephole, c, h);
            if constexpr (!Recompute) store_states(at, first + r, sites, feature, lanes, h, c);
            if (STREAMS<S> && streams_ && to)
                for (int b = 0; b < B; ++b) stream(to + (r * B + b) * hidden_ + feature, own[b]);
            else if (to)
                for (int b = 0; b < B; ++b) store_shared<T>(sites, lanes, own[b], [&](int i) { return to + ((r + i) * B + b) * hidden_ + feature; });
            if constexpr (FOLDS<S> && !Recompute)
                if (to_.folded)
                    for (int b = 0; b < B; ++b)
                        store_shared<T>(sites, lanes, fold(own[b]), [&](int i) { return to_.folded + ((at.d * layer_.sites + first + r + i) * B + b) * hidden_ + feature; });
        }
    }

    // Never inlined, so that recomputed gates are the same to the last bit: where products are contracted is up to the compiler.
    __attribute__((noinline)) static void activate(Vector<T>* z, const Vector<T>* c_prev, const Vector<T>* peephole, Vector<T>& c, Vector<T>& h) {
        Cell::template forward<T, N>(z, c_prev, peephole, c, h);
    }

    // Some features of the states of sites that share vectors.
    void store_states(const At& at, int64_t first, int sites, int64_t feature, int lanes, Vector<T> h, Vector<T> c) const {
        store_shared<T>(sites, lanes, h, [&](int i) { return at.h + (first + i - at.begin) * hidden_ + feature; });
        store_shared<T>(sites, lanes, c, [&](int i) { return at.c + (first + i - at.begin) * hidden_ + feature; });
        if (STREAMS<S> && streams_) return stream(saved_.h(at.d, at.places.raster(first)) + feature, h);
        store_shared<T>(sites, lanes, h, [&](int i) { return saved_.h(at.d, at.places.raster(first + i)) + feature; });
    }

    // What leaves through the far faces.
    void to_faces(const At& at, int64_t row) const {
        for (int64_t k = 0; k < N + layer_.idle; ++k) {
            const int64_t face = k < N ? -1 - at.places.succ(row, k) : layer_.starts[k] + at.places.raster(row);
            if (face < 0) continue;
            const int64_t place = (at.d * layer_.face_rows + face) * hidden_;
            std::copy_n(at.h + (row - at.begin) * hidden_, hidden_, to_.far_h + place);
            std::copy_n(at.c + (row - at.begin) * hidden_, hidden_, to_.far_c + place);
        }
    }

    const Layer& layer_;
    const Units& units_;
    const int64_t hidden_;
    const PackedWeights<S, B> weights_;
    const int64_t depth_, ring_;
    const bool streams_;
    const Results<S> to_;
    const Saved<S> saved_;
    const Buffer<S> ring_h_;
    const Buffer<T> ring_c_;
    const Buffer<F> converted_;
    const Buffer<int32_t> places_;
};
