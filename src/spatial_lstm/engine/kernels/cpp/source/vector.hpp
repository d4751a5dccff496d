// One machine vector of T. Written in the compilers' vector extension, so it serves any CPU.
#pragma once

#include <cstdint>
#include <cstring>
#include <type_traits>

#if defined(__AVX__) || defined(__FMA__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

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
typedef int32_t Integers __attribute__((vector_size(VECTOR_BYTES)));
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

// 0, 1, 2, ..
inline const Integers LANE_NUMBERS = [] {
    Integers numbers;
    for (int i = 0; i < VECTOR_BYTES / 4; ++i) numbers[i] = i;
    return numbers;
}();

// Whether 16-bit numbers are multiplied on the CPU's matrix unit, AMX: a process must ask Linux for it, so that cpu.py says so.
#if defined(SPATIAL_LSTM_EMULATED_TILES)
constexpr bool TILES = true;
#elif defined(SPATIAL_LSTM_TILES) && defined(__AMX_BF16__) && defined(__AVX512BF16__)
#define TILES_THERE 1
constexpr bool TILES = true;
#else
constexpr bool TILES = false;
#endif

// What products multiply: numbers of the type that is computed in, or pairs of 16-bit ones where the CPU has an instruction that adds both
// of their products to a sum in 32 bits, and that pays, as cpu.py says.
#if TILES_THERE || defined(SPATIAL_LSTM_EMULATED_TILES) || (defined(__AVX512BF16__) && !defined(SPATIAL_LSTM_NO_PAIRS))
template <class S>
using Factor = std::conditional_t<std::is_same_v<S, BFloat16>, BFloat16, Compute<S>>;
#else
template <class S>
using Factor = Compute<S>;
#endif
template <class F>
constexpr int PAIR = std::is_same_v<F, BFloat16> ? 2 : 1;

constexpr int64_t round_up(int64_t count, int64_t multiple) { return (count + multiple - 1) / multiple * multiple; }

// A factor, or a pair, in every lane.
template <class F>
inline Vector<Compute<F>> spread(const F* from) {
    if constexpr (PAIR<F> == 2) {
        uint32_t pair;
        std::memcpy(&pair, from, sizeof(pair));
        return (Vector<float>)(pair - Bits32{});
    } else {
        return fill<F>(*from);
    }
}

// Whether an instruction multiplies and adds, or subtracts, with one rounding.
#if defined(__AVX512F__) || defined(__FMA__) || defined(__aarch64__)
constexpr bool FUSES = true;
#else
constexpr bool FUSES = false;
#endif

// v + x y, rounded once where `FUSES`. Left to compilers, some sums would be and others not, as a CPU is thought to like it: GCC tells those of one
// row from those of several on Zen 3, and results were others when a step's sites were divided among more threads.
template <class T>
[[gnu::always_inline]] inline Vector<T> plus_product(Vector<T> v, Vector<T> x, Vector<T> y) {
#if defined(__AVX512F__)
    if constexpr (std::is_same_v<T, float>) return (Vector<T>)_mm512_fmadd_ps((__m512)x, (__m512)y, (__m512)v);
    else return (Vector<T>)_mm512_fmadd_pd((__m512d)x, (__m512d)y, (__m512d)v);
#elif defined(__FMA__)
    if constexpr (std::is_same_v<T, float>) return (Vector<T>)_mm256_fmadd_ps((__m256)x, (__m256)y, (__m256)v);
    else return (Vector<T>)_mm256_fmadd_pd((__m256d)x, (__m256d)y, (__m256d)v);
#elif defined(__aarch64__)
    if constexpr (std::is_same_v<T, float>) return (Vector<T>)vfmaq_f32((float32x4_t)v, (float32x4_t)x, (float32x4_t)y);
    else return (Vector<T>)vfmaq_f64((float64x2_t)v, (float64x2_t)x, (float64x2_t)y);
#else
    return v + x * y;
#endif
}

// v - x y, rounded once where `FUSES`.
template <class T>
[[gnu::always_inline]] inline Vector<T> minus_product(Vector<T> v, Vector<T> x, Vector<T> y) {
    return plus_product<T>(v, -x, y);
}

// sum + x y, of factors or of pairs
template <class F>
inline Vector<Compute<F>> multiply_add(Vector<Compute<F>> sum, Vector<Compute<F>> x, Vector<Compute<F>> y) {
#ifdef __AVX512BF16__
    if constexpr (PAIR<F> == 2) return (Vector<float>)_mm512_dpbf16_ps((__m512)sum, (__m512bh)x, (__m512bh)y);
#endif
    return plus_product<Compute<F>>(sum, x, y);
}

inline Vector<float> widen(HalfBits stored) { return (Vector<float>)(__builtin_convertvector(stored, Bits32) << 16); }

inline HalfBits narrow(Vector<float> v) {
#ifdef __AVX512BF16__  // takes numbers that are not normal, below 1.2e-38, for zero, as the products do
    return (HalfBits)_mm512_cvtneps_pbh((__m512)v);
#endif
    const auto bits = (Bits32)v;
    const auto rounded = (bits + (0x7fff + ((bits >> 16) & 1))) >> 16;  // to nearest, ties to even
    const auto quiet = (bits >> 16) | 0x40;
    return __builtin_convertvector(v == v ? rounded : quiet, HalfBits);
}

// How numbers of type S lie in memory, a vector's lanes of them.
template <class S>
using Stored = std::conditional_t<std::is_same_v<S, BFloat16>, HalfBits, Vector<Compute<S>>>;

// Whether there are instructions that read some lanes alone.
#ifdef __AVX2__
constexpr bool MASKS = true;
// From `MASK + 8 - count` on, as many lanes are set.
alignas(64) constexpr int32_t MASK[16] = {-1, -1, -1, -1, -1, -1, -1, -1};
#else
constexpr bool MASKS = false;
#endif

// The first `count` lanes of a vector in memory, zero in those beyond; `count` is less than there are.
template <class S>
inline Stored<S> load_some(const S* from, int count) {
#ifdef __AVX512F__
    if constexpr (std::is_same_v<S, float>) return (FloatVector)_mm512_maskz_loadu_ps(static_cast<__mmask16>((1u << count) - 1), from);
    if constexpr (std::is_same_v<S, double>) return (DoubleVector)_mm512_maskz_loadu_pd(static_cast<__mmask8>((1u << count) - 1), from);
#endif
#if defined(__AVX512BW__) && defined(__AVX512VL__)
    if constexpr (std::is_same_v<S, BFloat16>) return (HalfBits)_mm256_maskz_loadu_epi16(static_cast<__mmask16>((1u << count) - 1), from);
#endif
#if defined(__AVX2__) && !defined(__AVX512F__)
    if constexpr (!std::is_same_v<S, BFloat16>) {
        const __m256i mask = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(MASK + 8 - count * static_cast<int>(sizeof(S) / 4)));
        if constexpr (std::is_same_v<S, float>) return (FloatVector)_mm256_maskload_ps(from, mask);
        else return (DoubleVector)_mm256_maskload_pd(from, mask);
    }
#endif
    S lanes[LANES<Compute<S>>] = {};
    for (int i = 0; i < count; ++i) lanes[i] = from[i];
    Stored<S> stored;
    std::memcpy(&stored, lanes, sizeof(stored));
    return stored;
}

template <class S>
inline void store_some(S* to, Stored<S> stored, int count) {
#ifdef __AVX512F__
    if constexpr (std::is_same_v<S, float>) return _mm512_mask_storeu_ps(to, static_cast<__mmask16>((1u << count) - 1), (__m512)stored);
    if constexpr (std::is_same_v<S, double>) return _mm512_mask_storeu_pd(to, static_cast<__mmask8>((1u << count) - 1), (__m512d)stored);
#endif
#if defined(__AVX512BW__) && defined(__AVX512VL__)
    if constexpr (std::is_same_v<S, BFloat16>) return _mm256_mask_storeu_epi16(to, static_cast<__mmask16>((1u << count) - 1), (__m256i)stored);
#endif
#if defined(__AVX2__) && !defined(__AVX512F__)
    // By halves: the instruction with a mask takes some CPUs as long as twelve of these.
    if constexpr (std::is_same_v<S, float>) {
        __m128 rest = _mm256_castps256_ps128((__m256)stored);
        if (count & 4) _mm_storeu_ps(to, rest), rest = _mm256_extractf128_ps((__m256)stored, 1), to += 4;
        if (count & 2) _mm_storel_pi(reinterpret_cast<__m64*>(to), rest), rest = _mm_movehl_ps(rest, rest), to += 2;
        if (count & 1) _mm_store_ss(to, rest);
        return;
    }
    if constexpr (std::is_same_v<S, double>) {
        __m128d rest = _mm256_castpd256_pd128((__m256d)stored);
        if (count & 2) _mm_storeu_pd(to, rest), rest = _mm256_extractf128_pd((__m256d)stored, 1), to += 2;
        if (count & 1) _mm_store_sd(to, rest);
        return;
    }
#endif
    S lanes[LANES<Compute<S>>];
    std::memcpy(lanes, &stored, sizeof(stored));
    for (int i = 0; i < count; ++i) to[i] = lanes[i];
}

inline void store_some(int32_t* to, Integers v, int count) {
#ifdef __AVX512F__
    _mm512_mask_storeu_epi32(to, static_cast<__mmask16>((1u << count) - 1), (__m512i)v);
#else
    for (int i = 0; i < count; ++i) to[i] = v[i];
#endif
}

// Read `count` numbers, zero in the lanes beyond: as they lie in memory, or as they are computed in.
template <class S>
inline Stored<S> load_stored(const S* from, int count) {
    Stored<S> stored;
    if (count == LANES<Compute<S>>) std::memcpy(&stored, from, sizeof(stored));
    else stored = load_some(from, count);
    return stored;
}

template <class S>
inline Vector<Compute<S>> load(const S* from, int count) {
    if constexpr (std::is_same_v<S, BFloat16>) return widen(load_stored(from, count));
    else return load_stored(from, count);
}

// Write the first `count` lanes.
template <class S>
inline void store_stored(S* to, Stored<S> stored, int count) {
    if (count == LANES<Compute<S>>) std::memcpy(to, &stored, sizeof(stored));
    else store_some(to, stored, count);
}

template <class S>
inline void store(S* to, Vector<Compute<S>> v, int count) {
    if constexpr (std::is_same_v<S, BFloat16>) store_stored(to, narrow(v), count);
    else store_stored(to, v, count);
}

// Read numbers of one type as they lie in memory in another.
template <class To, class S>
inline Stored<To> load_as(const S* from, int count) {
    if constexpr (std::is_same_v<S, To>) return load_stored(from, count);
    else if constexpr (std::is_same_v<To, BFloat16>) return narrow(load(from, count));
    else return load(from, count);
}

// v, which lies in a register from here on: compilers that take loads for free would read it again for each product, and these need not wait then,
// but find no more than two loads a cycle. With four rows by three vectors they reached 73 % of the peak of an EPYC with AVX2, with this 98. A value,
// not a place: one in an array GCC 11 wrote to the stack, and products that fetch ahead took a quarter longer.
template <class V>
[[gnu::always_inline]] inline V in_register(V v) {
#if defined(__x86_64__)
    asm("" : "+v"(v));
#elif defined(__aarch64__)
    asm("" : "+w"(v));
#endif
    return v;
}

// Call work(number), which is 1 to MOST, with a constant.
template <int MOST, class Work>
[[gnu::always_inline]] inline void as_constant(int64_t number, const Work& work) {
    if (number == MOST) work(std::integral_constant<int, MOST>{});
    else if constexpr (MOST > 1) as_constant<MOST - 1>(number, work);
}

// A vector's worth of factors, as they lie.
template <class F>
inline Vector<Compute<F>> load_factors(const F* from) {
    Vector<Compute<F>> v;
    std::memcpy(&v, from, sizeof(v));
    return v;
}

// Factors in the lanes of a vector of their own: numbers as they are, or pairs of which those of `from` come first, and those of `second`, or
// zeros, after.
template <class F, class S>
inline Vector<Compute<F>> load_paired(const S* from, const S* second, int count) {
    if constexpr (PAIR<F> == 1) return load(from, count);
    else return (Vector<float>)(__builtin_convertvector(load_as<F>(from, count), Bits32) | (second ? __builtin_convertvector(load_as<F>(second, count), Bits32) << 16 : Bits32{}));
}

// So many pairs, as they lie, in a lane each.
inline Vector<float> load_pairs(const BFloat16* from, int count) {
    Vector<float> v{};
    if (count == LANES<float>) std::memcpy(&v, from, sizeof(v));
    else std::memcpy(&v, from, static_cast<std::size_t>(count) * sizeof(float));
    return v;
}

// Write the first `count` factors, or pairs, of a vector as they are.
template <class F>
inline void store_factors(F* to, Vector<Compute<F>> v, int count) {
    if constexpr (PAIR<F> == 1) {
        store(to, v, count);
    } else if (count == LANES<float>) {
        std::memcpy(to, &v, sizeof(v));
    } else {
        F lanes[LANES<float> * PAIR<F>];
        std::memcpy(lanes, &v, sizeof(v));
        for (int i = 0; i < count * PAIR<F>; ++i) to[i] = lanes[i];
    }
}

template <class S>
inline void store_number(S* to, Compute<S> value) {
    if constexpr (std::is_same_v<S, BFloat16>) store(to, fill<float>(value), 1);
    else *to = value;
}

// One number of a matrix of S, as a To.
template <class To, class S>
inline To number(const void* matrix, int64_t place) {
    const S* from = static_cast<const S*>(matrix) + place;
    if constexpr (std::is_same_v<S, To>) return *from;
    else return load(from, 1)[0];
}
