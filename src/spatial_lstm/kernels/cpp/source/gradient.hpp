// The gradients of weights and input, from dz at windows of sites: each weight's sum over a block of sites is taken in registers before it
// joins the total, so that rounding errors do not grow with the number of sites.
#pragma once

#include <algorithm>
#include <memory>

#include "buffer.hpp"
#include "layer.hpp"
#include "parallel.hpp"
#include "product.hpp"

// Where the gradients go, each may be null: dx (D, M, C), the others in the shapes of the weights.
template <class S>
struct Gradients {
    S *dx, *weight_ih, *weight_hh, *weight_ch, *bias, *peephole;
};

template <class S>
class Gradient {
   public:
    using T = Compute<S>;
    virtual ~Gradient() = default;
    // Thread's share of the sites first .. last of direction d, whose dz (rows of gates) starts at `dz`.
    virtual void add(int64_t d, int64_t first, int64_t last, const T* dz, int64_t thread, int64_t threads) = 0;
    // Once all are added, write the thread's share of the results.
    virtual void finish(int64_t thread, int64_t threads) = 0;
};

// W vectors of gates are summed at once, for as many inputs R as then fit the registers. Threads share out the inputs, not the sites.
template <class S, int W>
class PanelGradient final : public Gradient<S> {
    using T = Compute<S>;
    static constexpr int L = LANES<T>, R = rows_at_once(W), SIDE = REGISTERS == 32 ? 4 : 3;
    static constexpr int64_t BLOCK = 128;

   public:
    PanelGradient(const Layer& layer, const void* h, const void* c, const Gradients<S>& to)
        : layer_(layer),
          rows_(layer.axes * layer.hidden),
          gates_((layer.axes + 3) * layer.hidden),
          depth_((to.weight_ih ? layer.inputs : 0) + (to.weight_hh ? rows_ : 0) + (to.weight_ch ? rows_ : 0) + (to.bias ? 1 : 0)),
          tiles_((depth_ + R - 1) / R),
          width_((gates_ + W * L - 1) / (W * L) * W * L),
          h_(static_cast<const S*>(h)),
          c_(static_cast<const T*>(c)),
          to_(to),
          total_(static_cast<std::size_t>(layer.directions * tiles_ * R * width_)),
          gathered_(static_cast<std::size_t>(layer.threads * BLOCK * tiles_ * R)),
          panel_(static_cast<std::size_t>(layer.threads * BLOCK * width_)),
          columns_(static_cast<std::size_t>(to.dx ? layer.directions * layer.inputs * width_ : 0)),
          peepholes_(static_cast<std::size_t>(to.peephole ? layer.directions * (2 * layer.axes + 1) * layer.hidden : 0)) {
        std::fill_n(total_.get(), layer.directions * tiles_ * R * width_, T{0});
        if (to.peephole) std::fill_n(peepholes_.get(), layer.directions * (2 * layer.axes + 1) * layer.hidden, T{0});
        for (int64_t d = 0; d < layer.directions && to.dx; ++d) transpose_weights(d);
    }

    void add(int64_t d, int64_t first, int64_t last, const T* dz, int64_t thread, int64_t threads) override {
        if (!depth_ && !to_.dx && !to_.peephole) return;
        const int64_t tile_first = tiles_ * thread / threads, tile_last = tiles_ * (thread + 1) / threads;
        for (int64_t block = first; block < last; block += BLOCK) {
            const int64_t count = std::min(BLOCK, last - block);
            const T* rows = dz + (block - first) * gates_;
            pack(d, block, count, rows, thread);
            for (int64_t tile = tile_first; tile < tile_last; ++tile) add_tile(d, tile, count, thread);
            if (to_.dx) inputs(d, block, count, count * thread / threads, count * (thread + 1) / threads, thread);
            if (to_.peephole) peephole(d, block, count, rows, thread, threads);
        }
    }

    void finish(int64_t thread, int64_t threads) override {
        const int64_t first = tiles_ * thread / threads * R, last = std::min(tiles_ * (thread + 1) / threads * R, depth_);
        for (int64_t d = 0; d < layer_.directions; ++d)
            for (int64_t gate = 0; gate < gates_; gate += 16)  // few enough to stay in cache, as results lie the other way round
                for (int64_t k = first; k < last; ++k) write(d, k, gate, std::min(gates_, gate + 16));
        barrier();
        if (to_.peephole && thread == 0)
            for (int64_t k = 0; k < layer_.directions * (2 * layer_.axes + 1) * layer_.hidden; ++k) store_one(to_.peephole + k, peepholes_.get()[k]);
    }

   private:
    T* gathered(int64_t thread) const { return gathered_.get() + thread * BLOCK * tiles_ * R; }
    T* panel(int64_t thread) const { return panel_.get() + thread * BLOCK * width_; }
    T* total(int64_t d, int64_t k) const { return total_.get() + (d * tiles_ * R + k) * width_; }

    template <class From>
    static T* convert(const From* from, int64_t count, T* to) {
        if constexpr (std::is_same_v<From, T>) {
            std::copy_n(from, count, to);
        } else {
            for (int64_t k = 0; k < count; k += L) {
                const int lanes = static_cast<int>(std::min<int64_t>(L, count - k));
                store(to + k, load(from + k, lanes), lanes);
            }
        }
        return to + count;
    }

    // Rows [x, h_0 .., c_0 .., 1], and dz as panels of W vectors, zero beyond what there is.
    void pack(int64_t d, int64_t block, int64_t count, const T* dz, int64_t thread) const {
        T* to = gathered(thread);
        for (int64_t row = block; row < block + count && tiles_; ++row) {
            T* end = to + tiles_ * R;
            if (to_.weight_ih) to = convert(static_cast<const S*>(layer_.x) + layer_.site[d * layer_.sites + row] * layer_.inputs, layer_.inputs, to);
            for (int64_t k = 0; k < layer_.axes && to_.weight_hh; ++k) to = convert(h_ + previous(d, row, k), layer_.hidden, to);
            for (int64_t k = 0; k < layer_.axes && to_.weight_ch; ++k) to = convert(c_ + previous(d, row, k), layer_.hidden, to);
            if (to_.bias) *to++ = T{1};
            std::fill(to, end, T{0});
            to = end;
        }
        for (int64_t row = 0; row < count; ++row)
            for (int64_t column = 0; column < width_; column += L) {
                const int lanes = static_cast<int>(std::clamp<int64_t>(gates_ - column, 0, L));
                const auto v = lanes ? load(dz + row * gates_ + column, lanes) : Vector<T>{};
                store(panel(thread) + (column / (W * L) * count + row) * W * L + column % (W * L), v, L);
            }
    }

    int64_t previous(int64_t d, int64_t row, int64_t k) const {
        return (d * layer_.table_rows + layer_.pred[row * layer_.axes + k]) * layer_.hidden;
    }

    // R rows of the total, over a block of sites.
    void add_tile(int64_t d, int64_t tile, int64_t count, int64_t thread) const {
        for (int64_t column = 0; column < width_; column += W * L) {
            const T *from = gathered(thread) + tile * R, *weights = panel(thread) + column * count;
            Vector<T> sums[R][W] = {};
            for (int64_t row = 0; row < count; ++row, from += tiles_ * R, weights += W * L) {
                Vector<T> v[W];
#pragma GCC unroll 16
                for (int w = 0; w < W; ++w) v[w] = load<T>(weights + w * L);
#pragma GCC unroll 16
                for (int r = 0; r < R; ++r) {
                    const Vector<T> x = fill<T>(from[r]);
#pragma GCC unroll 16
                    for (int w = 0; w < W; ++w) sums[r][w] += x * v[w];
                }
            }
            for (int r = 0; r < R; ++r)
                for (int w = 0; w < W; ++w) {
                    T* to = total(d, tile * R + r) + column + w * L;
                    store(to, load<T>(to) + sums[r][w], L);
                }
        }
    }

    // Row k of the total is a column of the weights that row k of the gathered input belongs to.
    void write(int64_t d, int64_t k, int64_t first, int64_t last) const {
        const T* from = total(d, k);
        const auto column = [&](S* weights, int64_t columns) {
            if (!weights || k < 0) return false;
            if (k < columns) {
                S* to = weights + d * gates_ * columns + k;
                for (int64_t j = first; j < last; ++j) store_one(to + j * columns, from[j]);
            }
            k -= columns;
            return true;
        };
        column(to_.weight_ih, layer_.inputs);
        column(to_.weight_hh, rows_);
        column(to_.weight_ch, rows_);
        column(to_.bias, 1);
    }

    static void store_one(S* to, T value) {
        if constexpr (std::is_same_v<S, T>) *to = value;
        else store(to, fill<T>(value), 1);
    }

    void transpose_weights(int64_t d) const {
        for (int64_t c = 0; c < layer_.inputs; ++c) {
            T* to = columns_.get() + (d * layer_.inputs + c) * width_;
            for (int64_t j = 0; j < gates_; ++j)
                convert(static_cast<const S*>(layer_.weight_ih) + (d * gates_ + j) * layer_.inputs + c, 1, to + j);
            std::fill(to + gates_, to + width_, T{0});
        }
    }

    // dx of some sites of a block: weight_ih^T dz, each a sum over vectors of gates.
    void inputs(int64_t d, int64_t block, int64_t count, int64_t first, int64_t last, int64_t thread) const {
        for (int64_t row = first; row < last; row += SIDE)
            for (int64_t c = 0; c < layer_.inputs; c += SIDE) {
                const T *dz[SIDE], *weights[SIDE];
                for (int i = 0; i < SIDE; ++i) {  // beyond the last, the last again
                    dz[i] = panel(thread) + std::min(row + i, last - 1) * W * L;
                    weights[i] = columns_.get() + (d * layer_.inputs + std::min(c + i, layer_.inputs - 1)) * width_;
                }
                Vector<T> sums[SIDE][SIDE] = {};
                for (int64_t column = 0; column < width_; column += L) {
                    const int64_t place = column / (W * L) * count * W * L + column % (W * L);
                    Vector<T> w[SIDE];
#pragma GCC unroll 16
                    for (int j = 0; j < SIDE; ++j) w[j] = load<T>(weights[j] + column);
#pragma GCC unroll 16
                    for (int i = 0; i < SIDE; ++i) {
                        const auto v = load<T>(dz[i] + place);
#pragma GCC unroll 16
                        for (int j = 0; j < SIDE; ++j) sums[i][j] += v * w[j];
                    }
                }
                for (int i = 0; i < std::min<int64_t>(SIDE, last - row); ++i)
                    for (int j = 0; j < std::min<int64_t>(SIDE, layer_.inputs - c); ++j)
                        store_one(to_.dx + (d * layer_.sites + block + row + i) * layer_.inputs + c + j, sum(sums[i][j]));
            }
    }

    static T sum(Vector<T> v) {
        T lanes[L];
        store(lanes, v, L);
        for (int half = L / 2; half > 0; half /= 2)
            for (int i = 0; i < half; ++i) lanes[i] += lanes[i + half];
        return lanes[0];
    }

    // Of the diagonal weights: i of every axis, f of every axis, o. Threads share out the features.
    void peephole(int64_t d, int64_t block, int64_t count, const T* dz, int64_t thread, int64_t threads) const {
        const int64_t n = layer_.axes, hidden = layer_.hidden, vectors = (hidden + L - 1) / L;
        T* to = peepholes_.get() + d * (2 * n + 1) * hidden;
        for (int64_t feature = vectors * thread / threads * L; feature < std::min(vectors * (thread + 1) / threads * L, hidden); feature += L) {
            const int lanes = static_cast<int>(std::min<int64_t>(L, hidden - feature));
            Vector<T> sums[2 * MOST_AXES + 1] = {};
            for (int64_t row = 0; row < count; ++row) {
                const T* from = dz + row * gates_ + feature;
                for (int64_t k = 0; k < n; ++k) {
                    const auto c_prev = load(c_ + previous(d, block + row, k) + feature, lanes);
                    sums[k] += load(from, lanes) * c_prev;
                    sums[n + k] += load(from + (1 + k) * hidden, lanes) * c_prev;
                }
                sums[2 * n] += load(from + (n + 2) * hidden, lanes) * load(c_ + (d * layer_.table_rows + block + row) * hidden + feature, lanes);
            }
            for (int64_t i = 0; i < 2 * n + 1; ++i) store(to + i * hidden + feature, load(to + i * hidden + feature, lanes) + sums[i], lanes);
        }
    }

    const Layer& layer_;
    const int64_t rows_, gates_, depth_, tiles_, width_;
    const S* const h_;
    const T* const c_;
    const Gradients<S> to_;
    const Buffer<T> total_, gathered_, panel_, columns_, peepholes_;
};

// Panels of the width that wastes fewest lanes beyond the last gate, the first of equals.
template <class S>
std::unique_ptr<Gradient<S>> make_gradient(const Layer& layer, const void* h, const void* c, const Gradients<S>& to) {
    constexpr int FIRST = REGISTERS == 32 ? 4 : 2;
    const int64_t lanes = LANES<Compute<S>>, vectors = ((layer.axes + 3) * layer.hidden + lanes - 1) / lanes;
    const auto padded = [&](int width) { return (vectors + width - 1) / width * width; };
    int best = FIRST;
    for (int width = FIRST; width <= FIRST + 2; ++width)
        if (padded(width) < padded(best)) best = width;
    if (best == FIRST) return std::make_unique<PanelGradient<S, FIRST>>(layer, h, c, to);
    if (best == FIRST + 1) return std::make_unique<PanelGradient<S, FIRST + 1>>(layer, h, c, to);
    return std::make_unique<PanelGradient<S, FIRST + 2>>(layer, h, c, to);
}
