// What a call is given; structures.py mirrors it. Arrays are contiguous: D directions, N images, M sites, R raster rows (padding
// included), E entries of the near faces and as many of the far ones, F rows of flattened faces, n axes, B blocks of gates, h features,
// C input features. S is the type of x, T that of c.
#pragma once

#include <cstdint>

struct Layer {
    const char* cell;               // its name
    int64_t directions, images, raster_rows, sites, edges, face_rows, steps, axes, blocks, hidden, inputs, threads;
    int64_t wait_cost, start_cost;  // of one barrier and of starting threads, in multiplications
    const int64_t* bounds;          // (steps * N + 1): image i has the sites bounds[s N + i] .. bounds[s N + i + 1] of step s
    const int64_t* site;            // (D, M): raster row
    const int64_t* pred;            // (M, n): site of the step before, M + e for entry e of the near faces
    const int64_t* succ;            // (M, n): site of the step after, -1 - e for entry e of the far faces
    const int64_t* far_slot;        // (D, E): row of the flattened faces
    const void* x;                  // (R, C)
    const void* weight_ih;          // (D, B h, C)
    const void* weight_hh;          // (D, B h, n h)
    const void* weight_ch;          // (D, B h, n h) or null
    const void* bias;               // (D, B h) or null
    const void* weight_peephole;    // (D, 2 n + 1, h) in T, or null
    const void* h0;                 // (D, E, h) in S, or null for zeros
    const void* c0;                 // (D, E, h) in T, or null for zeros

    int64_t table_rows() const { return sites + edges; }  // of a state table: sites, then entries of the near faces
};

constexpr int MOST_AXES = 4;
