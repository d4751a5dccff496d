// What a call is given; structures.py mirrors it. Arrays are contiguous: D directions, N images, M sites, R raster rows (padding
// included), P >= M rows of a table of sites, F rows of flattened faces, n axes, B blocks of gates, h features, C input features. S is the
// type of x, T that of c.
#pragma once

#include <cstdint>

constexpr int MOST_AXES = 4;

struct Layer {
    const char* cell;               // its name
    int64_t directions, images, raster_rows, sites, table_rows, face_rows, axes, blocks, hidden, inputs, threads;
    int64_t wait_cost, start_cost;  // of one barrier and of starting threads, in multiplications
    const int64_t* extents;         // (n)
    const int64_t* sizes;           // (N, n): each image's own extents, or null where all fill the batch
    const int64_t* reverse;         // (D): bit k says that axis k is read backwards
    const void* x;                  // (R, C)
    const void* weight_ih;          // (D, B h, C)
    const void* weight_hh;          // (D, B h, n h)
    const void* bias;               // (D, B h) or null
    const void* weight_peephole;    // (D, 2 n + 1, h) in T, or null
    const void* weight_ch;          // (D, B h, n h) or null
    const void* h0;                 // (D, F, h) in S, or null for zeros
    const void* c0;                 // (D, F, h) in T, or null for zeros

    const int64_t* size(int64_t image) const { return sizes ? sizes + image * axes : extents; }
};
