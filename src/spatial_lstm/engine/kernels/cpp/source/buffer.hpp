// Memory aligned for vectors, uninitialised.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>

template <class T>
class Buffer {
   public:
    explicit Buffer(int64_t count) : memory_(static_cast<T*>(::operator new(static_cast<std::size_t>(count) * sizeof(T) + 1, alignment()))) {}
    T* get() const { return memory_.get(); }

   private:
    static constexpr std::align_val_t alignment() { return std::align_val_t{64}; }
    struct Free {
        void operator()(T* memory) const { ::operator delete(memory, alignment()); }
    };
    std::unique_ptr<T, Free> memory_;
};
