// Threads in teams: a team goes through the steps of one unit of work together, teams work on different units.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <memory>
#include <thread>
#include <vector>

#ifdef _OPENMP
#include <omp.h>
#endif

#include "buffer.hpp"

// How often a thread has come to where its team's members wait for one another, alone in its line of the cache.
struct alignas(64) Arrivals {
    std::atomic<int64_t> count{0};
};

struct Span {
    int64_t begin, end;
    int64_t size() const { return end - begin; }
    // One of `parts` that are as alike as can be.
    Span part(int64_t which, int64_t parts) const { return {begin + size() * which / parts, begin + size() * (which + 1) / parts}; }
};

// What a thread knows of its team.
struct Team {
    int64_t number, member, members;
    Arrivals* arrivals;  // of all members
    int64_t* known;      // how often each had arrived when this member last looked
    bool by_features = false;  // whether they share out a step's features, each of all sites, or its sites, all features of each

    // Its number among those of all teams.
    int64_t thread() const { return number * members + member; }

    // Wait for all others: tell that this member has come here, and wait until all have. Each tells of itself and looks at every other, so that
    // what one writes reaches another in one transfer between their caches.
    void wait() const {
        arrive();
        await();
    }
    // What others wait for is done. What is done between this and `await` they do not wait for.
    void arrive() const {
        if (members > 1) arrivals[member].count.store(arrived() + 1, std::memory_order_release);
    }
    // How often this member has.
    int64_t arrived() const { return members > 1 ? arrivals[member].count.load(std::memory_order_relaxed) : 0; }
    // Until all others have as often as this.
    void await() const {
        for (int64_t other = 0; other < members; ++other) await(other, arrived());
    }
    // Until another has arrived so often: by spinning, as a step takes microseconds, and giving way once that has not helped.
    void await(int64_t other, int64_t times) const {
        if (members == 1 || known[other] >= times) return;
        for (int spins = 0; (known[other] = arrivals[other].count.load(std::memory_order_acquire)) < times; ++spins)
            if (spins < PATIENCE) relax();
            else std::this_thread::yield();
    }
    // Whether another is known to have.
    bool knows(int64_t other, int64_t times) const { return known[other] >= times; }
    // A member's share of some sites, and this one's of 0 .. count.
    Span share(Span of, int64_t which) const { return of.part(which, members); }
    Span share(Span of) const { return share(of, member); }
    // What this one multiplies with, of so many panels of weights.
    Span panels(int64_t count) const { return by_features ? share({0, count}) : Span{0, count}; }
    int64_t first(int64_t count) const { return share({0, count}).begin; }
    int64_t last(int64_t count) const { return share({0, count}).end; }

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

// How a thread rounds and whether it flushes denormal numbers to zero: those that help a caller are to do as it does.
#if defined(__x86_64__)
inline unsigned arithmetic() { return __builtin_ia32_stmxcsr(); }
inline void set_arithmetic(unsigned mode) { __builtin_ia32_ldmxcsr(mode); }
#elif defined(__aarch64__)
inline uint64_t arithmetic() {
    uint64_t mode;
    asm volatile("mrs %0, fpcr" : "=r"(mode));
    return mode;
}
inline void set_arithmetic(uint64_t mode) { asm volatile("msr fpcr, %0" : : "r"(mode)); }
#else
inline int arithmetic() { return 0; }
inline void set_arithmetic(int) {}
#endif

// Call work(thread, threads) on so many threads at once, or on fewer where so many are not to be had. The runtime of OpenMP would hide from the
// sanitizer of threads who waits for whom.
template <class Work>
void on_threads(int64_t threads, const Work& work) {
#if defined(__SANITIZE_THREAD__) || defined(_OPENMP)
    const auto mode = arithmetic();
    const auto alike = [&](int64_t thread, int64_t count) {
        const auto own = arithmetic();
        set_arithmetic(mode);
        work(thread, count);
        set_arithmetic(own);
    };
#endif
#if defined(__SANITIZE_THREAD__)
    std::vector<std::thread> started;
    for (int64_t thread = 0; thread < threads; ++thread) started.emplace_back(alike, thread, threads);
    for (std::thread& thread : started) thread.join();
#elif defined(_OPENMP)
#pragma omp parallel num_threads(static_cast<int>(threads))
    alike(omp_get_thread_num(), omp_get_num_threads());
#else
    (void)threads;
    work(0, 1);
#endif
}

// Call work(team) once on each of `teams` x `members` threads, or on fewer teams of fewer members where so many threads are not to be had.
template <class Work>
void in_teams(int64_t teams, int64_t members, const Work& work) {
    if (teams * members == 1) return work(Team{0, 0, 1, nullptr, nullptr});
    const std::unique_ptr<Arrivals[]> arrivals(new Arrivals[static_cast<std::size_t>(teams * members)]);
    const int64_t line = (members + 7) / 8 * 8;  // of the cache: each thread has its own
    const Buffer<int64_t> known(teams * members * line);
    std::fill_n(known.get(), teams * members * line, int64_t{0});
    on_threads(teams * members, [&](int64_t thread, int64_t threads) {
        const int64_t size = members < threads ? members : threads, team = thread / size;
        if (team < threads / size) work(Team{team, thread % size, size, &arrivals[static_cast<std::size_t>(team * size)], known.get() + thread * line});
    });
}
