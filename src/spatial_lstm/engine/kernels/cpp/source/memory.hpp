// What the caches are asked for before memory is read or written.
#pragma once

#include <cstdint>

// Have the caches fetch some numbers, to be written where `Write`.
template <bool Write = false, class T>
inline void prefetch(const T* from, int64_t count) {
    constexpr int64_t LINE = 64 / static_cast<int64_t>(sizeof(T));
    for (int64_t k = 0; k < count; k += LINE) __builtin_prefetch(from + k, Write);
}
