// A matrix the other way round, a block of as many rows and columns as a vector has lanes at a time, in registers.
#pragma once

#include <algorithm>
#include <utility>

#include "vector.hpp"

// Of two rows of a block: the lanes of the second that have bit HALF go where the first's are, and the first's that do not where they were.
template <class T, int HALF, int... I>
[[gnu::always_inline]] inline void exchange(Vector<T>& a, Vector<T>& b, std::integer_sequence<int, I...>) {
    const Vector<T> first = a, second = b;
#ifdef __clang__
    a = __builtin_shufflevector(first, second, (I & HALF ? LANES<T> + I - HALF : I)...);
    b = __builtin_shufflevector(first, second, (I & HALF ? LANES<T> + I : I + HALF)...);
#else
    a = __builtin_shuffle(first, second, Bits<T>{(I & HALF ? LANES<T> + I - HALF : I)...});
    b = __builtin_shuffle(first, second, Bits<T>{(I & HALF ? LANES<T> + I : I + HALF)...});
#endif
}

template <class T, int HALF = LANES<T> / 2>
[[gnu::always_inline]] inline void transpose_block(Vector<T>* v) {
#pragma GCC unroll 16
    for (int i = 0; i < LANES<T>; ++i)
        if (!(i & HALF)) exchange<T, HALF>(v[i], v[i + HALF], std::make_integer_sequence<int, LANES<T>>{});
    if constexpr (HALF > 1) transpose_block<T, HALF / 2>(v);
}

// The sums of all lanes of as many vectors as there are lanes, one after the other; these are overwritten.
template <class T, int HALF = LANES<T> / 2>
[[gnu::always_inline]] inline Vector<T> sums_of_lanes(Vector<T>* v) {
#pragma GCC unroll 16
    for (int i = 0; i < HALF; ++i) {
        exchange<T, HALF>(v[i], v[i + HALF], std::make_integer_sequence<int, LANES<T>>{});
        v[i] += v[i + HALF];
    }
    if constexpr (HALF > 1) return sums_of_lanes<T, HALF / 2>(v);
    else return v[0];
}

// Transpose what `read(row, column, lanes)` gives, some lanes of a row from a column on: `write(row, column, v, lanes)` takes some of a column,
// from a row on.
template <class T, class Read, class Write>
inline void transpose(int64_t rows, int64_t columns, const Read read, const Write write) {
    constexpr int L = LANES<T>;
    for (int64_t row = 0; row < rows; row += L)
        for (int64_t column = 0; column < columns; column += L) {
            const int height = static_cast<int>(std::min<int64_t>(L, rows - row)), width = static_cast<int>(std::min<int64_t>(L, columns - column));
            Vector<T> v[L];
            if (height == L && width == L) {
#pragma GCC unroll 16
                for (int i = 0; i < L; ++i) v[i] = read(row + i, column, L);
                transpose_block<T>(v);
#pragma GCC unroll 16
                for (int i = 0; i < L; ++i) write(row, column + i, v[i], L);
            } else {
                for (int i = 0; i < L; ++i) v[i] = i < height ? read(row + i, column, width) : Vector<T>{};
                transpose_block<T>(v);
                for (int i = 0; i < width; ++i) write(row, column + i, v[i], height);
            }
        }
}
