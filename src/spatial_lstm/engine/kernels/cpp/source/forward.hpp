// The wavefronts forward: of a block of sites one product on [x, h_0, .., h_{n-1}] with the sums in registers, then the gates. States of the
// step before are read from a ring of some steps; what is saved goes where it is wanted: h into the output's rows, c and gates into tables.
#pragma once

#include <algorithm>

#include "buffer.hpp"
#include "cells.hpp"
#include "folded.hpp"
#include "gates.hpp"
#include "layer.hpp"
#include "memory.hpp"
#include "pace.hpp"
#include "packed.hpp"
#include "places.hpp"
#include "product.hpp"
#include "saved.hpp"
#include "team.hpp"
#include "tiles.hpp"
#include "units.hpp"

template <class S, class Cell, int N>
class Forward {
    using T = Compute<S>;
    using F = Factor<S>;
    static constexpr int B = Cell::template blocks<N>, L = LANES<T>, PEEPHOLES = 2 * N + 1;
    static constexpr bool CONVERTS = !std::is_same_v<S, T>;

   public:
    // Sites whose input stays in cache while the panels of weights pass by; every number of rows at once divides it. At half and twice as many
    // training took as long, within the noise of 5 % (geometric mean over the sizes of the layer's benchmark, one thread of a Xeon with AVX-512).
    static constexpr int64_t BLOCK = 240;
    static_assert(BLOCK % TILE_ROWS == 0);

    Forward(const Layer& layer, const Units& units, const Results<S>& to, bool recompute = false)
        : layer_(layer),
          units_(units),
          hidden_(layer.hidden),
          weights_(layer),
          depth_(weights_.depth()),
          between_((recompute ? BLOCK : std::min(BLOCK, units.widest())) * round_up(hidden_, L) + L),
          ring_(recompute ? 0 : units.widest() * hidden_),
          slots_(Pace::slots(ring_bytes())),
          fills_(hidden_ % L == 0),
          streams_(!recompute && STREAMS<S> && fills_lines(layer, to) && written(layer, to) >= LEAST_STREAMED),
          fetches_(layer.inputs + hidden_ <= MOST_FETCHED),
          to_(to),
          saved_(layer, to),
          ring_h_(layer.threads * slots_ * ring_),
          ring_c_(recompute || in_table() ? 0 : layer.threads * slots_ * ring_),
          numbers_(layer.threads * (B + N) * between_),
          peepholes_(Cell::peephole ? layer.directions * PEEPHOLES * (hidden_ + L) : 0),
          converted_(CONVERTS ? layer.threads * BLOCK * depth_ : 0),
          places_(recompute ? 0 : layer.threads * Places::numbers(layer, BLOCK)) {}

    void run() {
        const int64_t unused = to_.c ? layer_.table_rows - layer_.sites : 0;
        for (int64_t d = 0; d < layer_.directions; ++d) std::fill_n(saved_.c(d, layer_.sites), unused * hidden_, T{0});
        prepare();
        units_.run(1, [this](const Team& team, const Unit& unit) {
            [[maybe_unused]] const Tiles<F> tiles;
            Walk walk(layer_, units_, unit);
            const int64_t thread = team.thread();
            Places places = walk.window(places_.get() + thread * Places::numbers(layer_, BLOCK), BLOCK);
            const Pace pace(team, ring_bytes());
            // Where what is too much of a vector is written over the next site's features, panels are to go down.
            Panels panels{team.panels(weights_.panels()), false, weights_.bytes() >= PAST_SECOND && (fills_ || team.by_features)};
            for (int64_t step = 0; step < unit.steps; ++step) {
                const Span sites = units_.sites(unit, step), before = step ? units_.sites(unit, step - 1) : Span{0, 0};
                const auto c = [&](int64_t of, int64_t begin) { return in_table() ? saved_.c(unit.direction, begin) : ring(ring_c_, pace, of); };
                S *const h = ring(ring_h_, pace, step), *const previous_h = ring(ring_h_, pace, step - 1);
                const At at{places, unit.direction, thread, sites, before, h, previous_h, c(step, sites.begin), c(step - 1, before.begin)};
                const auto find = [&](int64_t first, int64_t last) {
                    places.begin = first;
                    walk.find(step, first, last, places);
                };
                if (team.by_features) {
                    for (Span some{sites.begin, 0}; some.begin < sites.end; some.begin = some.end) {
                        some.end = std::min(some.begin + BLOCK, sites.end);
                        find(some.begin, some.end);
                        by_features(team, at, some, panels);
                        panels.turn();
                    }
                    continue;
                }
                const auto prepare = [&](int64_t first, int64_t last) {
                    find(first, last);
                    panels.turn();
                    if (team.members > 1) pace.await(step, before, places.preds(first, last));
                };
                auto [first, last] = team.share(sites);
                if (pace.is_done(team.member - 1, step) && first > sites.begin) {  // what the next step will read of it
                    ::prefetch(h + (first - 1 - sites.begin) * hidden_, hidden_);
                    ::prefetch(at.c + (first - 1 - sites.begin) * hidden_, hidden_);
                }
                for (; first < last - BLOCK; first += BLOCK) {
                    prepare(first, first + BLOCK);
                    keep(at, first, first + BLOCK, block<false>(at, first, first + BLOCK, gates(at, first), panels));
                }
                if (first < last) prepare(first, last);
                const auto numbers = block<false>(at, first, last, gates(at, first), panels);
                team.arrive();  // what is kept, the others do not read
                keep(at, first, last, numbers);
            }
            finish_streams();
        });
    }

    // Pack the weights, before anything else.
    void prepare() const {
        weights_.prepare(units_);
        if constexpr (Cell::peephole)
            for (int64_t i = 0; i < layer_.directions * PEEPHOLES; ++i) {
                const T* from = static_cast<const T*>(layer_.weight_peephole) + layer_.peephole_row(i / PEEPHOLES, i % PEEPHOLES) * hidden_;
                for (int64_t j = 0; j < hidden_ + L; ++j) peepholes_.get()[i * (hidden_ + L) + j] = from[j % hidden_];
            }
    }

    // Write the gates of the sites first .. last of direction d, at most BLOCK, whose output and c are known.
    void recompute_gates(const Places& places, int64_t d, int64_t first, int64_t last, S* to, int64_t thread) const {
        const auto numbers = block<true>(At{places, d, thread, {}, {}, nullptr, nullptr, nullptr, saved_.c(d, 0)}, first, last, to, {{0, weights_.panels()}, false, false});
        if (!numbers.gates) write_rows(numbers, last - first, to);
    }

   private:
    // Bytes of output and gates that are written past the caches, which hold less. At half of it training took 4 % longer, at one and a half times
    // and more 3 to 7 % less, the forward pass 5 to 19 % (h = 32, one core of an EPYC whose second cache has a megabyte).
    static constexpr int64_t LEAST_STREAMED = 1 << 20;

    // Numbers of input and output of a site, up to which a block's are fetched before they are due. Inference took 0.81 to 1.01 of the time at
    // up to 64, as long at 80 to 314, and 5 % longer at 576 (same EPYC).
    static constexpr int64_t MOST_FETCHED = 64;

    // Whether rows of features fill lines of the caches.
    static bool fills_lines(const Layer& layer, const Results<S>& to) {
        if (layer.hidden * static_cast<int64_t>(sizeof(S)) % LINE) return false;
        return ::fills_lines(to.output) && ::fills_lines(to.c) && ::fills_lines(to.gates);
    }

    static int64_t written(const Layer& layer, const Results<S>& to) {
        return layer.directions * layer.sites * layer.hidden * (to.gates ? 1 + B : 1) * static_cast<int64_t>(sizeof(S));
    }

    // Where a block stands: the sites of its step and of the one before, and their states, a row a site. Where gates are recomputed, all sites are
    // of the step before.
    struct At {
        const Places& places;
        int64_t d, thread;
        Span sites, before;
        S *h, *previous_h;
        T *c, *previous_c;
    };

    // Whether a step's c are where they are saved, and not in a ring: what is written past the caches, the next step would find there no more.
    bool in_table() const { return to_.c && !streams_; }

    // Where gates of the sites from `first` on lie in their table, and where they are kept as they are, or null.
    int64_t place(const At& at, int64_t first) const { return (at.d * layer_.sites + first) * B * hidden_; }
    S* gates(const At& at, int64_t first) const { return to_.gates ? to_.gates + place(at, first) : nullptr; }

    // The states of sites first .. last, of one step or of several that are known, and their gates: these are written where they are kept, if
    // vectors fill their features. From where all pass through z, training took 1 to 5 % longer (16 to 64 units, one core of an EPYC).
    template <bool Recompute>
    Numbers<S> block(const At& at, int64_t first, int64_t last, S* gates, const Panels& panels) const {
        T* const z = numbers(at.thread);
        multiply<Recompute>(at, first, last, z, hidden_, panels);
        return states<Recompute>(at, first, last, z, gates);
    }

    // Sites of a step that a team's members share out by features: first the products of all of them with this one's panels of weights, then the
    // states of its own sites. A site's features have vectors of their own, for what is too much of a vector another may have written.
    void by_features(const Team& team, const At& at, Span sites, const Panels& panels) const {
        const int64_t pitch = round_up(hidden_, L);
        T* const z = numbers(team.number * team.members);
        team.await();  // until all have what they wanted of the sites before
        multiply<false>(at, sites.begin, sites.end, z, pitch, panels);
        team.wait();
        const Span own = team.share(sites);
        const int64_t at_once = fills_ ? std::max<int64_t>(1, own.size()) : 1;
        for (int64_t i = own.begin; i < own.end; i += at_once)
            keep(at, i, i + at_once, states<false>(at, i, i + at_once, z + (i - sites.begin) * pitch, gates(at, i)));
        team.arrive();
    }

    // A thread's pre-activations, and its predecessors' c.
    T* numbers(int64_t thread) const { return numbers_.get() + thread * (B + N) * between_; }

    // The states of such sites, from their pre-activations.
    template <bool Recompute>
    Numbers<S> states(const At& at, int64_t first, int64_t last, T* z, S* gates) const {
        T* const c_prev = numbers(at.thread) + B * between_;
        gather_c(at, first, last, c_prev);
        const int64_t local = (first - at.sites.begin) * hidden_;
        const T* peephole = Cell::peephole ? peepholes_.get() + at.d * PEEPHOLES * (hidden_ + L) : nullptr;
        const Numbers<S> numbers{(last - first) * hidden_, z, c_prev, between_, peephole, hidden_,
                                 Recompute ? nullptr : at.c + local, Recompute ? nullptr : at.h + local, to_.folded || (gates && !fills_), streams_,
                                 !Recompute && to_.c && !in_table() ? saved_.c(at.d, first) : nullptr, fills_ ? gates : nullptr};
        activate<S, Cell, N>(numbers);
        return numbers;
    }

    // Of a block, what is read after the pass alone.
    void keep(const At& at, int64_t first, int64_t last, const Numbers<S>& numbers) const {
        write_gates(numbers, last - first, place(at, first));
        for (int64_t i = first; i < last; ++i) {
            write(at.h + (i - at.sites.begin) * hidden_, saved_.h(at.d, at.places.raster(i)));
            to_faces(at, i);
        }
    }

    // The pre-activations of sites first .. last.
    template <bool Recompute>
    void multiply(const At& at, int64_t first, int64_t last, T* z, int64_t pitch, const Panels& panels) const {
        for (int64_t i = first; i < last && fetches_; ++i) {
            prefetch(saved_.input(at.places.raster(i)), layer_.inputs);
            if (!Recompute && !streams_) prefetch<true>(saved_.h(at.d, at.places.raster(i)), hidden_);
        }
        F* converted = CONVERTS ? converted_.get() + at.thread * BLOCK * depth_ : nullptr;
        if constexpr (CONVERTS)
            for (int64_t i = first; i < last; ++i) convert<Recompute>(at, i, converted + (i - first) * depth_);
        if constexpr (TILED<F>) {
            for (int64_t turn = 0; turn < panels.count(); ++turn) weights_.multiply_tiles(at.d, panels, turn, last - first, converted, z, pitch, between_);
        } else {
            multiply_rows<Recompute>(at, first, last, converted, z, pitch, panels);
        }
    }

    // Their products, of some sites at a time, where these lie or were converted.
    template <bool Recompute>
    void multiply_rows(const At& at, int64_t first, int64_t last, const F* converted, T* z, int64_t pitch, const Panels& panels) const {
        Rows<F> rows;
        int64_t begin = -1, end = -1;  // whose rows these are
        for (int64_t turn = 0; turn < panels.count(); ++turn) {
            const int64_t p = panels.at(turn);
            Ahead<F> ahead = weights_.ahead(at.d, panels, turn, last - first);
            for (int64_t i = first, at_once = alike(last - first, weights_.at_once(p)); i < last; i += at_once) {
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
                weights_.multiply(at.d, p, static_cast<int>(next - i), rows, z + (i - first) * pitch, pitch, between_, ahead);
            }
        }
    }

    // The predecessors' c of sites first .. last, those of several sites at once where they are one after the other.
    void gather_c(const At& at, int64_t first, int64_t last, T* to) const {
        for (int k = 0; k < N; ++k, to += between_)
            for (int64_t i = first, next; i < last; i = next) {
                const int64_t p = at.places.pred(i, k);
                for (next = i + 1; next < last && p >= 0 && at.places.pred(next, k) == p + next - i;) ++next;
                copy(previous_c(at, i, k), (next - i) * hidden_, to + (i - first) * hidden_);
            }
    }

    // The states of a site's predecessor; of h, the output's if the step before is long past.
    template <bool Recompute>
    const S* previous_h(const At& at, int64_t site, int k) const {
        if constexpr (Recompute) return saved_.previous_h(at.places, at.d, site, k);
        const int64_t p = at.places.pred(site, k);
        return p >= 0 ? at.previous_h + (p - at.before.begin) * hidden_ : saved_.near_h(at.d, -1 - p);
    }

    const T* previous_c(const At& at, int64_t site, int k) const {
        const int64_t p = at.places.pred(site, k);
        return p >= 0 ? at.previous_c + (p - at.before.begin) * hidden_ : saved_.near_c(at.d, -1 - p);
    }

    // The states of a step, one row a site.
    template <class Number>
    Number* ring(const Buffer<Number>& all, const Pace& pace, int64_t step) const { return all.get() + pace.slot(step) * ring_; }
    int64_t ring_bytes() const { return ring_ * static_cast<int64_t>(sizeof(S) + sizeof(T)); }

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
            copy(from, length, to);
            to += length;
        };
        segment(saved_.input(at.places.raster(site)), layer_.inputs);
        for (int k = 0; k < N; ++k) segment(previous_h<Recompute>(at, site, k), hidden_);
        for (int k = 0; k < N && layer_.weight_ch; ++k) segment(previous_c(at, site, k), hidden_);
        std::fill(to, end, F{});
    }

    // The gates of so many sites, where they are kept and not written yet: a row a site.
    void write_gates(const Numbers<S>& numbers, int64_t sites, int64_t place) const {
        if (numbers.activates && to_.gates) write_rows(numbers, sites, to_.gates + place);
        if constexpr (FOLDS<S>)
            if (to_.folded) {
                for (T* z = numbers.z; z < numbers.z + B * between_; z += between_)
                    for (int64_t k = 0; k < numbers.count; k += L) store(z + k, fold(load(z + k, L)), L);
                write_rows(numbers, sites, to_.folded + place);
            }
    }

    template <class G>
    void write_rows(const Numbers<S>& numbers, int64_t sites, G* to) const {
        for (int64_t i = 0; i < sites; ++i)
            for (int b = 0; b < B; ++b, to += hidden_) write(numbers.z + b * between_ + i * hidden_, to);
    }

    // All features of a site to a table.
    template <class From, class To>
    void write(const From* from, To* to) const {
        if constexpr (STREAMS<S> && std::is_same_v<S, To>)
            if (streams_) {
                for (int64_t k = 0; k < hidden_; k += L) stream(to + k, load(from + k, L));
                return;
            }
        copy(from, hidden_, to);
    }

    // What leaves through the far faces.
    void to_faces(const At& at, int64_t row) const {
        for (int64_t k = 0; k < N + layer_.idle; ++k) {
            const int64_t face = k < N ? -1 - at.places.succ(row, k) : layer_.starts[k] + at.places.raster(row);
            if (face < 0) continue;
            const int64_t place = (at.d * layer_.face_rows + face) * hidden_;
            copy(at.h + (row - at.sites.begin) * hidden_, hidden_, to_.far_h + place);
            copy(at.c + (row - at.sites.begin) * hidden_, hidden_, to_.far_c + place);
        }
    }

    const Layer& layer_;
    const Units& units_;
    const int64_t hidden_;
    const PackedWeights<S, B> weights_;
    const int64_t depth_, between_, ring_, slots_;
    const bool fills_, streams_, fetches_;  // whether vectors fill the features, ..
    const Results<S> to_;
    const Saved<S> saved_;
    const Buffer<S> ring_h_;
    const Buffer<T> ring_c_;
    const Buffer<T> numbers_, peepholes_;  // (threads, B + N, between), as many of peepholes as are read
    const Buffer<F> converted_;
    const Buffer<int32_t> places_;
};
