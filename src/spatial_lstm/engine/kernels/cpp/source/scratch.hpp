// The memory that a call works in, on large pages, and kept for the next call. Of small pages there are more than a core remembers places of:
// weights of 512 features on these were read slower than they are multiplied, and training at 1x64x64, 64 to 512, took 1.09 times as long; to
// have pages mapped and cleared anew by every call cost half of what the large ones gained (one core of an EPYC).
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <new>
#include <vector>

#ifdef __linux__
#include <sys/mman.h>
#endif

// Of memory from the system, the sanitizer of addresses would not see what is read or written beside a piece of it.
#if defined(MADV_HUGEPAGE) && !defined(__SANITIZE_ADDRESS__)

class Scratch {
   public:
    // For what this thread allocates from here on, until the end of this scope.
    Scratch() : outer_(current_) {
        const Lock lock(idle().mutex, std::try_to_lock);
        if (lock && idle().first) {
            own_ = std::move(idle().first);
            idle().first = std::move(own_->next);
            idle().bytes -= own_->bytes();
        } else {
            own_ = std::make_unique<Arena>();
        }
        current_ = this;
    }
    Scratch(const Scratch&) = delete;
    Scratch& operator=(const Scratch&) = delete;
    ~Scratch() {
        current_ = outer_;
        for (Chunk& chunk : own_->chunks) chunk.used = 0;
        const Lock lock(idle().mutex, std::try_to_lock);
        if (!lock || idle().bytes + own_->bytes() > MOST) return;
        idle().bytes += own_->bytes();
        own_->next = std::move(idle().first);
        idle().first = std::move(own_);
    }

    // Memory that is there until the end of this thread's scope, or null outside of one.
    static void* take(std::size_t bytes) { return current_ ? current_->own_->take(bytes) : nullptr; }

    // Return what no call works in to the system.
    static void clear() {
        const Lock lock(idle().mutex);
        while (idle().first) idle().first = std::move(idle().first->next);
        idle().bytes = 0;
    }

   private:
    using Lock = std::unique_lock<std::mutex>;
    static constexpr std::size_t LINE = 64, LARGE_PAGE = std::size_t{1} << 21;
    // Bytes that are kept. A judgment: 512 features need 50 MB.
    static constexpr std::size_t MOST = std::size_t{1} << 26;

    struct Unmap {
        std::size_t bytes;
        void operator()(void* start) const { munmap(start, bytes); }
    };

    // Some large pages, of which the first bytes are in use.
    struct Chunk {
        explicit Chunk(std::size_t bytes) : size(round_up(bytes)), mapped(map(size + LARGE_PAGE), Unmap{size + LARGE_PAGE}) {
            memory = reinterpret_cast<char*>(round_up(reinterpret_cast<std::uintptr_t>(mapped.get())));
            madvise(memory, size, MADV_HUGEPAGE);  // a wish: where the system declines, nothing is lost
        }
        static std::size_t round_up(std::size_t bytes) { return (bytes + LARGE_PAGE - 1) / LARGE_PAGE * LARGE_PAGE; }
        static void* map(std::size_t bytes) {
            void* const start = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
            if (start == MAP_FAILED) throw std::bad_alloc();
            return start;
        }

        std::size_t size, used = 0;
        std::unique_ptr<void, Unmap> mapped;
        char* memory;
    };

    struct Arena {
        std::size_t bytes() const {
            std::size_t sum = 0;
            for (const Chunk& chunk : chunks) sum += chunk.size;
            return sum;
        }
        void* take(std::size_t bytes) {
            bytes = (bytes + LINE - 1) / LINE * LINE;
            auto chunk = std::find_if(chunks.begin(), chunks.end(), [bytes](const Chunk& some) { return some.size - some.used >= bytes; });
            if (chunk == chunks.end()) chunk = chunks.insert(chunk, Chunk(bytes));
            chunk->used += bytes;
            return chunk->memory + chunk->used - bytes;
        }

        std::vector<Chunk> chunks;
        std::unique_ptr<Arena> next;
    };

    // Those that no call works in. It is never taken down, for a thread may outlive what a process takes down at its end.
    struct Idle {
        std::mutex mutex;
        std::unique_ptr<Arena> first;
        std::size_t bytes = 0;
    };
    static Idle& idle() {
        static Idle* const all = new Idle;
        return *all;
    }

    static inline thread_local Scratch* current_ = nullptr;
    Scratch* const outer_;
    std::unique_ptr<Arena> own_;
};

#else

class Scratch {
   public:
    Scratch() {}
    static void* take(std::size_t) { return nullptr; }
    static void clear() {}
};

#endif
