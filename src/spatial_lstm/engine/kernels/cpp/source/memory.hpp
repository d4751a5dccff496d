// Copies, and what the caches are asked for before memory is read or written.
#pragma once

#include <algorithm>
#include <cstdint>

#include "vector.hpp"

// Bytes that the caches take at once.
constexpr int64_t LINE = 64;

// Have the caches fetch some numbers, to be written where `Write`. Inlined, as all that does nothing else: GCC takes a call of it for one without effect,
// and drops it.
template <bool Write = false, class T>
[[gnu::always_inline]] inline void prefetch(const T* from, int64_t count) {
    for (int64_t k = 0; k < count; k += LINE / static_cast<int64_t>(sizeof(T))) __builtin_prefetch(from + k, Write);
}

// Copy some numbers, of a type that is computed in or stored, to where they are of the other or the same.
template <class From, class To>
inline void copy(const From* from, int64_t count, To* to) {
    constexpr int L = LANES<Compute<From>>;
    if (count < L) {
        if constexpr (MASKS || !std::is_same_v<From, To>) store_stored(to, load_as<To>(from, static_cast<int>(count)), static_cast<int>(count));
        else std::copy_n(from, count, to);
        return;
    }
    for (int64_t k = 0; k + L < count; k += L) store_stored(to + k, load_as<To>(from + k, L), L);
    store_stored(to + count - L, load_as<To>(from + count - L, L), L);
}

// Whether vectors of S can be written past the caches: a line that they fill need not be read first, nor takes the place of another.
#ifdef __AVX__
template <class S>
constexpr bool STREAMS = std::is_same_v<S, Compute<S>>;
#else
template <class S>
constexpr bool STREAMS = false;
#endif

// Write a vector, past the caches where it can be.
template <class S>
inline void stream(S* to, Vector<Compute<S>> v) {
#if defined(__AVX512F__)
    if constexpr (std::is_same_v<S, float>) return _mm512_stream_ps(to, (__m512)v);
    if constexpr (std::is_same_v<S, double>) return _mm512_stream_pd(to, (__m512d)v);
#elif defined(__AVX__)
    if constexpr (std::is_same_v<S, float>) return _mm256_stream_ps(to, (__m256)v);
    if constexpr (std::is_same_v<S, double>) return _mm256_stream_pd(to, (__m256d)v);
#endif
    store(to, v, LANES<Compute<S>>);
}

// Before another thread reads what was written past the caches.
inline void finish_streams() {
#ifdef __AVX__
    _mm_sfence();
#endif
}

inline bool fills_lines(const void* table) { return reinterpret_cast<std::uintptr_t>(table) % LINE == 0; }
