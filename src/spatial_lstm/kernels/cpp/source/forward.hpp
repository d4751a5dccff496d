// The wavefronts forward: per site one product on [x, h_0, .., h_{n-1}] with the sums in registers, then the gates, fused.
#pragma once

#include <algorithm>

#include "buffer.hpp"
#include "cells.hpp"
#include "layer.hpp"
#include "memory.hpp"
#include "parallel.hpp"
#include "product.hpp"

template <class S, class Cell, int N>
class Forward {
    using T = Compute<S>;
    static constexpr int B = N + 3, L = LANES<T>, AT_ONCE = rows_at_once(B);
    static constexpr bool CONVERTS = !std::is_same_v<S, T>;

   public:
    static constexpr int64_t BLOCK = 240;  // rows whose input stays in cache while the panels of weights pass by

    Forward(const Layer& layer, void* h, void* c, void* gates)
        : layer_(layer),
          hidden_(layer.hidden),
          panels_((hidden_ + L - 1) / L),
          depth_(layer.inputs + N * hidden_ * (layer.weight_ch ? 2 : 1)),
          h_(static_cast<S*>(h)),
          c_(static_cast<T*>(c)),
          gates_(static_cast<S*>(gates)),
          weights_(static_cast<std::size_t>(layer.directions * panels_ * (depth_ + 1) * B * L)),
          scratch_(CONVERTS ? static_cast<std::size_t>(layer.threads * BLOCK * depth_) : 0) {}

    void run() {
        const auto states = static_cast<std::size_t>(layer_.directions * layer_.table_rows * hidden_);
        expect_writes(h_, states * sizeof(S));
        expect_writes(c_, states * sizeof(T));
        expect_writes(gates_, static_cast<std::size_t>(layer_.directions * layer_.sites * B * hidden_) * sizeof(S));
        together(layer_.threads, [this](int64_t thread, int64_t threads) {
            prepare(thread, threads);
            for (int64_t step = 0; step < layer_.steps; ++step) {
                barrier();
                const int64_t start = layer_.offsets[step];
                share(layer_.directions, layer_.offsets[step + 1] - start, BLOCK, thread, threads,
                      [&](int64_t d, int64_t first, int64_t last) { block<false>(d, start + first, start + last, gates_, thread); });
            }
        });
    }

    // The thread's share of the packing, before anything else.
    void prepare(int64_t thread, int64_t threads) const {
        for (int64_t p = thread; p < layer_.directions * panels_; p += threads) pack(p / panels_, p % panels_);
    }

    // Of at most BLOCK sites whose predecessors are known, write the gates alone, from `to` on.
    void gates_again(int64_t d, int64_t first, int64_t last, S* to, int64_t thread) const { block<true>(d, first, last, to, thread); }

   private:
    // A panel holds L features of every gate block: a row of biases, then the weights of one input per row.
    T* panel(int64_t d, int64_t p) const { return weights_.get() + (d * panels_ + p) * (depth_ + 1) * B * L; }

    void pack(int64_t d, int64_t p) const {
        T* to = panel(d, p);
        const int64_t count = std::min<int64_t>(L, hidden_ - p * L);
        std::fill_n(to, (depth_ + 1) * B * L, T{0});
        if (layer_.bias) transpose(layer_.bias, 1, d, p, count, to);
        to += B * L;
        transpose(layer_.weight_ih, layer_.inputs, d, p, count, to);
        to += layer_.inputs * B * L;
        transpose(layer_.weight_hh, N * hidden_, d, p, count, to);
        to += N * hidden_ * B * L;
        if (layer_.weight_ch) transpose(layer_.weight_ch, N * hidden_, d, p, count, to);
    }

    // A panel's rows of a matrix (D, B h, columns) to columns, a few at a time so that those stay in cache.
    void transpose(const void* matrix, int64_t columns, int64_t d, int64_t p, int64_t count, T* to) const {
        for (int64_t first = 0; first < columns; first += 16)
            for (int64_t b = 0; b < B; ++b)
                for (int64_t l = 0; l < count; ++l) {
                    const S* from = static_cast<const S*>(matrix) + ((d * B + b) * hidden_ + p * L + l) * columns;
                    for (int64_t k = first; k < std::min(columns, first + 16); ++k) to[k * B * L + b * L + l] = number(from[k]);
                }
    }

    static T number(S value) {
        if constexpr (CONVERTS) return load(&value, 1)[0];
        else return value;
    }

    template <bool GatesAlone>
    void block(int64_t d, int64_t first, int64_t last, S* to, int64_t thread) const {
        T* converted = CONVERTS ? scratch_.get() + thread * BLOCK * depth_ : nullptr;
        if constexpr (CONVERTS)
            for (int64_t row = first; row < last; ++row) convert(d, row, converted + (row - first) * depth_);
        for (int64_t p = 0; p < panels_; ++p)
            for (int64_t row = first; row < last; row += AT_ONCE) {
                const int count = static_cast<int>(std::min<int64_t>(AT_ONCE, last - row));
                Rows<T> rows;
                for (int r = 0; r < count; ++r) {
                    if constexpr (CONVERTS) {
                        rows.segments = 1;
                        rows.lengths[0] = static_cast<int>(depth_);
                        rows.at[0][r] = converted + (row + r - first) * depth_;
                    } else {
                        gather(d, row + r, r, rows);
                    }
                }
                const int64_t place = GatesAlone ? row - first : d * layer_.sites + row;
                gates<GatesAlone>(d, p, row, count, rows, to ? to + place * B * hidden_ : nullptr);
            }
    }

    // Where the input of a site lies.
    void gather(int64_t d, int64_t row, int r, Rows<T>& rows) const {
        int s = 0;
        const auto segment = [&](const void* table, int64_t index, int64_t length) {
            rows.lengths[s] = static_cast<int>(length);
            rows.at[s++][r] = static_cast<const T*>(table) + index * length;
        };
        segment(layer_.x, layer_.site[d * layer_.sites + row], layer_.inputs);
        for (int k = 0; k < N; ++k) segment(h_, table_row(d, layer_.pred[row * N + k]), hidden_);
        for (int k = 0; k < N && layer_.weight_ch; ++k) segment(c_, table_row(d, layer_.pred[row * N + k]), hidden_);
        rows.segments = s;
    }

    // The input of a site, converted to T.
    void convert(int64_t d, int64_t row, T* to) const {
        const auto segment = [&](const auto* table, int64_t index, int64_t length) {
            for (int64_t k = 0; k < length; k += L) {
                const int count = static_cast<int>(std::min<int64_t>(L, length - k));
                store(to + k, load(table + index * length + k, count), count);
            }
            to += length;
        };
        segment(static_cast<const S*>(layer_.x), layer_.site[d * layer_.sites + row], layer_.inputs);
        for (int k = 0; k < N; ++k) segment(h_, table_row(d, layer_.pred[row * N + k]), hidden_);
        for (int k = 0; k < N && layer_.weight_ch; ++k) segment(c_, table_row(d, layer_.pred[row * N + k]), hidden_);
    }

    int64_t table_row(int64_t d, int64_t row) const { return d * layer_.table_rows + row; }

    // L features of a few sites: product, gates, c and h.
    template <bool GatesAlone>
    void gates(int64_t d, int64_t p, int64_t first, int count, const Rows<T>& rows, S* to) const {
        const T* weights = panel(d, p);
        Vector<T> z[AT_ONCE * B];
        for (int r = 0; r < count; ++r)
            for (int b = 0; b < B; ++b) z[r * B + b] = load<T>(weights + b * L);
        PRODUCTS<T, B>[static_cast<std::size_t>(count - 1)](rows, weights + B * L, z);

        const int64_t feature = p * L;
        const int lanes = static_cast<int>(std::min<int64_t>(L, hidden_ - feature));
        Vector<T> peephole[2 * N + 1];
        if constexpr (Cell::peephole)
            for (int i = 0; i < 2 * N + 1; ++i)
                peephole[i] = load(static_cast<const T*>(layer_.peephole) + (d * (2 * N + 1) + i) * hidden_ + feature, lanes);
        for (int r = 0; r < count; ++r) {
            const int64_t row = first + r;
            Vector<T> c_prev[N], c, h;
            for (int k = 0; k < N; ++k) c_prev[k] = load(c_ + table_row(d, layer_.pred[row * N + k]) * hidden_ + feature, lanes);
            Cell::template forward<T, N>(z + r * B, c_prev, peephole, c, h);
            if constexpr (!GatesAlone) {
                const int64_t place = table_row(d, row) * hidden_ + feature;
                store(c_ + place, c, lanes);
                store(h_ + place, h, lanes);
            }
            if (to)
                for (int b = 0; b < B; ++b) store(to + (r * B + b) * hidden_ + feature, z[r * B + b], lanes);
        }
    }

    const Layer& layer_;
    const int64_t hidden_, panels_, depth_;
    S* const h_;
    T* const c_;
    S* const gates_;
    const Buffer<T> weights_, scratch_;
};
