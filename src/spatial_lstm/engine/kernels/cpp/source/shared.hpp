// Vectors that several sites share: so many features of each, one site's after the other's.
#pragma once

#include "vector.hpp"

// Whether lanes are read and written where they are, and moved, in registers; else memory is what they meet in, a detour that takes longer than
// two sites that share a vector save.
#ifdef __AVX512F__
template <class S>
constexpr bool IN_REGISTERS = std::is_same_v<S, Compute<S>>;

// Lanes first .. first + count, as a mask.
template <class T>
inline auto lanes_from(int first, int count) {
    return static_cast<std::conditional_t<LANES<T> == 16, __mmask16, __mmask8>>(((1u << count) - 1) << first);
}

// `v` with the numbers at `from` in lanes first .. first + count.
inline FloatVector load_lanes(FloatVector v, const float* from, int first, int count) { return (FloatVector)_mm512_mask_loadu_ps((__m512)v, lanes_from<float>(first, count), from - first); }
inline DoubleVector load_lanes(DoubleVector v, const double* from, int first, int count) { return (DoubleVector)_mm512_mask_loadu_pd((__m512d)v, lanes_from<double>(first, count), from - first); }
inline void store_lanes(float* to, FloatVector v, int first, int count) { _mm512_mask_storeu_ps(to - first, lanes_from<float>(first, count), (__m512)v); }
inline void store_lanes(double* to, DoubleVector v, int first, int count) { _mm512_mask_storeu_pd(to - first, lanes_from<double>(first, count), (__m512d)v); }

// `v` with lanes from `first` on replaced by those that two vectors side by side have from `start` on.
inline FloatVector move_lanes(FloatVector v, int first, FloatVector low, FloatVector high, int start) {
    const __m512i at = _mm512_add_epi32(_mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15), _mm512_set1_epi32(start - first));
    return (FloatVector)_mm512_mask_mov_ps((__m512)v, lanes_from<float>(first, 16 - first), _mm512_permutex2var_ps((__m512)low, at, (__m512)high));
}
inline DoubleVector move_lanes(DoubleVector v, int first, DoubleVector low, DoubleVector high, int start) {
    const __m512i at = _mm512_add_epi64(_mm512_setr_epi64(0, 1, 2, 3, 4, 5, 6, 7), _mm512_set1_epi64(start - first));
    return (DoubleVector)_mm512_mask_mov_pd((__m512d)v, lanes_from<double>(first, 8 - first), _mm512_permutex2var_pd((__m512d)low, at, (__m512d)high));
}
#else
template <class S>
constexpr bool IN_REGISTERS = false;
#endif

// Write `count` lanes from lane `first` on.
template <class S>
inline void store_part(S* to, Vector<Compute<S>> v, int first, int count) {
#ifdef __AVX512F__
    if constexpr (IN_REGISTERS<S>) return store_lanes(to, v, first, count);
#endif
    Compute<S> numbers[2 * LANES<Compute<S>>] = {};
    store(numbers, v, LANES<Compute<S>>);
    store(to, load_factors(numbers + first), count);
}

// Read the first `count` numbers of each site from where `from(i)` says that those of site i lie.
template <class From>
inline auto load_shared(int sites, int count, const From& from) {
    using S = std::remove_cv_t<std::remove_pointer_t<decltype(from(0))>>;
    using T = Compute<S>;
    if (sites == 1) return load(from(0), count);
#ifdef __AVX512F__
    if constexpr (IN_REGISTERS<S>) {
        Vector<T> v{};
        for (int i = 0; i < sites; ++i) v = load_lanes(v, from(i), i * count, count);
        return v;
    }
#endif
    T numbers[2 * LANES<T>];
    for (int i = 0; i < sites; ++i) store(numbers + i * count, load(from(i), count), LANES<T>);
    return load_factors(numbers);
}

// Write each site's to where `to(i)` says.
template <class T, class To>
inline void store_shared(int sites, int count, Vector<T> v, const To& to) {
    if (sites == 1) return store(to(0), v, count);
#ifdef __AVX512F__
    using S = std::remove_pointer_t<decltype(to(0))>;
    if constexpr (IN_REGISTERS<S>) {
        for (int i = 0; i < sites; ++i) store_lanes(to(i), v, i * count, count);
        return;
    }
#endif
    T numbers[2 * LANES<T>] = {};
    store(numbers, v, LANES<T>);
    for (int i = 0; i < sites; ++i) store(to(i), load_factors(numbers + i * count), count);
}

// Blocks of `each` numbers lie side by side in vectors `sums`, so many of them a site: block b of all sites to z[b]. One vector beyond is read,
// and one written.
template <class T, int B>
inline void gather_blocks(int sites, int width, int each, const Vector<T>* sums, Vector<T>* z) {
    for (int b = 0; b < B; ++b) {
#ifdef __AVX512F__
        if (sites > 1) {
            const int vector = b * each / LANES<T>, start = b * each % LANES<T>;
            z[b] = move_lanes(sums[vector], 0, sums[vector], sums[vector + 1], start);
            for (int i = 1; i < sites; ++i) z[b] = move_lanes(z[b], i * each, sums[i * width + vector], sums[i * width + vector + 1], start);
            continue;
        }
#endif
        T* to = reinterpret_cast<T*>(z + b);
        for (int i = 0; i < sites; ++i, to += each)  // what follows overwrites the lanes beyond
            store(to, load_factors(reinterpret_cast<const T*>(sums + i * width) + b * each), LANES<T>);
    }
}
