// How the members of a team go through steps together: each goes on as soon as what it reads is there and what it overwrites has been read. So one
// that needs nothing from the others goes ahead of them, and its news is there before they ask for it, however far apart their cores are.
#pragma once

#include "team.hpp"
#include "units.hpp"

class Pace {
   public:
    // Slots for the states of a step, which steps take by turns: how many there are for each thread. More where a step has so few `bytes` that they
    // stay in the second cache.
    static int64_t slots(int64_t bytes) { return bytes <= MOST_BYTES ? 4 : 2; }

    // From when all members have waited for one another.
    Pace(const Team& team, int64_t bytes) : team_(team), held_(team.members == 1 ? 2 : slots(bytes) * team.members), begun_(team.arrived()) {}

    // A step's place among the slots of all teams.
    int64_t slot(int64_t step) const { return team_.number * held_ + (step + held_) % held_; }

    // In a step that comes after `taken` others: wait for those who hold the sites `read`, of the step before, whose sites are `before`; and until
    // all others have read what this step's states will overwrite.
    void await(int64_t taken, Span before, Span read) const {
        for (int64_t other = 0; other < team_.members; ++other) {
            if (other == team_.member) continue;
            const Span share = team_.share(before, other);
            const bool reads = read.begin < share.end && share.begin < read.end;
            team_.await(other, begun_ + (reads ? taken : taken + 2 - held_));
        }
    }

    // Whether another is known to be done with the step that comes after `taken` others.
    bool is_done(int64_t other, int64_t taken) const { return 0 <= other && other < team_.members && team_.knows(other, begun_ + taken + 1); }

   private:
    // With twice the slots training at 1x128x128, 16 to 128, whose steps have eight times as much, took 5 % longer, at 1x32x1024, 1 to 16, of 8 KB,
    // 2 % less (two cores of an EPYC whose second caches have a megabyte). Between these a judgment.
    static constexpr int64_t MOST_BYTES = 1 << 15;

    const Team& team_;
    const int64_t held_, begun_;
};
