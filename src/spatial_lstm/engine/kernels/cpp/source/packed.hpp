// The layer's weights as the product of the forward pass reads them.
#pragma once

#include <algorithm>
#include <array>

#include "buffer.hpp"
#include "layer.hpp"
#include "product.hpp"
#include "tiles.hpp"
#include "transpose.hpp"
#include "units.hpp"

// Panels of L features of all B gate blocks, a vector each. Fewer features than that are left to the last panel: its blocks share vectors where
// that makes them fewer. Of a panel's rows each holds the weights of one input, or pair of inputs, of [x, h_0, .., c_0, ..].
template <class S, int B>
class PackedWeights {
    using T = Compute<S>;
    using F = Factor<S>;
    static constexpr int L = LANES<T>;

   public:
    explicit PackedWeights(const Layer& layer)
        : layer_(layer),
          hidden_(layer.hidden),
          states_(layer.axes * hidden_),
          panels_((hidden_ + L - 1) / L),
          depth_(round_up(layer.inputs + states_ * (layer.weight_ch ? 2 : 1), FILLED_TO<F>)),
          columns_(((panels_ - 1) * B + vectors(panels_ - 1)) * L),
          bytes_(columns_ * depth_ * static_cast<int64_t>(sizeof(F))),
          biases_(layer.directions * columns_),
          weights_(layer.directions * columns_ * depth_) {}

    int64_t panels() const { return panels_; }
    int64_t depth() const { return depth_; }  // rows of a panel, or factors of those

    // Pack, before anything else.
    void prepare(const Units& units) const {
        units.share(layer_.directions * panels_, depth_ * B * L, [this](int64_t first, int64_t last) {
            for (int64_t p = first; p < last; ++p) pack(p / panels_, p % panels_);
        });
    }

    // How many sites to multiply at once.
    int at_once(int64_t p) const { return STRIPS > 1 ? MOST_ROWS : rows_at_once(vectors(p)); }

    int64_t bytes() const { return bytes_; }  // of a direction

    // What to fetch while the panel whose turn it is is multiplied with so many sites: the next.
    Ahead<F> ahead(int64_t d, const Panels& panels, int64_t turn, int64_t sites) const {
        if (turn + 1 == panels.count() || !Ahead<F>::helps(bytes_, sites)) return {};
        const int64_t p = panels.at(turn);
        int64_t products = 0;
        each_strip(p, [&](const Strip& strip) { products += (sites + rows_at_once(strip.width) - 1) / rows_at_once(strip.width); });
        return Ahead<F>::spread(panel(d, panels.at(turn + 1)), depth_ * B * L, products * depth_ / PAIR<F>);
    }

    // The pre-activations of `count` sites at a panel's features, gates `between` numbers from one another, and sites `next`. A vector's worth is
    // written, and what is too much of it overwritten if panels go from the last to the first, and sites from the first to the last.
    void multiply(int64_t d, int64_t p, int count, const Rows<F>& rows, T* to, int64_t next, int64_t between, Ahead<F>& ahead) const {
        const int64_t width = vectors(p), each = features(p);
        to += p * L;
        if (width == B) return multiply(d, p, count, rows, {to, next, between}, ahead);
        T sums[(MOST_ROWS * B + 1) * L];
        store(sums + count * width * L, Vector<T>{}, L);  // read, in lanes that do not matter
        multiply(d, p, count, rows, {sums, width * L, L}, ahead);
        spread_out(sums, count, width, each, to, next, between);
    }

    // The same of any number of sites on the CPU's matrix unit, with the panel whose turn it is, while the next is fetched: their rows lie one after the
    // other.
    void multiply_tiles(int64_t d, const Panels& panels, int64_t turn, int64_t count, const F* rows, T* to, int64_t next, int64_t between) const {
        const int64_t p = panels.at(turn), width = vectors(p);
        to += p * L;
        Ahead<F> ahead;
        if (turn + 1 < panels.count() && Ahead<F>::helps(bytes_, count)) ahead = ahead_of_tiles(panel(d, panels.at(turn + 1)), depth_ * B * L, count, depth_, width);
        if (width == B) return tile_product({rows, depth_, count, depth_}, panel(d, p), width, bias(d, p), {to, next, between}, ahead);
        T sums[(TILE_ROWS * B + 1) * L];
        store(sums + TILE_ROWS * width * L, Vector<T>{}, L);  // read, in lanes that do not matter
        for (int64_t first = 0; first < count; first += TILE_ROWS) {
            const int64_t some = std::min<int64_t>(TILE_ROWS, count - first);
            tile_product({rows + first * depth_, depth_, some, depth_}, panel(d, p), width, bias(d, p), {sums, width * L, L}, ahead);
            spread_out(sums, some, width, features(p), to + first * next, next, between);
        }
    }

   private:
    // A panel's vectors go to the products by strips of at most so many.
    static constexpr int WIDEST = REGISTERS == 32 ? B : std::min(B, FEW_VECTORS), STRIPS = (B + WIDEST - 1) / WIDEST;
    // STARTS[width - 1]: where the strips of so many vectors begin, and where the last ends, over and over.
    static constexpr auto STARTS = [] {
        std::array<std::array<int, STRIPS + 1>, B> starts{};
        for (int width = 1; width <= B; ++width)
            for (int s = 0, strips = (width + WIDEST - 1) / WIDEST; s <= STRIPS; ++s) starts[width - 1][s] = width * std::min(s, strips) / strips;
        return starts;
    }();
    // AT_ONCE[width - 1][count - 1]: how many of so many rows to multiply at once with a strip of so many vectors.
    static constexpr auto AT_ONCE = [] {
        std::array<std::array<int, MOST_ROWS>, WIDEST> rows{};
        for (int width = 1; width <= WIDEST; ++width)
            for (int count = 1; count <= MOST_ROWS; ++count) rows[width - 1][count - 1] = static_cast<int>(alike(count, rows_at_once(width)));
        return rows;
    }();

    // Some vectors of a panel, those from `first` on.
    struct Strip {
        int first, width;
    };

    // Call work(strip) with each of a panel's.
    template <class Work>
    void each_strip(int64_t p, const Work& work) const {
        const int width = vectors(p);
        for (const int* start = STARTS[width - 1].data(); *start < width; ++start) work(Strip{start[0], start[1] - start[0]});
    }

    void multiply(int64_t d, int64_t p, int count, const Rows<F>& rows, const Sums<T>& sums, Ahead<F>& ahead) const {
        each_strip(p, [&](const Strip& strip) {
            const Product<F>* const products = PRODUCTS_OF<F, WIDEST>[ahead.lines > 0][static_cast<std::size_t>(strip.width - 1)];
            const int at_once = AT_ONCE[strip.width - 1][count - 1];
            const F* const weights = panel(d, p) + strip.first * L * depth_;
            T* to = sums.to + strip.first * sums.vector;
            for (int row = 0; row < count; row += at_once, to += at_once * sums.row)
                products[std::min(at_once, count - row) - 1](rows, row, weights, bias(d, p) + strip.first * L, {to, sums.row, sums.vector}, ahead);
        });
    }

    // Sums of some sites whose blocks share `width` vectors, `each` features a block, to where each block's go.
    static void spread_out(const T* sums, int64_t count, int64_t width, int64_t each, T* to, int64_t next, int64_t between) {
        for (int64_t r = 0; r < count; ++r, to += next)
#pragma GCC unroll 16
            for (int b = 0; b < B; ++b) store(to + b * between, load_factors(sums + r * width * L + b * each), L);
    }

    int features(int64_t p) const { return static_cast<int>(std::min<int64_t>(L, hidden_ - p * L)); }
    int vectors(int64_t p) const { return (B * features(p) + L - 1) / L; }
    // Columns from one gate block of a panel to the next.
    int64_t block(int64_t p) const { return vectors(p) < B ? features(p) : L; }
    F* panel(int64_t d, int64_t p) const { return weights_.get() + (d * columns_ + p * B * L) * depth_; }
    T* bias(int64_t d, int64_t p) const { return biases_.get() + d * columns_ + p * B * L; }

    void pack(int64_t d, int64_t p) const {
        const int64_t width = vectors(p) * L;
        std::fill_n(bias(d, p), width, T{0});
        if (PAIR<F> > 1 || features(p) < L) std::fill_n(panel(d, p), depth_ * width, F{});
        if (layer_.bias) pack(layer_.bias, 1, 0, 1, d, p, 0, 1, bias(d, p));
        pack(layer_.weight_ih, layer_.inputs, 0, layer_.inputs, d, p, 0, depth_, panel(d, p));
        layer_.runs([&](int64_t state, int64_t column, int64_t count) {
            const int64_t start = layer_.inputs + state;
            pack(layer_.weight_hh, layer_.weight_columns, column, count, d, p, start, depth_, panel(d, p));
            if (layer_.weight_ch) pack(layer_.weight_ch, layer_.weight_columns, column, count, d, p, start + states_, depth_, panel(d, p));
        });
    }

    // Some columns of a matrix of `all` columns to the rows from `start` on of a panel of `depth` rows.
    template <class To>
    void pack(const void* matrix, int64_t all, int64_t column, int64_t columns, int64_t d, int64_t p, int64_t start, int64_t depth, To* to) const {
        each_strip(p, [&](const Strip& strip) {
            const int64_t width = strip.width * L, left = strip.first * L;
            for (int64_t b = 0; b < B; ++b) {
                // The block's features of which the strip has the weights.
                const int64_t own = b * block(p), first = std::max<int64_t>(0, left - own), count = std::min<int64_t>(features(p), left + width - own) - first;
                if (count <= 0) continue;
                const S* from = static_cast<const S*>(matrix) + layer_.row(d, b * hidden_ + p * L + first) * all + column;
                To* const strip_to = to + left * depth;
                const int64_t lane = own + first - left;
                if constexpr (PAIR<To> == 1) {
                    const auto read = [=](int64_t l, int64_t k, int lanes) { return load(from + l * all + k, lanes); };
                    const auto write = [=](int64_t l, int64_t k, Vector<T> v, int lanes) { store(strip_to + (start + k) * width + lane + l, v, lanes); };
                    transpose<T>(count, columns, read, write);
                } else {
                    const auto alone = [=](int64_t k) {
                        for (int64_t l = 0; l < count; ++l) strip_to[((start + k) / 2 * width + lane + l) * 2 + (start + k) % 2] = from[l * all + k];
                    };
                    const int64_t odd = start % 2, pairs = (columns - odd) / 2;
                    if (odd) alone(0);
                    if (odd + 2 * pairs < columns) alone(columns - 1);
                    const auto read = [=](int64_t l, int64_t pair, int lanes) { return load_pairs(from + l * all + odd + 2 * pair, lanes); };
                    const auto write = [=](int64_t l, int64_t pair, Vector<T> v, int lanes) {
                        store_factors(strip_to + (((start + odd) / 2 + pair) * width + lane + l) * 2, v, lanes);
                    };
                    transpose<T>(count, pairs, read, write);
                }
            }
        });
    }

    const Layer& layer_;
    const int64_t hidden_, states_, panels_;
    const int64_t depth_, columns_;
    const int64_t bytes_;
    const Buffer<T> biases_;
    const Buffer<F> weights_;
};
