// Gates in 16 bits, folded at one half, so that y and 1 - |y| alike keep the 8 significant bits of bfloat16; engine/kernels/folded.py says why.
#pragma once

#include "vector.hpp"

constexpr float FOLD_SCALE = 1099511627776.0f;           // 2^40, which tells what is missing to one from what is there
constexpr float FOLD_LEAST = 1.0f / (1 << 26);           // in place of nothing missing: less than float32 can take from one
constexpr uint32_t SIGN_BIT = 0x80000000u;

inline FloatVector with_sign(FloatVector size, FloatVector of) { return (FloatVector)((Bits32)size | ((Bits32)of & SIGN_BIT)); }
inline FloatVector without_sign(FloatVector v) { return (FloatVector)((Bits32)v & ~SIGN_BIT); }

inline FloatVector fold(FloatVector y) {
    const auto size = without_sign(y);
    auto rest = 1.0f - size;
    rest = rest < FOLD_LEAST ? fill<float>(FOLD_LEAST) : rest;
    return with_sign(size > 0.5f ? rest * FOLD_SCALE : size, y);
}

inline FloatVector unfold(FloatVector read) {
    const auto size = without_sign(read);
    return with_sign(size > 1.0f ? 1.0f - size * (1.0f / FOLD_SCALE) : size, read);
}

// Whether gates of a layer that stores S can be folded.
template <class S>
constexpr bool FOLDS = std::is_same_v<S, float>;

// Read gates of a layer that stores S, folded where they are not of its type.
template <class S, class G>
inline Vector<Compute<S>> load_gates(const G* from, int count) {
    if constexpr (std::is_same_v<S, G>) return load(from, count);
    else return unfold(load(from, count));
}
