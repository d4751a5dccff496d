// The gates of a block of sites, whose numbers lie side by side: all features of one site, then those of the next. So vectors are full
// whatever the number of features, and what is constant stays in registers.
#pragma once

#include <algorithm>

#include "memory.hpp"
#include "vector.hpp"

// Where such numbers are, `between` numbers from one gate, axis or peephole to the next.
template <class S>
struct Numbers {
    int64_t count;
    Compute<S>* z;             // (B, between), activated in place where `activates`; o always
    const Compute<S>* c_prev;  // (N, between)
    int64_t between;
    const Compute<S>* peephole;  // (2 N + 1, period and a vector), each the same over and over, or null
    int64_t period;              // how many features there are
    Compute<S>* c;
    S* h;  // null, as c, where states are known
    bool activates, streams;
    // What is written besides, past the caches where `streams`, or null: c once more, and gates, a row (B, period) a site, of which vectors fill
    // each gate's features.
    Compute<S>* saved_c;
    S* gates;
};

// Never inlined, so that gates are the same to the last bit wherever they are taken: where products are contracted is up to the compiler.
template <class S, class Cell, int N>
__attribute__((noinline)) void activate(const Numbers<S>& at) {
    using T = Compute<S>;
    constexpr int L = LANES<T>, B = Cell::template blocks<N>;
    // Vectors whose h is taken in one go, after all their c: it waits for c as long as c does for the gates, and a CPU does not look so far ahead that
    // it would begin with the next vector meanwhile.
    constexpr int64_t TURN = 32 * L;
    S* gates = at.gates;
    int64_t feature = 0;
    const auto write = [&](auto* to, Vector<T> v) __attribute__((always_inline)) { at.streams ? stream(to, v) : store(to, v, L); };
    T* const o = at.z + (B - 1) * at.between;
    for (int64_t first = 0; first < at.count; first += TURN) {
        const int64_t last = std::min(first + TURN, at.count);
        for (int64_t k = first; k < last; k += L) {
            const int lanes = static_cast<int>(std::min<int64_t>(L, last - k));
            Vector<T> z[B], c_prev[N], peephole[2 * N + 1], c;
#pragma GCC unroll 16
            for (int b = 0; b < B; ++b) z[b] = load_factors(at.z + b * at.between + k);
#pragma GCC unroll 16
            for (int j = 0; j < N; ++j) c_prev[j] = load_factors(at.c_prev + j * at.between + k);
            if constexpr (Cell::peephole)
                for (int i = 0; i < 2 * N + 1; ++i) peephole[i] = load_factors(at.peephole + i * (at.period + L) + k % at.period);
            Cell::template forward<T, N>(z, c_prev, peephole, c);
            if (at.h) {
                store(at.c + k, c, lanes);
                store(o + k, z[B - 1], L);
            }
            if (at.saved_c) write(at.saved_c + k, c);
            if (at.activates)
#pragma GCC unroll 16
                for (int b = 0; b < B; ++b) store(at.z + b * at.between + k, z[b], L);
            if (!gates) continue;
#pragma GCC unroll 16
            for (int b = 0; b < B; ++b) write(gates + b * at.period + feature, z[b]);
            feature += L;
            if (feature == at.period) feature = 0, gates += B * at.period;
        }
        for (int64_t k = first; k < last && at.h; k += L) {
            const int lanes = static_cast<int>(std::min<int64_t>(L, last - k));
            store(at.h + k, Cell::template output<T>(load_factors(o + k), load(at.c + k, lanes)), lanes);
        }
    }
}
