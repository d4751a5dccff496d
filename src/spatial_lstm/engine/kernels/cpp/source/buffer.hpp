// Memory aligned for vectors, uninitialized; where SPATIAL_LSTM_POISON is defined, not-a-number in every type, to find what is read unwritten.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <new>

#include "scratch.hpp"

template <class T>
class Buffer {
   public:
    explicit Buffer(int64_t count) {
        const std::size_t bytes = static_cast<std::size_t>(count) * sizeof(T) + 1;
        void* memory = Scratch::take(bytes);
        const bool own = memory == nullptr;
        if (own) memory = ::operator new(bytes, alignment());
#ifdef SPATIAL_LSTM_POISON
        std::memset(memory, 0xff, bytes);
#endif
        memory_ = {static_cast<T*>(memory), Free{own}};
    }
    T* get() const { return memory_.get(); }

   private:
    static constexpr std::align_val_t alignment() { return std::align_val_t{64}; }
    struct Free {
        bool own = false;  // else it is the scratch's
        void operator()(T* memory) const {
            if (own) ::operator delete(memory, alignment());
        }
    };
    std::unique_ptr<T, Free> memory_;
};
