// Memory aligned for vectors, uninitialized; where SPATIAL_LSTM_POISON is defined, not-a-number in every type, to find what is read unwritten.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <new>

template <class T>
class Buffer {
   public:
    explicit Buffer(int64_t count) : memory_(allocate(static_cast<std::size_t>(count) * sizeof(T) + 1)) {}
    T* get() const { return memory_.get(); }

   private:
    static constexpr std::align_val_t alignment() { return std::align_val_t{64}; }
    static T* allocate(std::size_t bytes) {
        void* memory = ::operator new(bytes, alignment());
#ifdef SPATIAL_LSTM_POISON
        std::memset(memory, 0xff, bytes);
#endif
        return static_cast<T*>(memory);
    }
    struct Free {
        void operator()(T* memory) const { ::operator delete(memory, alignment()); }
    };
    std::unique_ptr<T, Free> memory_;
};
