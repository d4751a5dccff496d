// The gates' functions on a vector, all from one exponential: sigmoid and hyperbolic tangent.
#pragma once

#include "vector.hpp"

// 2^(k / 16)
constexpr double SIXTEENTHS[16] = {1, 1.0442737824274138, 1.0905077326652577, 1.1387886347566916, 1.189207115002721, 1.241857812073484,
                                   1.2968395546510096, 1.3542555469368927, 1.4142135623730951, 1.4768261459394993, 1.5422108254079407,
                                   1.6104903319492543, 1.681792830507429, 1.7562521603732995, 1.8340080864093424, 1.9152065613971474};

// Of how many parts of two exp's powers are: as many as a vector has lanes where an instruction picks its lanes by those of another, and few
// terms of the series are left. With 16 the gates took 0.78 of the time, inference at 16 to 64 units 0.92 to 0.96 (one core of an EPYC).
#if defined(__AVX512F__)
template <class T>
constexpr int PARTS = LANES<T>;
#elif defined(__AVX2__)
template <class T>
constexpr int PARTS = std::is_same_v<T, float> ? 8 : 1;
#else
template <class T>
constexpr int PARTS = 1;
#endif

// Whether an instruction multiplies by powers of two, down to zero and up to infinity. With it gates took 0.93 of the time (same EPYC).
#ifdef __AVX512F__
constexpr bool SCALES = true;
#else
constexpr bool SCALES = false;
#endif

// Up to where exp(x) and exp(-x) are normal numbers, and from where on they are as good as infinite and zero.
template <class T>
struct Exponent;
template <>
struct Exponent<float> {
    static constexpr float limit = 87.0f, far = SCALES ? 105.0f : limit;
    // ln 2, of one part where products are not rounded: that is off by 2e-9, and exp(-20) by its last bit. Gates took 0.91 of the time (same EPYC).
    static constexpr float magic = 12582912.0f, high = FUSES ? 0.69314718f : 0.693359375f, low = FUSES ? 0.0f : -2.12194440e-4f;
    static constexpr int terms = PARTS<float> == 16 ? 3 : PARTS<float> == 8 ? 4 : 7, mantissa = 23;
    // r^2 times this comes nearest to the next term, r^4 / 24, as a share of r: 3 / 4 of the largest r^2, (ln 2 / 32)^2.
    static constexpr float rest = PARTS<float> == 16 ? 1.46619e-5f : 0;
};
template <>
struct Exponent<double> {
    static constexpr double limit = 708.0, far = SCALES ? 746.0 : limit;
    static constexpr double magic = 6755399441055744.0, high = 0.693145751953125, low = 1.42860682030941723212e-6;
    static constexpr int terms = PARTS<double> == 8 ? 8 : 13, mantissa = 52;
    static constexpr double rest = 0;
};

// 2^(k / PARTS), k = 0 .. PARTS - 1, and how much more each is than the nearest T, where T is a float: as its share.
template <class T>
struct alignas(64) Powers {
    T of[PARTS<T>] = {}, lost[PARTS<T>] = {};
    constexpr Powers() {
        for (int k = 0; k < PARTS<T>; ++k) {
            const double power = SIXTEENTHS[k * 16 / PARTS<T>];
            of[k] = static_cast<T>(power), lost[k] = static_cast<T>(power / of[k] - 1);
        }
    }
};
template <class T>
constexpr Powers<T> POWERS;

// The lanes of a table of PARTS numbers that the lowest bits of other lanes tell.
template <class T>
inline Vector<T> pick(const T* table, [[maybe_unused]] Vector<T> lanes) {
#if defined(__AVX512F__)
    if constexpr (std::is_same_v<T, float>) return (Vector<T>)_mm512_maskz_permutexvar_ps(static_cast<__mmask16>(-1), (__m512i)lanes, _mm512_load_ps(table));
    else return (Vector<T>)_mm512_maskz_permutexvar_pd(static_cast<__mmask8>(-1), (__m512i)lanes, _mm512_load_pd(table));
#elif defined(__AVX2__)
    if constexpr (std::is_same_v<T, float>) return (Vector<T>)_mm256_permutevar8x32_ps(_mm256_load_ps(table), (__m256i)lanes);
#endif
    return fill<T>(*table);
}

// 1 / n!
template <class T>
constexpr T inverse_factorial(int n) {
    double product = 1;
    for (int k = 2; k <= n; ++k) product *= k;
    return static_cast<T>(1 / product);
}

// x no further from zero than `most`; not a number stays so.
template <class T>
inline Vector<T> clamp(Vector<T> x, T most) {
    const auto limit = fill<T>(most);
#ifdef __AVX512F__  // Compilers make two instructions each of the lines below. Of the unmasked forms, GCC warns within its own header.
    if constexpr (std::is_same_v<T, float>) {
        constexpr auto all = static_cast<__mmask16>(-1);
        return (Vector<T>)_mm512_maskz_max_ps(all, (__m512)-limit, _mm512_maskz_min_ps(all, (__m512)limit, (__m512)x));
    } else {
        constexpr auto all = static_cast<__mmask8>(-1);
        return (Vector<T>)_mm512_maskz_max_pd(all, (__m512d)-limit, _mm512_maskz_min_pd(all, (__m512d)limit, (__m512d)x));
    }
#elif defined(__AVX2__)
    if constexpr (std::is_same_v<T, float>) return (Vector<T>)_mm256_max_ps((__m256)-limit, _mm256_min_ps((__m256)limit, (__m256)x));
    else return (Vector<T>)_mm256_max_pd((__m256d)-limit, _mm256_min_pd((__m256d)limit, (__m256d)x));
#else
    x = limit < x ? limit : x;
    return -limit > x ? -limit : x;
#endif
}

// exp(x) = power * (1 + rest) * 2^k, with a power of 2^(1 / PARTS) and |rest| < 0.42, of an x that is clamped.
template <class T>
struct Split {
    Vector<T> power, rest, shifted, k;

    __attribute__((always_inline)) explicit Split(Vector<T> x) {
        using E = Exponent<T>;
        // Adding 1.5 * 2^mantissa parts rounds to a whole number of parts, which the low bits of the sum then hold.
        shifted = x * static_cast<T>(1.44269504088896340736) + E::magic / PARTS<T>;
        k = shifted - E::magic / PARTS<T>;
        Vector<T> r = minus_product<T>(x, k, fill<T>(E::high));
        if constexpr (E::low < 0 || E::low > 0) r -= k * E::low;
        Vector<T> sum = fill<T>(inverse_factorial<T>(E::terms));
#pragma GCC unroll 16
        for (int term = E::terms - 1; term > 1; --term) sum = sum * r + (inverse_factorial<T>(term) + (term == 2 ? E::rest : 0));
        rest = r + r * r * sum;
        power = pick<T>(POWERS<T>.of, shifted);
    }

    // v 2^k, with the parts of k cut off; where no instruction does that, of a v that is a power, and k such that it is a normal number.
    __attribute__((always_inline)) Vector<T> raise(Vector<T> v) const {
#ifdef __AVX512F__
        if constexpr (std::is_same_v<T, float>) return (Vector<T>)_mm512_maskz_scalef_ps(static_cast<__mmask16>(-1), (__m512)v, (__m512)k);
        else return (Vector<T>)_mm512_maskz_scalef_pd(static_cast<__mmask8>(-1), (__m512d)v, (__m512d)k);
#else
        return (Vector<T>)((Bits<T>)v + ((Bits<T>)shifted >> __builtin_ctz(PARTS<T>) << Exponent<T>::mantissa));
#endif
    }

    __attribute__((always_inline)) Vector<T> value() const {
        if constexpr (SCALES) return raise(power + power * rest);
        const auto scale = raise(power);
        return scale + scale * rest;
    }
};

// What a gate is, but zero where x is so far below that its exponential was cut off: what it is multiplied by may be so large that the least counts.
template <class T>
__attribute__((always_inline)) inline Vector<T> or_nothing(Vector<T> y, [[maybe_unused]] Vector<T> x) {
    if constexpr (SCALES) return y;
    return x < -fill<T>(Exponent<T>::far) ? Vector<T>{} : y;
}

// exp(x), of no x that is large. Always inlined, as what follows: compilers that think otherwise make the gates take half as long again.
template <class T>
__attribute__((always_inline)) inline Vector<T> exponential(Vector<T> x) {
    return or_nothing<T>(Split<T>(clamp<T>(x, Exponent<T>::far)).value(), x);
}

template <class T>
__attribute__((always_inline)) inline Vector<T> sigmoid(Vector<T> x) {
    return or_nothing<T>(static_cast<T>(1) / (static_cast<T>(1) + Split<T>(-clamp<T>(x, Exponent<T>::far)).value()), x);
}

// Through exp(2x) - 1, which keeps small arguments exact.
template <class T>
__attribute__((always_inline)) inline Vector<T> hyperbolic_tangent(Vector<T> x) {
    const Split<T> e(clamp<T>(x + x, Exponent<T>::limit));
    const auto scale = e.raise(e.power);
    auto rest = e.rest;
    if constexpr (PARTS<T> > 1 && std::is_same_v<T, float>) rest += pick<T>(POWERS<T>.lost, e.shifted);  // what power lost in rounding
    const Vector<T> minus_one = scale * rest + (scale - static_cast<T>(1));
    return minus_one / (minus_one + static_cast<T>(2));
}
