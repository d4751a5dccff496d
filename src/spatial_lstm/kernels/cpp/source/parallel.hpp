// Threads that go through the steps together.
#pragma once

#include <cstdint>
#include <exception>

#ifdef _OPENMP
#include <omp.h>
#endif

// Wait for all threads of the team.
inline void barrier() {
#ifdef _OPENMP
#pragma omp barrier
#endif
}

// Call work(thread, threads) once on every thread of a team; work may call barrier(), as often on every thread, and must not throw.
template <class Work>
void together(int64_t threads, const Work& work) {
#ifdef _OPENMP
    if (threads > 1) {
#pragma omp parallel num_threads(static_cast<int>(threads))
        work(static_cast<int64_t>(omp_get_thread_num()), static_cast<int64_t>(omp_get_num_threads()));
        return;
    }
#else
    (void)threads;
#endif
    work(int64_t{0}, int64_t{1});
}

// Share out the rows of all directions at one step: call run(direction, first, last) for this thread's part, at most `block` rows at a time.
template <class Run>
void share(int64_t directions, int64_t rows, int64_t block, int64_t thread, int64_t threads, const Run& run) {
    const int64_t all = directions * rows, end = all * (thread + 1) / threads;
    for (int64_t begin = all * thread / threads; begin < end;) {
        const int64_t d = begin / rows, first = begin % rows;
        int64_t count = rows - first;
        if (count > end - begin) count = end - begin;
        if (count > block) count = block;
        run(d, first, first + count);
        begin += count;
    }
}
