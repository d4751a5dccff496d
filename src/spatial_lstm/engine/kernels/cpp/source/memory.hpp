// Copies, and what the caches are asked for before memory is read or written.
#pragma once

#include <algorithm>
#include <cstdint>

#include "vector.hpp"

// Have the caches fetch some numbers, to be written where `Write`.
template <bool Write = false, class T>
inline void prefetch(const T* from, int64_t count) {
    constexpr int64_t LINE = 64 / static_cast<int64_t>(sizeof(T));
    for (int64_t k = 0; k < count; k += LINE) __builtin_prefetch(from + k, Write);
}

// Copy some numbers, of a type that is computed in or stored, to where they are of the other or the same.
template <class From, class To>
inline void copy(const From* from, int64_t count, To* to) {
    constexpr int L = LANES<Compute<From>>;
    if (count < L) {
        if constexpr (VECTOR_BYTES == 64 || !std::is_same_v<From, To>) store_stored(to, load_as<To>(from, static_cast<int>(count)), static_cast<int>(count));
        else std::copy_n(from, count, to);  // there are no masks
        return;
    }
    for (int64_t k = 0; k + L < count; k += L) store_stored(to + k, load_as<To>(from + k, L), L);
    store_stored(to + count - L, load_as<To>(from + count - L, L), L);
}

// Whether a vector of S fills a line of the caches and can be written past them: the line need not be read first, nor takes the place of another.
#ifdef __AVX512F__
template <class S>
constexpr bool STREAMS = std::is_same_v<S, Compute<S>>;
#else
template <class S>
constexpr bool STREAMS = false;
#endif

// Write a vector, past the caches where it can be.
template <class S>
inline void stream(S* to, Vector<Compute<S>> v) {
#ifdef __AVX512F__
    if constexpr (std::is_same_v<S, float>) return _mm512_stream_ps(to, (__m512)v);
    if constexpr (std::is_same_v<S, double>) return _mm512_stream_pd(to, (__m512d)v);
#endif
    store(to, v, LANES<Compute<S>>);
}

// Before another thread reads what was written past the caches.
inline void finish_streams() {
#ifdef __AVX512F__
    _mm_sfence();
#endif
}

inline bool fills_lines(const void* table) { return reinterpret_cast<std::uintptr_t>(table) % 64 == 0; }
