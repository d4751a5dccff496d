// The cells' pointwise equations and their derivatives, one vector of features at a time. With N axes: z and gates [blocks<N>],
// predecessors' cell states c_prev [N], peepholes p [2 N + 1]: i of every axis, f of every axis, o. A new cell is a struct here and an entry
// in the list at the end. Equations are always inlined: compilers that think otherwise pass every vector through memory.
#pragma once

#include "functions.hpp"

template <class T>
inline Vector<T> sigmoid_backward(Vector<T> grad, Vector<T> y) {
    return grad * (y - y * y);
}

template <class T>
inline Vector<T> tanh_backward(Vector<T> grad, Vector<T> y) {
    return grad - grad * y * y;
}

// c = i g + sum_k f_k c_k, h = tanh(o c)
struct Spatial {
    static constexpr const char* name = "spatial";
    static constexpr bool peephole = false;
    template <int N>
    static constexpr int blocks = N + 3;  // i, f_0 .., g, o

    template <class T, int N>
    [[gnu::always_inline]] static void forward(Vector<T>* z, const Vector<T>* c_prev, const Vector<T>*, Vector<T>& c) {
#pragma GCC unroll 16
        for (int b = 0; b <= N; ++b) z[b] = sigmoid<T>(z[b]);
        z[N + 1] = hyperbolic_tangent<T>(z[N + 1]);
        z[N + 2] = sigmoid<T>(z[N + 2]);
        c = z[0] * z[N + 1];
#pragma GCC unroll 16
        for (int k = 0; k < N; ++k) c += z[1 + k] * c_prev[k];
    }

    template <class T>
    [[gnu::always_inline]] static Vector<T> output(Vector<T> o, Vector<T> c) {
        return hyperbolic_tangent<T>(o * c);
    }

    template <class T, int N>
    [[gnu::always_inline]] static void backward(const Vector<T>* gates, const Vector<T>* c_prev, const Vector<T>*, Vector<T> c, Vector<T> h,
                                                Vector<T> dh, Vector<T> dc, Vector<T>* dz, Vector<T>* dc_prev) {
        const auto du = tanh_backward<T>(dh, h);
        dz[N + 2] = sigmoid_backward<T>(du * c, gates[N + 2]);
        dc += du * gates[N + 2];
        dz[0] = sigmoid_backward<T>(dc * gates[N + 1], gates[0]);
        dz[N + 1] = tanh_backward<T>(dc * gates[0], gates[N + 1]);
#pragma GCC unroll 16
        for (int k = 0; k < N; ++k) {
            dc_prev[k] = dc * gates[1 + k];
            dz[1 + k] = dc_prev[k] * c_prev[k] * (static_cast<T>(1) - gates[1 + k]);
        }
    }
};

// h = o tanh(c)
struct OfTanh {
    template <class T>
    [[gnu::always_inline]] static Vector<T> output(Vector<T> o, Vector<T> c) {
        return o * hyperbolic_tangent<T>(c);
    }
};

// The same c, h = o tanh(c), with peepholes where asked
template <bool WithPeephole>
struct Graves : OfTanh {
    static constexpr const char* name = "graves";
    static constexpr bool peephole = WithPeephole;
    template <int N>
    static constexpr int blocks = N + 3;  // i, f_0 .., g, o

    template <class T, int N>
    [[gnu::always_inline]] static void forward(Vector<T>* z, const Vector<T>* c_prev, const Vector<T>* p, Vector<T>& c) {
        if constexpr (WithPeephole) {
#pragma GCC unroll 16
            for (int k = 0; k < N; ++k) z[0] += p[k] * c_prev[k];
#pragma GCC unroll 16
            for (int k = 0; k < N; ++k) z[1 + k] += p[N + k] * c_prev[k];
        }
#pragma GCC unroll 16
        for (int b = 0; b <= N; ++b) z[b] = sigmoid<T>(z[b]);
        z[N + 1] = hyperbolic_tangent<T>(z[N + 1]);
        c = z[0] * z[N + 1];
#pragma GCC unroll 16
        for (int k = 0; k < N; ++k) c += z[1 + k] * c_prev[k];
        if constexpr (WithPeephole) z[N + 2] += p[2 * N] * c;
        z[N + 2] = sigmoid<T>(z[N + 2]);
    }

    template <class T, int N>
    [[gnu::always_inline]] static void backward(const Vector<T>* gates, const Vector<T>* c_prev, const Vector<T>* p, Vector<T> c, Vector<T>,
                                                Vector<T> dh, Vector<T> dc, Vector<T>* dz, Vector<T>* dc_prev) {
        const auto t = hyperbolic_tangent<T>(c);
        dz[N + 2] = sigmoid_backward<T>(dh * t, gates[N + 2]);
        dc += tanh_backward<T>(dh * gates[N + 2], t);
        if constexpr (WithPeephole) dc += dz[N + 2] * p[2 * N];
        dz[0] = sigmoid_backward<T>(dc * gates[N + 1], gates[0]);
        dz[N + 1] = tanh_backward<T>(dc * gates[0], gates[N + 1]);
#pragma GCC unroll 16
        for (int k = 0; k < N; ++k) {
            dc_prev[k] = dc * gates[1 + k];
            dz[1 + k] = dc_prev[k] * c_prev[k] * (static_cast<T>(1) - gates[1 + k]);
            if constexpr (WithPeephole) dc_prev[k] += p[k] * dz[0] + p[N + k] * dz[1 + k];
        }
    }
};

// c = i g + f sum_k w_k c_k with w the softmax of (l_0, .., l_{N-2}, 0), h = o tanh(c); the first N - 1 weights stand in the blocks of l
struct Stable : OfTanh {
    static constexpr const char* name = "stable";
    static constexpr bool peephole = false;
    template <int N>
    static constexpr int blocks = N + 3;  // i, f, l_0 .. l_{N-2}, g, o

    template <class T, int N>
    [[gnu::always_inline]] static Vector<T> mix(const Vector<T>* w, const Vector<T>* c_prev) {
        auto last = fill<T>(1), mixed = Vector<T>{};
#pragma GCC unroll 16
        for (int k = 0; k < N - 1; ++k) last -= w[k], mixed += w[k] * c_prev[k];
        return mixed + last * c_prev[N - 1];
    }

    template <class T, int N>
    [[gnu::always_inline]] static void forward(Vector<T>* z, const Vector<T>* c_prev, const Vector<T>*, Vector<T>& c) {
        z[0] = sigmoid<T>(z[0]);
        z[1] = sigmoid<T>(z[1]);
        Vector<T> top{};
#pragma GCC unroll 16
        for (int k = 0; k < N - 1; ++k) top = z[2 + k] > top ? z[2 + k] : top;
        auto total = exponential<T>(-top);
#pragma GCC unroll 16
        for (int k = 0; k < N - 1; ++k) {
            z[2 + k] = exponential<T>(z[2 + k] - top);
            total += z[2 + k];
        }
#pragma GCC unroll 16
        for (int k = 0; k < N - 1; ++k) z[2 + k] /= total;
        z[N + 1] = hyperbolic_tangent<T>(z[N + 1]);
        z[N + 2] = sigmoid<T>(z[N + 2]);
        c = z[0] * z[N + 1] + z[1] * mix<T, N>(z + 2, c_prev);
    }

    template <class T, int N>
    [[gnu::always_inline]] static void backward(const Vector<T>* gates, const Vector<T>* c_prev, const Vector<T>*, Vector<T> c, Vector<T>,
                                                Vector<T> dh, Vector<T> dc, Vector<T>* dz, Vector<T>* dc_prev) {
        const auto t = hyperbolic_tangent<T>(c), mixed = mix<T, N>(gates + 2, c_prev);
        dz[N + 2] = sigmoid_backward<T>(dh * t, gates[N + 2]);
        dc += tanh_backward<T>(dh * gates[N + 2], t);
        dz[0] = sigmoid_backward<T>(dc * gates[N + 1], gates[0]);
        dz[N + 1] = tanh_backward<T>(dc * gates[0], gates[N + 1]);
        dz[1] = sigmoid_backward<T>(dc * mixed, gates[1]);
        auto last = fill<T>(1);
#pragma GCC unroll 16
        for (int k = 0; k < N - 1; ++k) {
            last -= gates[2 + k];
            dc_prev[k] = dc * gates[1] * gates[2 + k];
            dz[2 + k] = dc_prev[k] * (c_prev[k] - mixed);
        }
        dc_prev[N - 1] = dc * gates[1] * last;
    }
};

// c = i g + f c_{N-1}, h = o tanh(c): of the predecessors' c the last alone
struct Diagonal : OfTanh {
    static constexpr const char* name = "diagonal";
    static constexpr bool peephole = false;
    template <int N>
    static constexpr int blocks = 4;  // i, f, g, o

    template <class T, int N>
    [[gnu::always_inline]] static void forward(Vector<T>* z, const Vector<T>* c_prev, const Vector<T>*, Vector<T>& c) {
        z[0] = sigmoid<T>(z[0]);
        z[1] = sigmoid<T>(z[1]);
        z[2] = hyperbolic_tangent<T>(z[2]);
        z[3] = sigmoid<T>(z[3]);
        c = z[0] * z[2] + z[1] * c_prev[N - 1];
    }

    template <class T, int N>
    [[gnu::always_inline]] static void backward(const Vector<T>* gates, const Vector<T>* c_prev, const Vector<T>*, Vector<T> c, Vector<T>,
                                                Vector<T> dh, Vector<T> dc, Vector<T>* dz, Vector<T>* dc_prev) {
        const auto t = hyperbolic_tangent<T>(c);
        dz[3] = sigmoid_backward<T>(dh * t, gates[3]);
        dc += tanh_backward<T>(dh * gates[3], t);
        dz[0] = sigmoid_backward<T>(dc * gates[2], gates[0]);
        dz[1] = sigmoid_backward<T>(dc * c_prev[N - 1], gates[1]);
        dz[2] = tanh_backward<T>(dc * gates[0], gates[2]);
#pragma GCC unroll 16
        for (int k = 0; k < N - 1; ++k) dc_prev[k] = Vector<T>{};
        dc_prev[N - 1] = dc * gates[1];
    }
};

template <class... Cells>
struct CellList {};

using AllCells = CellList<Spatial, Graves<false>, Graves<true>, Stable, Diagonal>;
