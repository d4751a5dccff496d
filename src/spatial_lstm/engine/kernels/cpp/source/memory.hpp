// What is asked for before memory is read or written: of the caches, and for large tables of the operating system.
#pragma once

#include <cstddef>
#include <cstdint>

#ifdef __linux__
#include <sys/mman.h>
#endif

// Have the caches fetch some numbers, to be written where `Write`.
template <bool Write = false, class T>
inline void prefetch(const T* from, int64_t count) {
    constexpr int64_t LINE = 64 / static_cast<int64_t>(sizeof(T));
    for (int64_t k = 0; k < count; k += LINE) __builtin_prefetch(from + k, Write);
}

// Ask for large pages where a large table that was just allocated will be written: the first touch of small ones costs more than the writing.
inline void prepare_for_writes(void* table, int64_t count, std::size_t each) {
    const std::size_t bytes = static_cast<std::size_t>(count) * each;
#if defined(__linux__) && defined(MADV_HUGEPAGE)
    constexpr std::uintptr_t PAGE = std::uintptr_t{2} << 20;
    const auto begin = (reinterpret_cast<std::uintptr_t>(table) + PAGE - 1) / PAGE * PAGE;
    const auto end = (reinterpret_cast<std::uintptr_t>(table) + bytes) / PAGE * PAGE;
    if (table && begin < end) madvise(reinterpret_cast<void*>(begin), end - begin, MADV_HUGEPAGE);  // advice: it may be declined
#else
    (void)table, (void)bytes;
#endif
}
