// How the work is cut: a unit is one direction of a group of images. Units do not depend on one another, so threads need not wait for each
// other while there are units enough; and a group's states of one step stay in cache. Groups follow from the layer alone, never from the
// number of threads, so that neither do the sums that are taken over a unit's sites.
#pragma once

#include <algorithm>
#include <utility>
#include <vector>

#include "layer.hpp"
#include "team.hpp"

struct Unit {
    int64_t index, direction, group, first, last;  // images first .. last
    int64_t steps;                                 // up to the last that has a site
};

class Units {
   public:
    explicit Units(const Layer& layer) : layer_(layer) {
        std::vector<int64_t> ends;  // sites of all images up to each
        for (int64_t image = 0, sites = 0; image < layer.images; ++image) {
            int64_t product = 1, steps = 1;
            for (int64_t k = 0; k < layer.axes; ++k) {
                product *= layer.size(image)[k];
                steps += layer.size(image)[k] - 1;
            }
            ends.push_back(sites += product);
            steps_ = std::max(steps_, steps);
        }
        const int64_t groups = group_count();
        std::vector<int64_t> cuts{0};
        for (int64_t group = 1; group < groups; ++group)
            cuts.push_back(std::upper_bound(ends.begin(), ends.end(), layer.sites * group / groups) - ends.begin());
        cuts.push_back(layer.images);
        cuts.erase(std::unique(cuts.begin(), cuts.end()), cuts.end());
        groups_ = static_cast<int64_t>(cuts.size()) - 1;
        for (std::size_t group = 0; group + 1 < cuts.size(); ++group) offsets_.push_back(offsets(cuts[group], cuts[group + 1], cuts[group] ? ends[static_cast<std::size_t>(cuts[group]) - 1] : 0));
        for (int64_t d = 0; d < layer.directions; ++d)
            for (std::size_t group = 0; group + 1 < cuts.size(); ++group)
                units_.push_back({count(), d, static_cast<int64_t>(group), cuts[group], cuts[group + 1], static_cast<int64_t>(offsets_[group].size()) - 1});
    }

    int64_t count() const { return static_cast<int64_t>(units_.size()); }
    int64_t groups() const { return groups_; }  // unit g + groups() d is direction d of group g
    int64_t widest() const { return widest_; }  // sites of a unit's largest step
    // The numbers of a step's sites.
    Span sites(const Unit& unit, int64_t step) const {
        const int64_t* from = offsets_[static_cast<std::size_t>(unit.group)].data() + step;
        return {from[0], from[1]};
    }

    // Into how many parts the sites of each step are cut whose sums, of so many numbers, are taken apart: for threads that share a unit, so that
    // each sums over its own sites. From the layer alone, too. With two parts a thin line's training step on two threads took 0.93 of the time, and
    // as long on one; at 1x32x256, 16 to 64, with sums of 48,000 numbers, it took as long (two cores of an EPYC). How few sites a step and how many
    // units are still worth it was judged.
    int64_t parts(int64_t numbers) const {
        constexpr int64_t LEAST_SITES = 16, MOST_UNITS = 4, MOST_NUMBERS = 1 << 16;
        return count() <= MOST_UNITS && numbers <= MOST_NUMBERS && layer_.sites / steps_ / groups_ >= LEAST_SITES ? 2 : 1;
    }

    // Run all units, whose work is that of `products` products with all weights, so that the last team is done soonest.
    template <class Run>
    void run(int64_t products, const Run& run) const {
        const int64_t work = products * layer_.sites / groups_ * layer_.blocks * layer_.hidden * columns(layer_);  // of a unit
        const int64_t threads = worthwhile(work * count());
        const Teams best = best_teams(work, threads);
        const int64_t teams = std::min(threads / best.members, count());
        std::atomic<int64_t> next{0};
        std::vector<int64_t> taken(static_cast<std::size_t>(teams));
        in_teams(teams, best.members, [&](Team team) {
            team.by_features = best.by_features;
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
    int64_t group_count() const {
        // Sites a step, at the least and for so many bytes of weights more each. Judged; at a quarter and four times of either training took as
        // long, within the noise of 5 % (geometric mean over the sizes of the layer's benchmark, one thread of a Xeon with AVX-512).
        constexpr int64_t LEAST_SITES = 16, BYTES_A_SITE = 1 << 15;
        // Each unit has its own sums of the weights' gradients, so there should not be many. On the same Xeon 32 images of 28 x 28 took a tenth
        // longer in 1 or 4 groups and gained nothing from more. Judged, for machines of as many cores.
        constexpr int64_t MOST_GROUPS = 16;
        const int64_t bytes = columns(layer_) * layer_.blocks * layer_.hidden * static_cast<int64_t>(sizeof(float));
        const int64_t most = layer_.sites / steps_ / (LEAST_SITES + bytes / BYTES_A_SITE);
        int64_t groups = 1;  // a power of two, which most numbers of threads share out evenly
        while (2 * groups <= std::min({most, layer_.images, MOST_GROUPS})) groups *= 2;
        return groups;
    }

    // Where each step of a group begins, `start` being its first site, and where the last ends.
    std::vector<int64_t> offsets(int64_t first, int64_t last, int64_t start) {
        std::vector<int64_t> counts, found{start};
        for (int64_t image = first; image < last; ++image) {
            const std::vector<int64_t> own = diagonals(layer_.size(image));
            counts.resize(std::max(counts.size(), own.size()));
            const int64_t times = layer_.sizes ? 1 : last - first;  // where all are alike, one stands for them
            for (std::size_t step = 0; step < own.size(); ++step) counts[step] += times * own[step];
            if (!layer_.sizes) break;
        }
        for (const int64_t sites : counts) {
            found.push_back(found.back() + sites);
            widest_ = std::max(widest_, sites);
        }
        return found;
    }

    // Sites of each step of one image: axis by axis, a sum over as many of the steps so far as the axis is long.
    std::vector<int64_t> diagonals(const int64_t* size) const {
        std::vector<int64_t> counts{1};
        for (int64_t k = 0; k < layer_.axes; ++k) {
            const std::vector<int64_t> shorter = std::move(counts);
            const auto length = static_cast<std::size_t>(size[k]);
            counts.assign(shorter.size() + length - 1, 0);
            int64_t sum = 0;
            for (std::size_t step = 0; step < counts.size(); ++step) {
                if (step < shorter.size()) sum += shorter[step];
                if (step >= length) sum -= shorter[step - length];
                counts[step] = sum;
            }
        }
        return counts;
    }

    // How many threads so many multiplications are worth.
    int64_t worthwhile(int64_t work) const {
        if (layer_.start_cost == 0) return layer_.threads;
        return std::max<int64_t>(1, std::min(layer_.threads, work / layer_.start_cost));
    }

    // How many members a team has, and what they share out.
    struct Teams {
        int64_t members;
        bool by_features;
    };

    // What takes least, for units of so much work each. Reading the weights takes a step as long as products of one site, and of one more for each
    // million of them; members that share out features do not all read all. But these wait for all others twice a step, and hand over what they
    // multiplied. On two threads images of one to five rows of 64 to 256 features took 0.58 to 0.89 of the time of one thread so; 12x200 of 512 features
    // 0.84 and 0.88, 16x16 of 1,024 0.58 and 0.75 of the time of two that share out sites; 10x300 of 64 features would have taken 1.07 times as long,
    // 64x64 1.15 (two cores of an EPYC with AVX2).
    // Two that share out sites should find two each in a step: images of 5 to 12 rows, from 48 features on, then took 0.57 to 0.78 of the time of one
    // (same EPYC). More should find a product's worth of sites or features each, for fewer take nearly as long: a judgment, for machines of more cores
    // than the two that it could be tried on.
    Teams best_teams(int64_t work, int64_t threads) const {
        constexpr int64_t OF_TWO = 2, OF_MORE = 6, FEATURES = 24;
        const int64_t sites = layer_.sites / steps_ / groups_, gates = layer_.blocks * layer_.hidden, a_site = gates * columns(layer_);
        const int64_t reading = a_site + (a_site >> 10) * (a_site >> 10);
        const auto rounds = [&](int64_t members) { return (count() + threads / members - 1) / (threads / members); };
        Teams best{1, false};
        int64_t least = rounds(1) * (work + steps_ * reading);
        const auto consider = [&](Teams teams, int64_t cost) {
            if (rounds(teams.members) * cost < least) best = teams, least = rounds(teams.members) * cost;
        };
        for (int64_t members = 2; members <= threads; ++members) {
            const int64_t worth = members == 2 ? OF_TWO : OF_MORE;
            if (sites >= members * worth || !layer_.wait_cost) consider({members, false}, work / members + steps_ * (reading + layer_.wait_cost));
            if (layer_.hidden < members * FEATURES && layer_.wait_cost) continue;
            const int64_t handing_over = sites * gates * layer_.exchange_cost;
            consider({members, true}, (work + steps_ * (reading + handing_over)) / members + steps_ * members * layer_.wait_cost);
        }
        return best;
    }

    const Layer& layer_;
    int64_t steps_ = 1, groups_ = 0, widest_ = 0;
    std::vector<std::vector<int64_t>> offsets_;  // of each group
    std::vector<Unit> units_;
};
