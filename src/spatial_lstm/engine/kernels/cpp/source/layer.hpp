// What a call is given; structures.py mirrors it. Arrays are contiguous: D directions, N images, M sites, R raster rows (padding
// included), P >= M rows of a table of sites, F rows of flattened faces, n axes, B blocks of gates, h features, C input features. S is the
// type of x, T that of c.
#pragma once

#include <cstdint>

constexpr int MOST_AXES = 4;

struct Layer {
    const char* cell;               // its name
    int64_t directions, images, raster_rows, sites, table_rows, face_rows, axes, blocks, hidden, inputs, threads;
    // Of one barrier, of a number that one thread computes and another reads, and of starting threads, in multiplications.
    int64_t wait_cost, exchange_cost, start_cost;
    const int64_t* extents;         // (n)
    const int64_t* reverse;         // (D): bit k says that axis k is read backwards
    const int64_t* starts;          // (n + idle): where each axis' face starts in flattened faces, and each idle axis', of one row a raster row
    const int64_t* sizes;           // (N, n): each image's own extents, or null where all fill the batch
    int64_t idle;                   // how many axes of extent 1 there are besides, along which no state comes
    // Weights have rows and columns for idle axes too: how many, and where of them those are that are used.
    int64_t weight_rows, weight_columns;
    const int64_t *rows, *columns, *peephole_rows;  // (B h), (n h), (2 n + 1)
    const void* x;                  // (R, C)
    const void* weight_ih;          // (D, weight_rows, C)
    const void* weight_hh;          // (D, weight_rows, weight_columns)
    const void* bias;               // (D, weight_rows) or null
    const void* weight_peephole;    // (D, peepholes(), h) in T, or null
    const void* weight_ch;          // (D, weight_rows, weight_columns) or null
    const void* h0;                 // (D, F, h) in S, or null for zeros
    const void* c0;                 // (D, F, h) in T, or null for zeros

    // Row of the weights of all directions that belongs to a gate, and of the peepholes that belongs to the i-th.
    int64_t row(int64_t d, int64_t gate) const { return d * weight_rows + rows[gate]; }
    int64_t peephole_row(int64_t d, int64_t i) const { return d * peepholes() + peephole_rows[i]; }
    int64_t peepholes() const { return 2 * (axes + idle) + 1; }

    // Columns of a weight of states that lie side by side, as many at once as there are: `take(state, column, count)`.
    template <class Take>
    void runs(const Take& take) const {
        for (int64_t k = 0, first = 0; k < axes; first = ++k) {
            while (k + 1 < axes && columns[(k + 1) * hidden] == columns[k * hidden] + hidden) ++k;
            take(first * hidden, columns[first * hidden], (k + 1 - first) * hidden);
        }
    }

    const int64_t* size(int64_t image) const { return sizes ? sizes + image * axes : extents; }
};
