// One machine vector of T, and the functions of the gates on it. Written in the compilers' vector extension, so it serves any CPU.
#pragma once

#include <cstdint>
#include <cstring>
#include <type_traits>

#if defined(__AVX512F__)
constexpr int VECTOR_BYTES = 64, REGISTERS = 32;
#elif defined(__AVX__)
constexpr int VECTOR_BYTES = 32, REGISTERS = 16;
#elif defined(__aarch64__)
constexpr int VECTOR_BYTES = 16, REGISTERS = 32;
#else
constexpr int VECTOR_BYTES = 16, REGISTERS = 16;
#endif

typedef float FloatVector __attribute__((vector_size(VECTOR_BYTES)));
typedef double DoubleVector __attribute__((vector_size(VECTOR_BYTES)));
typedef uint32_t Bits32 __attribute__((vector_size(VECTOR_BYTES)));
typedef uint64_t Bits64 __attribute__((vector_size(VECTOR_BYTES)));
typedef uint16_t HalfBits __attribute__((vector_size(VECTOR_BYTES / 2)));

template <class T>
using Vector = std::conditional_t<std::is_same_v<T, float>, FloatVector, DoubleVector>;
template <class T>
using Bits = std::conditional_t<std::is_same_v<T, float>, Bits32, Bits64>;
template <class T>
constexpr int LANES = VECTOR_BYTES / static_cast<int>(sizeof(T));

struct BFloat16 {
    uint16_t bits;
};

// What numbers of storage type S are computed in.
template <class S>
using Compute = std::conditional_t<std::is_same_v<S, double>, double, float>;

template <class T>
inline Vector<T> fill(T value) {
    return value - Vector<T>{};
}

inline Vector<float> widen(HalfBits stored) { return (Vector<float>)(__builtin_convertvector(stored, Bits32) << 16); }

inline HalfBits narrow(Vector<float> v) {
    const auto bits = (Bits32)v;
    const auto rounded = (bits + (0x7fff + ((bits >> 16) & 1))) >> 16;  // to nearest, ties to even
    const auto quiet = (bits >> 16) | 0x40;
    return __builtin_convertvector(v == v ? rounded : quiet, HalfBits);
}

// Read `count` numbers, zero in the lanes beyond.
template <class S>
inline Vector<Compute<S>> load(const S* from, int count) {
    using T = Compute<S>;
    std::conditional_t<std::is_same_v<S, BFloat16>, HalfBits, Vector<T>> stored{};
    if (count == LANES<T>) {
        std::memcpy(&stored, from, sizeof(stored));
    } else {
        S lanes[LANES<T>] = {};
        for (int i = 0; i < count; ++i) lanes[i] = from[i];
        std::memcpy(&stored, lanes, sizeof(stored));
    }
    if constexpr (std::is_same_v<S, BFloat16>) return widen(stored);
    else return stored;
}

template <class T>
inline Vector<T> load(const T* from) {
    Vector<T> v;
    std::memcpy(&v, from, sizeof(v));
    return v;
}

// Write the first `count` lanes.
template <class S>
inline void store(S* to, Vector<Compute<S>> v, int count) {
    using T = Compute<S>;
    std::conditional_t<std::is_same_v<S, BFloat16>, HalfBits, Vector<T>> stored;
    if constexpr (std::is_same_v<S, BFloat16>) stored = narrow(v);
    else stored = v;
    if (count == LANES<T>) {
        std::memcpy(to, &stored, sizeof(stored));
    } else {
        S lanes[LANES<T>];
        std::memcpy(lanes, &stored, sizeof(stored));
        for (int i = 0; i < count; ++i) to[i] = lanes[i];
    }
}

template <class T>
struct Exponent;
template <>
struct Exponent<float> {
    static constexpr float magic = 12582912.0f, limit = 87.0f, high = 0.693359375f, low = -2.12194440e-4f;
    static constexpr int terms = 7, mantissa = 23;
    static constexpr uint32_t bias = 127;
};
template <>
struct Exponent<double> {
    static constexpr double magic = 6755399441055744.0, limit = 708.0, high = 0.693145751953125, low = 1.42860682030941723212e-6;
    static constexpr int terms = 13, mantissa = 52;
    static constexpr uint64_t bias = 1023;
};

// exp(x) = scale * (1 + rest), with scale a power of two and |rest| < 0.42; x is clamped to where the power of two is a normal number.
template <class T>
struct Split {
    Vector<T> scale, rest;

    explicit Split(Vector<T> x) {
        using E = Exponent<T>;
        x = x > E::limit ? fill<T>(E::limit) : x;
        x = x < -E::limit ? fill<T>(-E::limit) : x;
        // Adding 1.5 * 2^mantissa rounds to an integer, which the low bits of the sum then hold.
        const Vector<T> shifted = x * static_cast<T>(1.44269504088896340736) + E::magic;
        const Vector<T> k = shifted - E::magic;
        const Vector<T> r = (x - k * E::high) - k * E::low;
        Vector<T> sum = fill<T>(1);
#pragma GCC unroll 16
        for (int term = E::terms; term > 1; --term) sum = sum * r * (static_cast<T>(1) / static_cast<T>(term)) + static_cast<T>(1);
        rest = sum * r;
        scale = (Vector<T>)(((Bits<T>)shifted << E::mantissa) + (E::bias << E::mantissa));
    }
};

template <class T>
inline Vector<T> sigmoid(Vector<T> x) {
    const Split<T> e(-x);
    return static_cast<T>(1) / (static_cast<T>(1) + (e.scale + e.scale * e.rest));
}

// Through exp(2x) - 1, which keeps small arguments exact.
template <class T>
inline Vector<T> hyperbolic_tangent(Vector<T> x) {
    const Split<T> e(x + x);
    const Vector<T> minus_one = e.scale * e.rest + (e.scale - static_cast<T>(1));
    return minus_one / (minus_one + static_cast<T>(2));
}
