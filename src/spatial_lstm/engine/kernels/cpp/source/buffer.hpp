// Memory aligned for vectors, uninitialized; where SPATIAL_LSTM_POISON is defined, not-a-number in every type, to find what is read unwritten.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <new>
#ifdef __linux__
#include <sys/mman.h>
#endif

template <class T>
class Buffer {
    struct Free {
        std::align_val_t alignment;
        void operator()(T* memory) const { ::operator delete(memory, alignment); }
    };

   public:
    explicit Buffer(int64_t count) : memory_(allocate(static_cast<std::size_t>(count) * sizeof(T) + 1)) {}
    T* get() const { return memory_.get(); }

   private:
    // From so many bytes on they are asked for on large pages, and the C library takes them from the system anew in any case. The weights of a thousand
    // features, all of which every step reads, lie on more small pages than a core remembers the places of: with large ones inference took 0.78 to 0.88
    // of the time, training 0.78 to 0.93 (1x16x16 and 1x32x32, 64 to 1024, one core of an EPYC).
    static constexpr std::size_t LARGE = std::size_t{1} << 25, PAGE = std::size_t{1} << 21;
    static constexpr std::align_val_t alignment(std::size_t bytes) { return std::align_val_t{bytes < LARGE ? 64 : PAGE}; }
    static std::unique_ptr<T, Free> allocate(std::size_t bytes) {
        void* memory = ::operator new(bytes, alignment(bytes));
#ifdef MADV_HUGEPAGE
        if (bytes >= LARGE) madvise(memory, bytes, MADV_HUGEPAGE);  // a wish: what is not to be had is left as it is
#endif
#ifdef SPATIAL_LSTM_POISON
        std::memset(memory, 0xff, bytes);
#endif
        return {static_cast<T*>(memory), {alignment(bytes)}};
    }
    const std::unique_ptr<T, Free> memory_;
};
