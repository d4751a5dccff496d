// Vectors that several sites share: so many features of each, one site's after the other's.
#pragma once

#include "vector.hpp"

// Read the first `count` numbers of each site from where `from(i)` says that those of site i lie.
template <class From>
inline auto load_shared(int sites, int count, const From& from) {
    using T = decltype(load(from(0), count)[0] + 0);
    if (sites == 1) return load(from(0), count);
    T numbers[2 * LANES<T>];
    for (int i = 0; i < sites; ++i) store(numbers + i * count, load(from(i), count), LANES<T>);
    return load_factors(numbers);
}

// Write each site's to where `to(i)` says.
template <class T, class To>
inline void store_shared(int sites, int count, Vector<T> v, const To& to) {
    if (sites == 1) return store(to(0), v, count);
    T numbers[2 * LANES<T>] = {};
    store(numbers, v, LANES<T>);
    for (int i = 0; i < sites; ++i) store(to(i), load_factors(numbers + i * count), count);
}
