// What a compiler and its flags are tried on before they get the kernel: the headers that lean on the system and the CPU, in a moment's work.
#include "functions.hpp"
#include "team.hpp"

extern "C" int probe(float* numbers) {
    in_teams(2, 1, [&](const Team& team) {
        team.wait();
        if (team.number > 0) return;
        const auto factors = load_factors(reinterpret_cast<const Factor<BFloat16>*>(numbers));
        store(numbers, multiply_add<Factor<BFloat16>>(sigmoid<float>(load(numbers, 3)), factors, factors), 3);
    });
    return 0;
}
