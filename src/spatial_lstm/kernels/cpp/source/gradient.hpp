// The gradients of weights and input, from dz at every site: blocks of sites are gathered once, and each weight's sum over a block is taken
// in registers before it joins the total, so that rounding errors do not grow with the number of sites.
#pragma once

#include <algorithm>

#include "buffer.hpp"
#include "layer.hpp"
#include "parallel.hpp"
#include "product.hpp"

// W vectors of gates are summed at once, for as many inputs as then fit the registers.
template <class S, int W>
class Gradient {
    using T = Compute<S>;
    static constexpr int L = LANES<T>, R = rows_at_once(W), SIDE = REGISTERS == 32 ? 4 : 3;
    static constexpr int64_t BLOCK = 128;

   public:
    // Each result may be null: dx (D, M, C), and gradients in the shapes of the weights.
    Gradient(const Layer& layer, const void* h, const void* c, const void* dz, void* dx, void* weight_ih, void* weight_hh, void* weight_ch,
             void* bias)
        : layer_(layer),
          rows_(layer.axes * layer.hidden),
          gates_((layer.axes + 3) * layer.hidden),
          depth_((weight_ih ? layer.inputs : 0) + (weight_hh ? rows_ : 0) + (weight_ch ? rows_ : 0) + (bias ? 1 : 0)),
          tiles_((depth_ + R - 1) / R),
          width_((gates_ + W * L - 1) / (W * L) * W * L),
          h_(static_cast<const S*>(h)),
          c_(static_cast<const T*>(c)),
          dz_(static_cast<const S*>(dz)),
          dx_(static_cast<S*>(dx)),
          weight_ih_(static_cast<S*>(weight_ih)),
          weight_hh_(static_cast<S*>(weight_hh)),
          weight_ch_(static_cast<S*>(weight_ch)),
          bias_(static_cast<S*>(bias)),
          total_(static_cast<std::size_t>(tiles_ * R * width_)),
          gathered_(static_cast<std::size_t>(layer.threads * BLOCK * tiles_ * R)),
          panel_(static_cast<std::size_t>(layer.threads * BLOCK * width_)),
          columns_(static_cast<std::size_t>(dx ? layer.inputs * width_ : 0)) {}

    void run() {
        together(layer_.threads, [this](int64_t thread, int64_t threads) {
            const int64_t first = tiles_ * thread / threads, last = tiles_ * (thread + 1) / threads;
            for (int64_t d = 0; d < layer_.directions; ++d) {
                std::fill_n(total_.get() + first * R * width_, (last - first) * R * width_, T{0});
                if (dx_) {
                    barrier();
                    if (thread == 0) transpose_weights(d);
                    barrier();
                }
                for (int64_t block = 0; block < layer_.sites; block += BLOCK) {
                    const int64_t count = std::min(BLOCK, layer_.sites - block);
                    pack(d, block, count, thread);
                    for (int64_t tile = first; tile < last; ++tile) add(tile, count, thread);
                    if (dx_) inputs(d, block, count, count * thread / threads, count * (thread + 1) / threads, thread);
                }
                for (int64_t k = first * R; k < std::min(last * R, depth_); ++k) write(d, k);
            }
        });
    }

   private:
    T* gathered(int64_t thread) const { return gathered_.get() + thread * BLOCK * tiles_ * R; }
    T* panel(int64_t thread) const { return panel_.get() + thread * BLOCK * width_; }

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
    void pack(int64_t d, int64_t block, int64_t count, int64_t thread) const {
        T* to = gathered(thread);
        for (int64_t row = block; row < block + count; ++row) {
            T* end = to + tiles_ * R;
            if (weight_ih_) to = convert(static_cast<const S*>(layer_.x) + layer_.site[d * layer_.sites + row] * layer_.inputs, layer_.inputs, to);
            for (int64_t k = 0; k < layer_.axes && weight_hh_; ++k) to = convert(h_ + previous(d, row, k), layer_.hidden, to);
            for (int64_t k = 0; k < layer_.axes && weight_ch_; ++k) to = convert(c_ + previous(d, row, k), layer_.hidden, to);
            if (bias_) *to++ = T{1};
            std::fill(to, end, T{0});
            to = end;
        }
        for (int64_t row = 0; row < count; ++row) {
            const S* from = dz_ + (d * layer_.sites + block + row) * gates_;
            for (int64_t column = 0; column < width_; column += L) {
                const int lanes = static_cast<int>(std::clamp<int64_t>(gates_ - column, 0, L));
                const auto v = lanes ? load(from + column, lanes) : Vector<T>{};
                store(panel(thread) + (column / (W * L) * count + row) * W * L + column % (W * L), v, L);
            }
        }
    }

    int64_t previous(int64_t d, int64_t row, int64_t k) const {
        return (d * layer_.table_rows + layer_.pred[row * layer_.axes + k]) * layer_.hidden;
    }

    // R rows of the total, over a block of sites.
    void add(int64_t tile, int64_t count, int64_t thread) const {
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
                    T* to = total_.get() + (tile * R + r) * width_ + column + w * L;
                    store(to, load<T>(to) + sums[r][w], L);
                }
        }
    }

    // Row k of the total is a column of the weights that row k of the gathered input belongs to.
    void write(int64_t d, int64_t k) const {
        const T* from = total_.get() + k * width_;
        const auto column = [&](S* weights, int64_t columns) {
            if (!weights || k < 0) return false;
            if (k < columns) {
                S* to = weights + d * gates_ * columns + k;
                for (int64_t j = 0; j < gates_; ++j) store_one(to + j * columns, from[j]);
            }
            k -= columns;
            return true;
        };
        column(weight_ih_, layer_.inputs);
        column(weight_hh_, rows_);
        column(weight_ch_, rows_);
        column(bias_, 1);
    }

    static void store_one(S* to, T value) {
        if constexpr (std::is_same_v<S, T>) *to = value;
        else store(to, fill<T>(value), 1);
    }

    void transpose_weights(int64_t d) const {
        for (int64_t c = 0; c < layer_.inputs; ++c) {
            T* to = columns_.get() + c * width_;
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
                    weights[i] = columns_.get() + std::min(c + i, layer_.inputs - 1) * width_;
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
                        store_one(dx_ + (d * layer_.sites + block + row + i) * layer_.inputs + c + j, sum(sums[i][j]));
            }
    }

    static T sum(Vector<T> v) {
        T lanes[L];
        store(lanes, v, L);
        for (int half = L / 2; half > 0; half /= 2)
            for (int i = 0; i < half; ++i) lanes[i] += lanes[i + half];
        return lanes[0];
    }

    const Layer& layer_;
    const int64_t rows_, gates_, depth_, tiles_, width_;
    const S* const h_;
    const T* const c_;
    const S* const dz_;
    S *const dx_, *const weight_ih_, *const weight_hh_, *const weight_ch_, *const bias_;
    const Buffer<T> total_, gathered_, panel_, columns_;
};
