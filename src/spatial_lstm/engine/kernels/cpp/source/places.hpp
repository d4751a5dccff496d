// Where sites lie, by arithmetic. In canonical coordinates q, which grow along the direction of travel, site q belongs to step
// s = q_0 + .. + q_{n-1}. Sites are numbered by (group of images, step, image, raster order of q), whatever the direction.
//
// The last two axes, a and b, are taken together: a *line* is what has the same image and the same coordinates on all other axes. At each
// step a line has a run of sites, one for each q_a of a range, whose numbers are q_a and the line's *origin*. So do their predecessors and
// successors: along a and b they are in the same line's run one step before or after, along another axis in the run of the line beside it.
#pragma once

#include <algorithm>
#include <cstring>
#include <vector>

#include "layer.hpp"
#include "units.hpp"
#include "vector.hpp"

// Places of some sites from number `begin` on, in the way of one direction.
struct Places {
    int32_t* table;             // (1 + 2 n, capacity)
    int64_t capacity, axes, begin;
    int64_t strides[MOST_AXES];  // raster rows from a site to the next along each axis

    int64_t raster(int64_t site) const { return table[site - begin]; }
    // Site of the step before along axis k, -1 - f for row f of the flattened near faces.
    int64_t pred(int64_t site, int64_t k) const { return row(1 + k)[site]; }
    // Site of the step after, -1 - f for row f of the flattened far faces.
    int64_t succ(int64_t site, int64_t k) const { return row(1 + axes + k)[site]; }
    int32_t* row(int64_t which) const { return table + which * capacity - begin; }  // by number of the site
    // Sites of the step before that some sites follow, and of the step after that follow some: from the first on, until after the last.
    Span preds(int64_t first, int64_t last) const { return reached(1, first, last); }
    Span succs(int64_t first, int64_t last) const { return reached(1 + axes, first, last); }
    static int64_t numbers(const Layer& layer, int64_t capacity) { return (1 + 2 * layer.axes) * capacity; }

   private:
    // Along each axis they come in the order of the sites.
    Span reached(int64_t which, int64_t first, int64_t last) const {
        Span found{INT64_MAX, 0};
        for (int64_t k = 0; k < axes; ++k) {
            const int32_t* const at = row(which + k);
            int64_t begin = first, end = last;
            while (begin < end && at[begin] < 0) ++begin;
            while (begin < end && at[end - 1] < 0) --end;
            if (begin < end) found = {std::min<int64_t>(found.begin, at[begin]), std::max<int64_t>(found.end, at[end - 1] + 1)};
        }
        return found;
    }
};

// Finds the places of a unit's sites, for one thread: line by line, or from those of a step before where all lines just move on.
class Walk {
   public:
    Walk(const Layer& layer, const Units& units, const Unit& unit) : layer_(layer), units_(units), unit_(unit) {
        for (int64_t k = layer.axes, stride = 1; k-- > 0; stride *= layer.extents[k]) strides_[k] = reverse(k) ? -stride : stride;
        for (int64_t image = unit.first; image < unit.last; ++image) add_lines(image);
        for (auto& origins : origins_) origins.resize(lines_.size());
        for (int64_t k = 0; k < layer.axes; ++k)
            if (layer.extents[k] > layer.extents[longest_]) longest_ = k;
        for (int64_t k = 0; k < layer.axes; ++k) rest_ += k == longest_ ? 0 : layer.extents[k] - 1;
    }

    // An empty window of `capacity` sites in `table`, from number `begin` on, for this unit's direction.
    Places window(int32_t* table, int64_t capacity, int64_t begin = 0) const {
        Places places{table, capacity, layer_.axes, begin, {}};
        std::copy_n(strides_, MOST_AXES, places.strides);
        return places;
    }

    // Fill in the sites first .. last of a step; soonest if they follow those of the call before.
    void find(int64_t step, int64_t first, int64_t last, const Places& to) {
        if (is_steady(step)) find_steady(step, first, last, to);
        else find_lines(step, first, last, to);
    }

   private:
    static constexpr int64_t L = LANES<float>;

    // Whether a step has sites at all coordinates on the axes but the longest, and on that at none that is its first or last.
    bool is_steady(int64_t step) const { return !layer_.sizes && rest_ < step && step < layer_.extents[longest_] - 1; }

    // From those of the first such step: from one to the next all sites move on by one along the longest axis, and with them the rows of faces. With
    // that training at 57x2x96, 3 to 2, took 0.86 of the time, inference 0.84; at 38x302x2, 8 to 21, 0.96 and 0.92 (one core of an EPYC).
    void find_steady(int64_t step, int64_t first, int64_t last, const Places& to) {
        const Span sites = units_.sites(unit_, step);
        const int64_t n = layer_.axes, capacity = round_up(sites.size(), L) + L;
        if (steady_.empty()) {
            steady_.resize(static_cast<std::size_t>(Places::numbers(layer_, capacity)));
            find_lines(step, sites.begin, sites.end, window(steady_.data(), capacity, sites.begin));
            first_steady_ = step;
        }
        const auto row = [&](int64_t which, int64_t each_site, int64_t each_face) {
            const int64_t steps = step - first_steady_;
            shift(steady_.data() + which * capacity + (first - sites.begin), last - first, static_cast<int32_t>(steps * each_site),
                  static_cast<int32_t>(steps * each_face), to.row(which) + first);
        };
        row(0, strides_[longest_], 0);
        for (int64_t k = 0; k < n; ++k) {
            int64_t along = reverse(longest_) ? -1 : 1;  // from a row of this axis' faces to the next
            for (int64_t j = longest_ + 1; j < n; ++j) along *= j == k ? 1 : layer_.extents[j];
            row(1 + k, sites.size(), -along);
            row(1 + n + k, sites.size(), -along);
        }
    }

    // Each number of a site and `site` more, but -1 - a row of a face and `face` more. There is a vector more than is read.
    static void shift(const int32_t* from, int64_t count, int32_t site, int32_t face, int32_t* to) {
        for (int64_t i = 0; i < count; i += L) {
            Integers v;
            std::memcpy(&v, from + i, sizeof(v));
            v += v < Integers{} ? face - Integers{} : site - Integers{};
            write(to + i, v, count - i);
        }
    }

    void find_lines(int64_t step, int64_t first, int64_t last, const Places& to) {
        for (int64_t near = std::max<int64_t>(0, step - 1); near < std::min(step + 2, unit_.steps); ++near) find_origins(near);
        if (step != step_ || first != next_) line_ = 0;
        step_ = step;
        next_ = last;
        for (; line_ < lines_.size(); ++line_) {
            const Line& line = lines_[line_];
            const int64_t origin = origins(step)[line_], end = line.last(step) + 1;
            const int64_t begin = std::max(line.first(step), first - origin);
            if (begin < std::min(end, last - origin)) find_run(line, step, begin, std::min(end, last - origin), to);
            if (origin + end > last) return;
        }
    }

    struct Line {
        int64_t image, a, b, before, raster;  // extents of the last two axes, sum of all other coordinates, raster row of q_a = q_b = 0
        int64_t q[MOST_AXES];                 // all other coordinates

        // Range of q_a at a step, empty where there is none.
        int64_t first(int64_t step) const { return std::max<int64_t>(0, step - before - b + 1); }
        int64_t last(int64_t step) const { return std::min(step - before, a - 1); }
    };

    bool reverse(int64_t k) const { return layer_.reverse[unit_.direction] >> k & 1; }
    int64_t others() const { return std::max<int64_t>(0, layer_.axes - 2); }

    void add_lines(int64_t image) {
        const int64_t* size = layer_.size(image);
        Line line{image, layer_.axes > 1 ? size[layer_.axes - 2] : 1, size[layer_.axes - 1], 0, 0, {}};
        for (;;) {
            line.raster = image * (layer_.raster_rows / layer_.images);
            line.before = 0;
            for (int64_t k = 0; k < layer_.axes; ++k) {
                line.raster += line.q[k] * strides_[k] - (reverse(k) ? (size[k] - 1) * strides_[k] : 0);
                line.before += line.q[k];
            }
            lines_.push_back(line);
            int64_t k = others();
            while (k-- > 0 && ++line.q[k] == size[k]) line.q[k] = 0;
            if (k < 0) return;
        }
    }

    int64_t* origins(int64_t step) { return origins_[step & 3].data(); }

    void find_origins(int64_t step) {
        if (found_[step & 3] == step) return;
        found_[step & 3] = step;
        int64_t number = units_.sites(unit_, step).begin;
        int64_t* to = origins(step);
        for (const Line& line : lines_) {
            const int64_t first = line.first(step);
            *to++ = number - first;
            number += std::max<int64_t>(0, line.last(step) + 1 - first);
        }
    }

    // Sites begin <= q_a < end of one line.
    void find_run(const Line& line, int64_t step, int64_t begin, int64_t end, const Places& to) {
        const int64_t n = layer_.axes, origin = origins(step)[line_], diagonal = step - line.before, *size = layer_.size(line.image);
        const int64_t across = n > 1 ? strides_[n - 2] - strides_[n - 1] : 0;
        count(to.row(0) + origin, begin, end, line.raster + diagonal * strides_[n - 1], across);
        for (int64_t k = 0, beside = 1; k < n; ++k) {
            int32_t *pred = to.row(1 + k) + origin, *succ = to.row(1 + n + k) + origin;
            if (k < n - 2) {
                beside = n == 4 && k == 0 ? size[1] : 1;
                if (line.q[k] > 0) count(pred, begin, end, origins(step - 1)[line_ - static_cast<std::size_t>(beside)]);
                else leave(pred, line, diagonal, begin, end, k);
                if (line.q[k] + 1 < size[k]) count(succ, begin, end, origins(step + 1)[line_ + static_cast<std::size_t>(beside)]);
                else leave(succ, line, diagonal, begin, end, k);
                continue;
            }
            const int64_t along = k == n - 2 ? 1 : 0;  // how q_a changes on the way
            const int64_t near = along ? 0 : diagonal, far = along ? line.a - 1 : diagonal - line.b + 1;
            if (step > 0) count(pred, begin, end, origins(step - 1)[line_] - along);
            if (step + 1 < unit_.steps) count(succ, begin, end, origins(step + 1)[line_] + along);
            if (begin <= near && near < end) leave(pred, line, diagonal, near, near + 1, k);
            if (begin <= far && far < end) leave(succ, line, diagonal, far, far + 1, k);
        }
    }

    static void count(int32_t* to, int64_t begin, int64_t end, int64_t start, int64_t each = 1) {
        const auto slope = static_cast<int32_t>(each);
        Integers v = static_cast<int32_t>(start + each * begin) + slope * LANE_NUMBERS;
        for (int64_t q = begin; q < end; q += L, v += slope * static_cast<int32_t>(L)) write(to + q, v, end - q);
    }

    // As many lanes as there are, or as are wanted.
    static void write(int32_t* to, Integers v, int64_t wanted) {
        if (wanted >= L) std::memcpy(to, &v, sizeof(v));
        else store_some(to, v, static_cast<int>(wanted));
    }

    // Sites of a line whose neighbor along axis k is on a face: -1 - its row.
    void leave(int32_t* to, const Line& line, int64_t diagonal, int64_t begin, int64_t end, int64_t k) const {
        const int64_t* size = layer_.size(line.image);
        for (int64_t q = begin; q < end; ++q) {
            int64_t at = line.image;
            for (int64_t j = 0; j < layer_.axes; ++j) {
                if (j == k) continue;
                const int64_t own = j == layer_.axes - 1 ? diagonal - q : j == layer_.axes - 2 ? q : line.q[j];
                at = at * layer_.extents[j] + (reverse(j) ? size[j] - 1 - own : own);
            }
            to[q] = static_cast<int32_t>(-1 - layer_.starts[k] - at);
        }
    }

    const Layer& layer_;
    const Units& units_;
    const Unit unit_;
    int64_t strides_[MOST_AXES] = {};
    std::vector<Line> lines_;
    std::vector<int64_t> origins_[4];  // of the lines at the steps found last
    int64_t found_[4] = {-1, -1, -1, -1};
    int64_t step_ = -1, next_ = 0;
    std::size_t line_ = 0;
    int64_t longest_ = 0, rest_ = 0;  // which axis, and the sum of the coordinates on all others at the most
    int64_t first_steady_ = 0;
    std::vector<int32_t> steady_;  // of its sites, as in Places
};
