// The wavefronts in reverse: what the successors send is gathered, then the gates' derivatives dz, then one product for the predecessors.
// dz is kept for a window of steps alone, whose share of the weights' gradients is then taken; so are the gates where they were not saved.
#pragma once

#include <algorithm>

#include "buffer.hpp"
#include "cells.hpp"
#include "forward.hpp"
#include "gradient.hpp"
#include "layer.hpp"
#include "parallel.hpp"
#include "product.hpp"

template <class S, class Cell, int N>
class Backward {
    using T = Compute<S>;
    static constexpr int B = N + 3, L = LANES<T>;
    static constexpr int64_t BLOCK = 120, WINDOW = 1024;  // sites

   public:
    Backward(const Layer& layer, const void* h, const void* c, const void* gates, const void* dh, const void* dc, void* dh0, void* dc0, Gradient<S>& gradient)
        : layer_(layer),
          hidden_(layer.hidden),
          depth_(B * hidden_),
          columns_(N * hidden_ * (layer.weight_ch ? 2 : 1)),
          width_(panel_width(columns_)),
          panels_((columns_ + width_ * L - 1) / (width_ * L)),
          widest_(most_sites(layer, 1)),
          window_(most_sites(layer, WINDOW)),
          h_(static_cast<const S*>(h)),
          c_(static_cast<const T*>(c)),
          gates_(static_cast<const S*>(gates)),
          dh_(static_cast<const S*>(dh)),
          dc_(static_cast<const T*>(dc)),
          dh0_(static_cast<S*>(dh0)),
          dc0_(static_cast<T*>(dc0)),
          gradient_(gradient),
          again_(gates ? nullptr : std::make_unique<Forward<S, Cell, N>>(layer, const_cast<void*>(h), const_cast<void*>(c), nullptr)),
          window_gates_(gates ? 0 : static_cast<std::size_t>(layer.directions * window_ * depth_)),
          weights_(static_cast<std::size_t>(layer.directions * panels_ * depth_ * width_ * L)),
          dz_(static_cast<std::size_t>(layer.directions * window_ * depth_)),
          sent_(static_cast<std::size_t>(4 * layer.directions * widest_ * N * hidden_)) {}

    void run() {
        together(layer_.threads, [this](int64_t thread, int64_t threads) {
            for (int64_t p = thread; p < layer_.directions * panels_; p += threads) pack(p / panels_, p % panels_);
            if (again_) {
                again_->prepare(thread, threads);
                barrier();
            }
            for (int64_t end = layer_.steps, begin; end > 0; end = begin) {
                begin = window_begin(layer_, end, WINDOW);
                const int64_t base = layer_.offsets[begin];
                if (again_)
                    share(layer_.directions, layer_.offsets[end] - base, Forward<S, Cell, N>::BLOCK, thread, threads,
                          [&](int64_t d, int64_t first, int64_t last) {
                              again_->gates_again(d, base + first, base + last, window_gates_.get() + (d * window_ + first) * depth_, thread);
                          });
                for (int64_t step = end; step-- > begin;) {
                    barrier();
                    const int64_t start = layer_.offsets[step];
                    share(layer_.directions, layer_.offsets[step + 1] - start, BLOCK, thread, threads,
                          [&](int64_t d, int64_t first, int64_t last) { block(d, step, base, start + first, start + last); });
                }
                barrier();
                for (int64_t d = 0; d < layer_.directions; ++d) gradient_.add(d, base, layer_.offsets[end], dz(d, base, base), thread, threads);
            }
            gradient_.finish(thread, threads);
        });
    }

   private:
    // Vectors of columns that a panel holds: few enough for the registers, and no more panels than needed.
    static int64_t panel_width(int64_t columns) {
        const int64_t vectors = (columns + L - 1) / L, panels = (vectors + 3) / 4;
        return (vectors + panels - 1) / panels;
    }

    // The first of the steps before `end` that together have no more sites than `most`; one at least.
    static int64_t window_begin(const Layer& layer, int64_t end, int64_t most) {
        int64_t begin = end - 1;
        while (begin > 0 && layer.offsets[end] - layer.offsets[begin - 1] <= most) --begin;
        return begin;
    }

    // Sites of the largest window of at most so many, or of the largest step.
    static int64_t most_sites(const Layer& layer, int64_t most) {
        int64_t found = 0;
        for (int64_t end = layer.steps; end > 0;) {
            const int64_t begin = window_begin(layer, end, most);
            found = std::max(found, layer.offsets[end] - layer.offsets[begin]);
            end = begin;
        }
        return found;
    }

    T* panel(int64_t d, int64_t p) const { return weights_.get() + (d * panels_ + p) * depth_ * width_ * L; }

    // A panel holds `width_` vectors of columns of [weight_hh, weight_ch], one gate per row.
    void pack(int64_t d, int64_t p) const {
        T* to = panel(d, p);
        const int64_t split = N * hidden_, most = width_ * L, first = p * most, last = std::min(columns_, first + most);
        for (int64_t row = d * depth_; row < (d + 1) * depth_; ++row, to += most) {
            for (int64_t j = first; j < last; ++j)
                to[j - first] = j < split ? number(layer_.weight_hh, row * split + j) : number(layer_.weight_ch, row * split + j - split);
            std::fill_n(to + (last - first), most - (last - first), T{0});
        }
    }

    // dz of a site in a window that begins with site `base`.
    T* dz(int64_t d, int64_t base, int64_t row) const { return dz_.get() + (d * window_ + row - base) * depth_; }

    static T number(const void* matrix, int64_t place) {
        const S* from = static_cast<const S*>(matrix) + place;
        if constexpr (std::is_same_v<S, T>) return *from;
        else return load(from, 1)[0];
    }

    // What step `step` sends to its predecessors, (rows, n h), of h (0) or c (1); the steps take turns with two buffers.
    T* sent(int64_t d, int64_t step, int64_t row, int which) const {
        const int64_t table = ((step & 1) * 2 + which) * layer_.directions + d;
        return sent_.get() + (table * widest_ + row - layer_.offsets[step]) * N * hidden_;
    }

    void block(int64_t d, int64_t step, int64_t base, int64_t first, int64_t last) const {
        const S* gates = again_ ? window_gates_.get() + (d * window_ + first - base) * depth_ : gates_ + (d * layer_.sites + first) * depth_;
        for (int64_t row = first; row < last; ++row) site(d, step, row, gates + (row - first) * depth_, dz(d, base, row));
        for (int64_t p = 0; p < panels_; ++p) {
            if (width_ == 1) multiply<1>(d, step, p, base, first, last);
            if (width_ == 2) multiply<2>(d, step, p, base, first, last);
            if (width_ == 3) multiply<3>(d, step, p, base, first, last);
            if (width_ == 4) multiply<4>(d, step, p, base, first, last);
        }
        for (int64_t row = first; row < last; ++row) to_faces(d, step, row);
    }

    // dz of one site, and what flows to its predecessors' c without passing the gates' pre-activations.
    void site(int64_t d, int64_t step, int64_t row, const S* activated, T* to) const {
        const int64_t packed = d * layer_.sites + row, in_table = d * layer_.table_rows + row;
        for (int64_t feature = 0; feature < hidden_; feature += L) {
            const int lanes = static_cast<int>(std::min<int64_t>(L, hidden_ - feature));
            auto dh = load(dh_ + packed * hidden_ + feature, lanes);
            auto dc = dc_ ? load(dc_ + packed * hidden_ + feature, lanes) : Vector<T>{};
            Vector<T> gates[B], c_prev[N], peephole[2 * N + 1], dz[B], dc_prev[N];
            for (int k = 0; k < N; ++k) {
                const int64_t after = layer_.succ[row * N + k];
                if (after >= 0) {
                    dh += load(sent(d, step + 1, after, 0) + k * hidden_ + feature, lanes);
                    dc += load(sent(d, step + 1, after, 1) + k * hidden_ + feature, lanes);
                }
                c_prev[k] = load(c_ + (d * layer_.table_rows + layer_.pred[row * N + k]) * hidden_ + feature, lanes);
            }
            for (int b = 0; b < B; ++b) gates[b] = load(activated + b * hidden_ + feature, lanes);
            if constexpr (Cell::peephole)
                for (int i = 0; i < 2 * N + 1; ++i)
                    peephole[i] = load(static_cast<const T*>(layer_.peephole) + (d * (2 * N + 1) + i) * hidden_ + feature, lanes);
            Cell::template backward<T, N>(gates, c_prev, peephole, load(c_ + in_table * hidden_ + feature, lanes),
                                          load(h_ + in_table * hidden_ + feature, lanes), dh, dc, dz, dc_prev);
            for (int b = 0; b < B; ++b) store(to + b * hidden_ + feature, dz[b], lanes);
            for (int k = 0; k < N; ++k) store(sent(d, step, row, 1) + k * hidden_ + feature, dc_prev[k], lanes);
        }
    }

    // dz @ [weight_hh, weight_ch]: the columns of weight_hh go to the predecessors' h, those of weight_ch to their c.
    template <int W>
    void multiply(int64_t d, int64_t step, int64_t p, int64_t base, int64_t first, int64_t last) const {
        constexpr int AT_ONCE = rows_at_once(W);
        const int64_t split = N * hidden_;
        for (int64_t row = first; row < last; row += AT_ONCE) {
            const int count = static_cast<int>(std::min<int64_t>(AT_ONCE, last - row));
            Rows<T> rows;
            rows.segments = 1;
            rows.lengths[0] = static_cast<int>(depth_);
            for (int r = 0; r < count; ++r) rows.at[0][r] = dz(d, base, row + r);
            Vector<T> sums[AT_ONCE * W] = {};
            PRODUCTS<T, W>[static_cast<std::size_t>(count - 1)](rows, panel(d, p), sums);
            for (int r = 0; r < count; ++r) {
                T *to_h = sent(d, step, row + r, 0), *to_c = sent(d, step, row + r, 1);
                for (int w = 0; w < W; ++w) {
                    const int64_t column = (p * W + w) * L;
                    if (column + L <= split) {
                        store(to_h + column, sums[r * W + w], L);
                    } else {
                        for (int64_t j = column; j < std::min(columns_, column + L); ++j) {
                            const T value = sums[r * W + w][static_cast<int>(j - column)];
                            if (j < split) to_h[j] = value;
                            else to_c[j - split] += value;
                        }
                    }
                }
            }
        }
    }

    // What leaves through the near faces.
    void to_faces(int64_t d, int64_t step, int64_t row) const {
        const int64_t edges = layer_.table_rows - layer_.sites;
        for (int k = 0; k < N; ++k) {
            const int64_t entry = layer_.pred[row * N + k] - layer_.sites;
            if (entry < 0) continue;
            for (int64_t feature = 0; feature < hidden_; feature += L) {
                const int lanes = static_cast<int>(std::min<int64_t>(L, hidden_ - feature));
                const int64_t place = (d * edges + entry) * hidden_ + feature;
                store(dh0_ + place, load(sent(d, step, row, 0) + k * hidden_ + feature, lanes), lanes);
                store(dc0_ + place, load(sent(d, step, row, 1) + k * hidden_ + feature, lanes), lanes);
            }
        }
    }

    const Layer& layer_;
    const int64_t hidden_, depth_, columns_, width_, panels_, widest_, window_;
    const S* const h_;
    const T* const c_;
    const S* const gates_;
    const S* const dh_;
    const T* const dc_;
    S* const dh0_;
    T* const dc0_;
    Gradient<S>& gradient_;
    const std::unique_ptr<const Forward<S, Cell, N>> again_;
    const Buffer<S> window_gates_;
    const Buffer<T> weights_, dz_, sent_;
};
