// What a forward pass fills and a backward reads, and where a site's inputs lie in it.
#pragma once

#include <algorithm>

#include "buffer.hpp"
#include "layer.hpp"
#include "vector.hpp"

// `c` and `gates` are null where no backward follows, `gates` alone where it is to recompute them.
template <class S>
struct Results {
    S* output;          // (R, D, h)
    S* far_h;           // (D, F, h)
    Compute<S>* far_c;  // (D, F, h)
    Compute<S>* c;      // (D, M + E, h), the near faces filled in already
    S* gates;           // (D, M, B h)
};

template <class S>
class Saved {
    using T = Compute<S>;

   public:
    Saved(const Layer& layer, const Results<S>& of) : layer_(layer), of_(of), zeros_(layer.hidden) { std::fill_n(zeros_.get(), layer.hidden, T{0}); }

    // Always inlined: the more cells there are, the sooner GCC stops inlining, and the backward then took 2 to 5 % longer.
    [[gnu::always_inline]] int64_t raster(int64_t d, int64_t site) const { return layer_.site[d * layer_.sites + site]; }
    [[gnu::always_inline]] const S* input(int64_t d, int64_t site) const { return static_cast<const S*>(layer_.x) + raster(d, site) * layer_.inputs; }
    // A site's place in tables of raster rows (R, D, h).
    [[gnu::always_inline]] int64_t place(int64_t d, int64_t site) const { return (raster(d, site) * layer_.directions + d) * layer_.hidden; }
    [[gnu::always_inline]] S* h(int64_t d, int64_t site) const { return of_.output + place(d, site); }
    [[gnu::always_inline]] T* c(int64_t d, int64_t site) const { return of_.c + (d * layer_.table_rows() + site) * layer_.hidden; }

    // Entries of the near faces, zeros where these are not given.
    [[gnu::always_inline]] const S* near_h(int64_t d, int64_t entry) const {
        return layer_.h0 ? static_cast<const S*>(layer_.h0) + (d * layer_.edges + entry) * layer_.hidden : reinterpret_cast<const S*>(zeros_.get());
    }
    [[gnu::always_inline]] const T* near_c(int64_t d, int64_t entry) const {
        return layer_.c0 ? static_cast<const T*>(layer_.c0) + (d * layer_.edges + entry) * layer_.hidden : zeros_.get();
    }

    // States of the predecessor along axis k.
    [[gnu::always_inline]] const S* previous_h(int64_t d, int64_t site, int64_t k) const {
        const int64_t p = layer_.pred[site * layer_.axes + k];
        return p < layer_.sites ? h(d, p) : near_h(d, p - layer_.sites);
    }
    [[gnu::always_inline]] const T* previous_c(int64_t d, int64_t site, int64_t k) const {
        const int64_t p = layer_.pred[site * layer_.axes + k];
        return p < layer_.sites ? c(d, p) : near_c(d, p - layer_.sites);
    }

   private:
    const Layer& layer_;
    const Results<S> of_;
    const Buffer<T> zeros_;
};
