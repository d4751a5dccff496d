// Threads in teams: a team goes through the steps of one unit of work together, teams work on different units.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <thread>

#ifdef _OPENMP
#include <omp.h>
#endif

// Where the members of a team wait for one another: by spinning, as a step takes microseconds, and giving way once that has not helped.
class Barrier {
   public:
    void wait(int64_t members) {
        const int64_t before = passed_.load(std::memory_order_acquire);
        if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == members) {
            arrived_.store(0, std::memory_order_relaxed);
            passed_.store(before + 1, std::memory_order_release);
            return;
        }
        for (int spins = 0; passed_.load(std::memory_order_acquire) == before; ++spins)
            if (spins < PATIENCE) relax();
            else std::this_thread::yield();
    }

   private:
    static constexpr int PATIENCE = 10000;
    static void relax() {
#if defined(__x86_64__) || defined(__i386__)
        __builtin_ia32_pause();
#elif defined(__aarch64__)
        asm volatile("yield");
#endif
    }
    alignas(64) std::atomic<int64_t> arrived_{0};
    alignas(64) std::atomic<int64_t> passed_{0};
};

// What a thread knows of its team.
struct Team {
    int64_t number, member, members;
    Barrier* barrier;

    void wait() const {
        if (members > 1) barrier->wait(members);
    }
    // This member's share of 0 .. count.
    int64_t first(int64_t count) const { return count * member / members; }
    int64_t last(int64_t count) const { return count * (member + 1) / members; }
};

// Call work(team) once on each of `teams` x `members` threads, or on fewer teams of fewer members where so many threads are not to be had.
template <class Work>
void in_teams(int64_t teams, int64_t members, const Work& work) {
#ifdef _OPENMP
    if (teams * members > 1) {
        const std::unique_ptr<Barrier[]> barriers(new Barrier[static_cast<std::size_t>(teams * members)]);
#pragma omp parallel num_threads(static_cast<int>(teams * members))
        {
            const int64_t threads = omp_get_num_threads(), size = members < threads ? members : threads;
            const int64_t team = omp_get_thread_num() / size;
            if (team < threads / size) work(Team{team, omp_get_thread_num() % size, size, &barriers[static_cast<std::size_t>(team)]});
        }
        return;
    }
#else
    (void)teams, (void)members;
#endif
    work(Team{0, 0, 1, nullptr});
}
