// What a forward pass fills and a backward reads, and where a site's inputs lie in it.
#pragma once

#include <algorithm>

#include "buffer.hpp"
#include "layer.hpp"
#include "places.hpp"
#include "vector.hpp"

// `c` and both kinds of gates are null where no backward follows, those of gates alone where it is to recompute them; else one of the two is.
template <class S>
struct Results {
    S* output;          // (R, D, h)
    S* far_h;           // (D, F, h)
    Compute<S>* far_c;  // (D, F, h)
    Compute<S>* c;      // (D, P, h): M rows and zeros
    S* gates;           // (D, M, B h)
    BFloat16* folded;   // (D, M, B h)
};

template <class S>
class Saved {
    using T = Compute<S>;

   public:
    Saved(const Layer& layer, const Results<S>& of) : layer_(layer), of_(of), zeros_(layer.hidden) { std::fill_n(zeros_.get(), layer.hidden, T{0}); }

    // Always inlined: the more cells there are, the sooner GCC stops inlining, and the backward then took 2 to 5 % longer.
    [[gnu::always_inline]] const S* input(int64_t raster) const { return static_cast<const S*>(layer_.x) + raster * layer_.inputs; }
    // Where a raster row's states lie in tables (R, D, h).
    [[gnu::always_inline]] int64_t place(int64_t d, int64_t raster) const { return (raster * layer_.directions + d) * layer_.hidden; }
    [[gnu::always_inline]] S* h(int64_t d, int64_t raster) const { return of_.output + place(d, raster); }
    [[gnu::always_inline]] T* c(int64_t d, int64_t site) const { return of_.c + (d * layer_.table_rows + site) * layer_.hidden; }

    // A row of the near faces, zeros where these are not given.
    [[gnu::always_inline]] const S* near_h(int64_t d, int64_t row) const {
        return layer_.h0 ? static_cast<const S*>(layer_.h0) + (d * layer_.face_rows + row) * layer_.hidden : reinterpret_cast<const S*>(zeros_.get());
    }
    [[gnu::always_inline]] const T* near_c(int64_t d, int64_t row) const {
        return layer_.c0 ? static_cast<const T*>(layer_.c0) + (d * layer_.face_rows + row) * layer_.hidden : zeros_.get();
    }

    // States of the predecessor along axis k.
    [[gnu::always_inline]] const S* previous_h(const Places& places, int64_t d, int64_t site, int64_t k) const {
        const int64_t p = places.pred(site, k);
        return p >= 0 ? h(d, places.raster(site) - places.strides[k]) : near_h(d, -1 - p);
    }
    [[gnu::always_inline]] const T* previous_c(const Places& places, int64_t d, int64_t site, int64_t k) const {
        const int64_t p = places.pred(site, k);
        return p >= 0 ? c(d, p) : near_c(d, -1 - p);
    }

    // A row of zeros, as many as there are features.
    [[gnu::always_inline]] const T* zeros() const { return zeros_.get(); }

   private:
    const Layer& layer_;
    const Results<S> of_;
    const Buffer<T> zeros_;
};
