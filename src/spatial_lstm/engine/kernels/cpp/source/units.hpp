// How the work is cut: a unit is one direction of a group of images. Units do not depend on one another, so threads need not wait for each
// other while there are units enough; and a group's states of one step stay in cache. Groups follow from the layer alone, never from the
// number of threads, so that neither do the sums that are taken over a unit's sites.
#pragma once

#include <algorithm>
#include <vector>

#include "layer.hpp"
#include "team.hpp"

struct Unit {
    int64_t index, direction, first, last;  // images first .. last
    int64_t steps;                          // up to the last that has a site
};

struct Span {
    int64_t begin, end;
    int64_t size() const { return end - begin; }
};

class Units {
   public:
    explicit Units(const Layer& layer) : layer_(layer) {
        std::vector<int64_t> ends(static_cast<std::size_t>(layer.images), 0);  // sites of all images up to each
        for (int64_t step = 0; step < layer.steps; ++step)
            for (int64_t image = 0; image < layer.images; ++image)
                ends[static_cast<std::size_t>(image)] += layer.bounds[step * layer.images + image + 1] - layer.bounds[step * layer.images];
        const int64_t groups = group_count(layer);
        std::vector<int64_t> cuts{0};
        for (int64_t group = 1; group < groups; ++group)
            cuts.push_back(std::upper_bound(ends.begin(), ends.end(), layer.sites * group / groups) - ends.begin());
        cuts.push_back(layer.images);
        cuts.erase(std::unique(cuts.begin(), cuts.end()), cuts.end());
        groups_ = static_cast<int64_t>(cuts.size()) - 1;
        for (int64_t d = 0; d < layer.directions; ++d)
            for (std::size_t group = 0; group + 1 < cuts.size(); ++group) add({count(), d, cuts[group], cuts[group + 1], layer.steps});
    }

    int64_t count() const { return static_cast<int64_t>(units_.size()); }
    int64_t groups() const { return groups_; }  // unit g + groups() d is direction d of group g
    int64_t widest() const { return widest_; }  // sites of a unit's largest step
    Span sites(const Unit& unit, int64_t step) const {
        const int64_t* bounds = layer_.bounds + step * layer_.images;
        return {bounds[unit.first], bounds[unit.last]};
    }

    // Run all units, whose work is that of `products` products with all weights, so that the last team is done soonest.
    template <class Run>
    void run(int64_t products, const Run& run) const {
        const int64_t work = products * layer_.sites / groups_ * layer_.blocks * layer_.hidden * columns(layer_);  // of a unit
        const int64_t threads = worthwhile(work * count()), members = team_size(work, threads);
        const int64_t teams = std::min(threads / members, count());
        std::atomic<int64_t> next{0};
        std::vector<int64_t> taken(static_cast<std::size_t>(teams));
        in_teams(teams, members, [&](const Team& team) {
            int64_t& unit = taken[static_cast<std::size_t>(team.number)];
            for (;;) {
                if (team.member == 0) unit = next.fetch_add(1, std::memory_order_relaxed);
                team.wait();
                const int64_t mine = unit;
                if (mine >= count()) return;
                team.wait();
                run(team, units_[static_cast<std::size_t>(mine)]);
                team.wait();
            }
        });
    }

    // Call work(first, last) with shares of 0 .. items on as many threads as their work, in multiplications, is worth.
    template <class Work>
    void share(int64_t items, int64_t cost, const Work& work) const {
        const int64_t threads = std::max<int64_t>(1, std::min(items, worthwhile(items * cost)));
        in_teams(1, threads, [&](const Team& team) { work(team.first(items), team.last(items)); });
    }

   private:
    static int64_t columns(const Layer& layer) { return layer.inputs + layer.axes * layer.hidden * (layer.weight_ch ? 2 : 1); }

    // Enough sites in a step to pay for reading the weights, which stream from the second cache or beyond.
    static int64_t group_count(const Layer& layer) {
        // Sites a step, at the least and for so many bytes of weights more each. Judged; at a quarter and four times of either training took as
        // long, within the noise of 5 % (geometric mean over the sizes of the layer's benchmark, one thread of a Xeon with AVX-512).
        constexpr int64_t LEAST_SITES = 16, BYTES_A_SITE = 1 << 15;
        // Each unit has its own sums of the weights' gradients, so there should not be many. On the same Xeon 32 images of 28 x 28 took a tenth
        // longer in 1 or 4 groups and gained nothing from more. Judged, for machines of as many cores.
        constexpr int64_t MOST_GROUPS = 16;
        const int64_t bytes = columns(layer) * layer.blocks * layer.hidden * static_cast<int64_t>(sizeof(float));
        const int64_t most = layer.sites / layer.steps / (LEAST_SITES + bytes / BYTES_A_SITE);
        int64_t groups = 1;  // a power of two, which most numbers of threads share out evenly
        while (2 * groups <= std::min({most, layer.images, MOST_GROUPS})) groups *= 2;
        return groups;
    }

    void add(Unit unit) {
        while (unit.steps > 1 && sites(unit, unit.steps - 1).size() == 0) --unit.steps;
        for (int64_t step = 0; step < unit.steps; ++step) widest_ = std::max(widest_, sites(unit, step).size());
        units_.push_back(unit);
    }

    // How many threads so many multiplications are worth.
    int64_t worthwhile(int64_t work) const {
        if (layer_.start_cost == 0) return layer_.threads;
        return std::max<int64_t>(1, std::min(layer_.threads, work / layer_.start_cost));
    }

    // Members of a team, for units of so much work each.
    int64_t team_size(int64_t work, int64_t threads) const {
        const auto cost = [&](int64_t members) {
            const int64_t teams = threads / members, rounds = (count() + teams - 1) / teams;
            return rounds * (work / members + (members > 1 ? layer_.steps * layer_.wait_cost : 0));
        };
        int64_t best = 1;
        for (int64_t members = 2; members <= threads; ++members)
            if (cost(members) < cost(best)) best = members;
        return best;
    }

    const Layer& layer_;
    int64_t groups_ = 0, widest_ = 0;
    std::vector<Unit> units_;
};
