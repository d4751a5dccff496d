// Tables whose channels come first, each a plane of sites, as the kernel reads them: channels last, a row a site.
#pragma once

#include <algorithm>
#include <cstdint>

#include "team.hpp"
#include "transpose.hpp"

// structures.py mirrors it. Strides are in numbers; a run's sites lie side by side.
struct Planes {
    const void* from;
    void* to;  // (images, runs, sites, channels), contiguous
    int64_t images, runs, sites, channels, image_stride, run_stride, channel_stride, threads;
};

// Numbers as they are, each in a lane; those of 16 bits in the lower half of theirs.
template <class S>
inline Vector<Compute<S>> load_bits(const S* from, int count) {
    if constexpr (std::is_same_v<S, BFloat16>) return (Vector<float>)__builtin_convertvector(load_stored(from, count), Bits32);
    else return load_stored(from, count);
}

template <class S>
inline void store_bits(S* to, Vector<Compute<S>> v, int count) {
    if constexpr (std::is_same_v<S, BFloat16>) store_stored(to, __builtin_convertvector((Bits32)v, HalfBits), count);
    else store_stored(to, v, count);
}

template <class S>
void to_rows(const Planes& planes) noexcept {
    // Sites whose rows stay in the second cache until all their channels are there.
    constexpr int64_t BLOCK = 256;
    const int64_t blocks = (planes.sites + BLOCK - 1) / BLOCK;  // of a run
    on_threads(planes.threads, [&](int64_t thread, int64_t threads) {
        const Span own = Span{0, planes.images * planes.runs * blocks}.part(thread, threads);
        for (int64_t i = own.begin; i < own.end; ++i) {
            const int64_t run = i / blocks, site = i % blocks * BLOCK, count = std::min(BLOCK, planes.sites - site);
            const S* const from = static_cast<const S*>(planes.from) + run / planes.runs * planes.image_stride + run % planes.runs * planes.run_stride + site;
            S* const to = static_cast<S*>(planes.to) + (run * planes.sites + site) * planes.channels;
            const auto read = [&](int64_t channel, int64_t k, int lanes) { return load_bits(from + channel * planes.channel_stride + k, lanes); };
            const auto write = [&](int64_t channel, int64_t k, Vector<Compute<S>> v, int lanes) { store_bits(to + k * planes.channels + channel, v, lanes); };
            transpose<Compute<S>>(planes.channels, count, read, write);
        }
    });
}
