// The wavefronts in reverse: what the successors send is gathered, then the gates' derivatives dz, then one product for the predecessors.
// dz is held for a window of steps alone, whose share of the weights' gradients is then taken; so are the gates where they were not saved.
#pragma once

#include <algorithm>
#include <memory>

#include "buffer.hpp"
#include "cells.hpp"
#include "folded.hpp"
#include "forward.hpp"
#include "input_gradient.hpp"
#include "layer.hpp"
#include "memory.hpp"
#include "pace.hpp"
#include "places.hpp"
#include "saved.hpp"
#include "team.hpp"
#include "tiles.hpp"
#include "units.hpp"
#include "weight_gradient.hpp"

// What reaches the states from outside, and what leaves through the near faces and to the input; each may be null.
template <class S>
struct BackwardData {
    const S *output, *far_h;        // (R, D, h) in the strides below, (D, F, h)
    const Compute<S>* far_c;        // (D, F, h)
    S* near_h;                      // (D, F, h)
    Compute<S>* near_c;             // (D, F, h)
    S* x;                           // (R, D, C)
    int64_t output_row, output_direction;  // strides, in numbers: directions that are summed share their gradient

    const S* of_output(int64_t d, int64_t raster) const { return output ? output + raster * output_row + d * output_direction : nullptr; }
};

template <class S, class Cell, int N>
class Backward {
    using T = Compute<S>;
    using F = Factor<S>;
    static constexpr int B = Cell::template blocks<N>, L = LANES<T>;
    static constexpr bool CONVERTS = !std::is_same_v<S, T>;
    // Sites whose dz and sums stay in cache between the gates and the products; every number of rows at once divides it. Sites whose dz is held
    // for the weights' gradients: a megabyte of it at h = 50. Both were judged; at half and twice as many training took as long, within the noise
    // of 5 % (geometric mean over the sizes of the layer's benchmark, one thread of a Xeon with AVX-512).
    static constexpr int64_t BLOCK = 120, WINDOW = 1024;
    // Sites that are fetched before they are due. With 16 training on images of 28 x 28 and 256 x 256 took 2 % longer, with 64 more, with 4 that
    // ended at a block's last 10 % (h = 32, one core of an EPYC whose second cache has a megabyte).
    static constexpr int64_t AHEAD = 8;

   public:
    Backward(const Layer& layer, const Units& units, const Results<S>& of, const BackwardData<S>& data, const WeightGradient<S>& weight_gradient)
        : layer_(layer),
          units_(units),
          hidden_(layer.hidden),
          depth_(B * hidden_),
          stride_(round_up(depth_, FILLED_TO<F>)),
          window_(std::max(WINDOW, units.widest())),
          sends_(N * hidden_),
          of_c_(units.widest() * sends_),
          saved_(layer, of),
          gates_(of.gates),
          folded_(of.folded),
          data_(data),
          converted_(CONVERTS && data.far_h ? layer.directions * layer.face_rows * hidden_ : 0),
          weight_gradient_(weight_gradient),
          input_gradient_(layer, data.x),
          forward_(of.gates || of.folded ? nullptr : std::make_unique<Forward<S, Cell, N>>(layer, units, of, true)),
          recomputed_gates_(forward_ ? layer.threads * window_ * depth_ : 0),
          held_((window_ + (TILED<F> ? TILE_ROWS : 0)) * stride_ + L),
          dz_(layer.threads * held_),
          sent_(layer.threads * Pace::slots(sent_bytes()) * 2 * of_c_),
          places_(layer.threads * Places::numbers(layer, window_)) {
        if (stride_ > depth_) std::fill_n(dz_.get(), layer.threads * held_, F{});
        if constexpr (!CONVERTS) far_h_ = data.far_h;
        else if (data.far_h) copy(data.far_h, layer.directions * layer.face_rows * hidden_, converted_.get()), far_h_ = converted_.get();
    }

    void run() {
        input_gradient_.prepare(units_);
        if (forward_) forward_->prepare();
        units_.run(forward_ ? 3 : 2, [this](const Team& team, const Unit& unit) {
            [[maybe_unused]] const Tiles<F> tiles;
            weight_gradient_.begin(unit, team);
            Walk walk(layer_, units_, unit);
            for (int64_t end = unit.steps, begin; end > 0; end = begin) {
                begin = window_begin(unit, end);
                window(team, unit, begin, end, walk);
            }
        });
        weight_gradient_.finish();
    }

   private:
    // Where a block stands.
    struct At {
        const Places& places;  // of the window's sites
        int64_t d;
        F* dz;                 // of these, and their gates, if those are as they were computed
        const S* gates;
        Span sites, own, next; // of its step, this member's of them, and this member's of the step that comes next, if the window has it
        int64_t after;         // first site of the step after
        T *sent, *sent_after;  // what the step sends, and what the step after sent, from its first site on
    };

    // The first of the steps before `end` that together have no more sites than a window; one at least.
    int64_t window_begin(const Unit& unit, int64_t end) const {
        int64_t begin = end - 1, sites = units_.sites(unit, begin).size();
        while (begin > 0 && (sites += units_.sites(unit, begin - 1).size()) <= WINDOW) --begin;
        return begin;
    }

    void window(const Team& team, const Unit& unit, int64_t begin, int64_t end, Walk& walk) {
        // Each member finds the places of all sites for itself: one table for all has lines of the cache that several write to.
        const int64_t thread = team.thread();
        Places places = walk.window(places_.get() + thread * Places::numbers(layer_, window_), window_);
        const Span all{units_.sites(unit, begin).begin, units_.sites(unit, end - 1).end};
        places.begin = all.begin;
        for (int64_t step = begin; step < end; ++step) {
            const Span sites = units_.sites(unit, step);
            walk.find(step, sites.begin, sites.end, places);
        }
        const bool apart = !forward_ && !team.by_features && weight_gradient_.sums_apart(team);  // then nobody waits between windows
        F* const dz = dz_.get() + (apart ? thread : team.number) * held_;
        const S* gates = gates_ ? gates_ + (unit.direction * layer_.sites + all.begin) * depth_ : nullptr;
        if (forward_) {
            S* const to = recomputed_gates_.get() + team.number * window_ * depth_;
            gates = to;
            const int64_t last = all.begin + team.last(all.size());
            for (int64_t first = all.begin + team.first(all.size()); first < last; first += Forward<S, Cell, N>::BLOCK)
                forward_->recompute_gates(places, unit.direction, first, std::min(last, first + Forward<S, Cell, N>::BLOCK), to + (first - all.begin) * depth_, thread);
            team.wait();
        }
        const Pace pace(team, sent_bytes());
        Panels panels{team.panels(input_gradient_.panels()), true, input_gradient_.bytes() >= PAST_SECOND};
        for (int64_t step = end; step-- > begin; team.arrive()) {
            const Span sites = units_.sites(unit, step), own = team.share(sites), next = step > begin ? team.share(units_.sites(unit, step - 1)) : Span{0, 0};
            const Span after = step + 1 < unit.steps ? units_.sites(unit, step + 1) : Span{0, 0};
            const At at{places, unit.direction, dz, gates, sites, own, next, after.begin, sent(pace, step), sent(pace, step + 1)};
            if (team.by_features) {
                by_features(team, at, panels);
                panels.turn();
                continue;
            }
            for (int64_t first = own.begin; first < own.end; first += BLOCK) {
                const int64_t last = std::min(own.end, first + BLOCK);
                if (team.members > 1) pace.await(end - 1 - step, after, places.succs(first, last));
                differentiate(at, first, last);
                send(at, first, last, panels);
                panels.turn();
                finish(at, first, last);
            }
            if (pace.is_done(team.member + 1, end - 1 - step)) {  // what the next step will read of it
                ::prefetch(at.sent + (own.end - sites.begin) * sends_, sends_);
                ::prefetch(at.sent + of_c_ + (own.end - sites.begin) * sends_, sends_);
            }
        }
        if (!apart) team.await();
        weight_gradient_.add(unit, team, places, begin, end, dz);
        if (!apart) team.wait();
    }

    // dz of a site in its window.
    F* dz(const At& at, int64_t site) const { return at.dz + (site - at.places.begin) * stride_; }

    // What the sites of a step send to their predecessors, (n, h) each: of h, and `of_c_` numbers further of c.
    T* sent(const Pace& pace, int64_t step) const { return sent_.get() + pace.slot(step) * 2 * of_c_; }
    int64_t sent_bytes() const { return 2 * of_c_ * static_cast<int64_t>(sizeof(T)); }

    // A step that a team's members share out by features: first dz of some sites each, then the products of all sites' with some panels each.
    void by_features(const Team& team, const At& at, const Panels& panels) const {
        differentiate(at, at.own.begin, at.own.end);
        team.wait();
        for (int64_t first = at.sites.begin; first < at.sites.end; first += BLOCK)
            send(at, first, std::min(at.sites.end, first + BLOCK), panels);
        team.wait();
        finish(at, at.own.begin, at.own.end);
    }

    // What sites first .. last send to their predecessors, and to an input that is wide, by some panels of weights.
    void send(const At& at, int64_t first, int64_t last, const Panels& panels) const {
        T* const to = at.sent + (first - at.sites.begin) * sends_;
        input_gradient_.send(at.places, at.d, first, last - first, dz(at, first), to, to + of_c_, panels);
    }

    // What is left to do of sites once they have sent all.
    void finish(const At& at, int64_t first, int64_t last) const {
        input_gradient_.send_narrow(at.places, at.d, first, last - first, dz(at, first));
        for (int64_t row = first; row < last && data_.near_h; ++row) to_faces(at, row);
    }

    // dz of sites first .. last.
    void differentiate(const At& at, int64_t first, int64_t last) const {
        if constexpr (FOLDS<S>)
            if (folded_) differentiate(at, first, last, folded_ + (at.d * layer_.sites + first) * depth_);
        if (!folded_) differentiate(at, first, last, at.gates + (first - at.places.begin) * depth_);
    }

    // dz of sites first .. last, whose gates begin at `gates`.
    template <class G>
    void differentiate(const At& at, int64_t first, int64_t last, const G* gates) const {
        for (int64_t row = first; row < last; ++row, gates += depth_) {
            const int64_t ahead = row + AHEAD, beyond = ahead - at.own.end;  // in the next block too, which a product comes before
            if (beyond < at.next.size()) prefetch(at, beyond < 0 ? ahead : at.next.begin + beyond, row, gates);
            site(at, row, gates, dz(at, row));
        }
    }

    // Fetch what the pass has not touched for long: a site's gates, its h, its predecessors' c and what reaches it from outside. `gates` are those
    // of another site, `from`.
    template <class G>
    [[gnu::always_inline]] void prefetch(const At& at, int64_t row, int64_t from, const G* gates) const {
        const S *h = saved_.h(at.d, at.places.raster(row)), *outside = data_.of_output(at.d, at.places.raster(row));
        ::prefetch(gates + (row - from) * depth_, depth_);
        ::prefetch(h, hidden_);
        // Along the last axis it is that of the run's next or last site along the axis before.
        for (int k = 0; k < (N > 1 ? N - 1 : 1); ++k) ::prefetch(saved_.previous_c(at.places, at.d, row, k), hidden_);
        if (outside) ::prefetch(outside, hidden_);
    }

    // dz of one site, and what data to its predecessors' c without passing the gates' pre-activations.
    template <class G>
    void site(const At& at, int64_t row, const G* activated, F* to) const {
        const S *own_h = saved_.h(at.d, at.places.raster(row)), *given = data_.of_output(at.d, at.places.raster(row));
        const S* const outside = given ? given : reinterpret_cast<const S*>(saved_.zeros());
        const T* own_c = saved_.c(at.d, row);
        const T *after_h[N], *after_c[N], *before[N];
#pragma GCC unroll 16
        for (int k = 0; k < N; ++k) {
            const int64_t after = at.places.succ(row, k);
            if (after >= 0) {
                after_h[k] = at.sent_after + (after - at.after) * sends_ + k * hidden_;
                after_c[k] = after_h[k] + of_c_;
            } else {
                const int64_t face = (at.d * layer_.face_rows - 1 - after) * hidden_;
                after_h[k] = far_h_ ? far_h_ + face : saved_.zeros();
                after_c[k] = data_.far_c ? data_.far_c + face : saved_.zeros();
            }
            before[k] = saved_.previous_c(at.places, at.d, row, k);
        }
        T* const sent_c = at.sent + of_c_ + (row - at.sites.begin) * sends_;
        const auto features = [&](int64_t feature, auto lanes) __attribute__((always_inline)) {  // so many, a constant where there is a whole vector
            Vector<T> gates[B], c_prev[N], peephole[2 * N + 1] = {}, dz[B], dc_prev[N], dh = load(outside + feature, lanes), dc{};
            for (int64_t k = N; k < N + layer_.idle; ++k) {
                const int64_t face = (at.d * layer_.face_rows + layer_.starts[k] + at.places.raster(row)) * hidden_ + feature;
                if (far_h_) dh += load(far_h_ + face, lanes);
                if (data_.far_c) dc += load(data_.far_c + face, lanes);
            }
#pragma GCC unroll 16
            for (int k = 0; k < N; ++k) {
                dh += load(after_h[k] + feature, lanes);
                dc += load(after_c[k] + feature, lanes);
                c_prev[k] = load(before[k] + feature, lanes);
            }
#pragma GCC unroll 16
            for (int b = 0; b < B; ++b) gates[b] = load_gates<S>(activated + b * hidden_ + feature, lanes);
            if constexpr (Cell::peephole)
                for (int i = 0; i < 2 * N + 1; ++i)
                    peephole[i] = load(static_cast<const T*>(layer_.weight_peephole) + layer_.peephole_row(at.d, i) * hidden_ + feature, lanes);
            Cell::template backward<T, N>(gates, c_prev, peephole, load(own_c + feature, lanes), load(own_h + feature, lanes), dh, dc, dz, dc_prev);
#pragma GCC unroll 16
            for (int b = 0; b < B; ++b) store(to + b * hidden_ + feature, dz[b], lanes);
#pragma GCC unroll 16
            for (int k = 0; k < N; ++k) store(sent_c + k * hidden_ + feature, dc_prev[k], lanes);
        };
        int64_t feature = 0;
        for (; feature + L <= hidden_; feature += L) features(feature, std::integral_constant<int, L>{});
        if (feature < hidden_) features(feature, static_cast<int>(hidden_ - feature));
    }

    // What leaves through the near faces.
    void to_faces(const At& at, int64_t row) const {
        for (int k = 0; k < N; ++k) {
            const int64_t face = -1 - at.places.pred(row, k);
            if (face < 0) continue;
            for (int64_t feature = 0; feature < hidden_; feature += L) {
                const int lanes = static_cast<int>(std::min<int64_t>(L, hidden_ - feature));
                const int64_t place = (at.d * layer_.face_rows + face) * hidden_ + feature;
                const T* const from = at.sent + (row - at.sites.begin) * sends_ + k * hidden_ + feature;
                store(data_.near_h + place, load(from, lanes), lanes);
                store(data_.near_c + place, load(from + of_c_, lanes), lanes);
            }
        }
    }

    const Layer& layer_;
    const Units& units_;
    const int64_t hidden_, depth_, stride_, window_, sends_, of_c_;
    const Saved<S> saved_;
    const S* const gates_;
    const BFloat16* const folded_;
    const BackwardData<S> data_;
    const Buffer<T> converted_;
    const T* far_h_ = nullptr;  // what reaches the far faces' h, in the type that is computed in
    const WeightGradient<S>& weight_gradient_;
    const InputGradient<S> input_gradient_;
    const std::unique_ptr<const Forward<S, Cell, N>> forward_;
    const Buffer<S> recomputed_gates_;
    const int64_t held_;  // numbers of a window's dz, with a vector that is read beyond, or a tile's rows
    const Buffer<F> dz_;
    const Buffer<T> sent_;
    const Buffer<int32_t> places_;
};
