// Threads in teams: a team goes through the steps of one unit of work together, teams work on different units.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <thread>

#ifdef _OPENMP
#include <omp.h>
#endif

// How often a thread has come to where its team's members wait for one another, alone in its line of the cache.
struct alignas(64) Arrivals {
    std::atomic<int64_t> count{0};
};

// What a thread knows of its team.
struct Team {
    int64_t number, member, members;
    Arrivals* arrivals;  // of all members

    // Wait for all others: tell that this member has come here, and wait until all have. Each tells of itself and looks at every other, so that
    // what one writes reaches another in one transfer between their caches.
    void wait() const {
        arrive();
        await();
    }
    // What the others wait for is done. What is done between this and `await` they do not wait for.
    void arrive() const {
        if (members > 1) arrivals[member].count.store(arrivals[member].count.load(std::memory_order_relaxed) + 1, std::memory_order_release);
    }
    // By spinning, as a step takes microseconds, and giving way once that has not helped.
    void await() const {
        if (members == 1) return;
        const int64_t own = arrivals[member].count.load(std::memory_order_relaxed);
        for (int64_t other = 0; other < members; ++other)
            for (int spins = 0; arrivals[other].count.load(std::memory_order_acquire) < own; ++spins)
                if (spins < PATIENCE) relax();
                else std::this_thread::yield();
    }
    // This member's share of 0 .. count.
    int64_t first(int64_t count) const { return count * member / members; }
    int64_t last(int64_t count) const { return count * (member + 1) / members; }

   private:
    // Pauses before giving way: 0.1 ms (measured on a Xeon), hundreds of times a barrier, so whoever is still missed is off its core. A judgement.
    static constexpr int PATIENCE = 10000;
    static void relax() {
#if defined(__x86_64__) || defined(__i386__)
        __builtin_ia32_pause();
#elif defined(__aarch64__)
        asm volatile("yield");
#endif
    }
};

// Call work(team) once on each of `teams` x `members` threads, or on fewer teams of fewer members where so many threads are not to be had.
template <class Work>
void in_teams(int64_t teams, int64_t members, const Work& work) {
#ifdef _OPENMP
    if (teams * members > 1) {
        const std::unique_ptr<Arrivals[]> arrivals(new Arrivals[static_cast<std::size_t>(teams * members)]);
#pragma omp parallel num_threads(static_cast<int>(teams * members))
        {
            const int64_t threads = omp_get_num_threads(), size = members < threads ? members : threads;
            const int64_t team = omp_get_thread_num() / size;
            if (team < threads / size) work(Team{team, omp_get_thread_num() % size, size, &arrivals[static_cast<std::size_t>(team * size)]});
        }
        return;
    }
#else
    (void)teams, (void)members;
#endif
    work(Team{0, 0, 1, nullptr});
}
