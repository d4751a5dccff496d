// What a call is given. Must agree with kernel.py. Tables are as in spatial_lstm.problem, contiguous: D directions, M sites,
// P rows of a state table (sites, then near faces), n axes, B = n + 3 gate blocks, h features, C input features.
#pragma once

#include <cstdint>

struct Layer {
    int64_t directions, sites, table_rows, steps, axes, hidden, inputs, cell, threads;
    const int64_t* offsets;  // (steps + 1): step s has the sites offsets[s] .. offsets[s + 1]
    const int64_t* site;     // (D, M): row of x
    const int64_t* pred;     // (M, n): row of the state table
    const int64_t* succ;     // (M, n): site of the step after, -1 beyond the far face
    const void* x;           // (.., C)
    const void* weight_ih;   // (D, B h, C)
    const void* weight_hh;   // (D, B h, n h)
    const void* weight_ch;   // (D, B h, n h) or null
    const void* bias;        // (D, B h) or null
    const void* peephole;    // (D, 2 n + 1, h), in the type of c, or null
};

constexpr int64_t SPATIAL = 0, GRAVES = 1, STABLE = 2;
constexpr int MOST_AXES = 4;
