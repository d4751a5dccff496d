"""The lines of the worked example, section by section."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ..lattice import Point, at
from .example import Example, Unit, Values
from .notation import WIDTH, equation, factor, grid, number, paragraph, plus, substitute

# Sites; sums over more are not written out.
FEW = 9
# Of a table, that it fits.
COLUMNS = 8


def lines(example: Example) -> Iterator[str]:
    """All of it."""
    yield from _introduction(example)
    yield from _heading("Forward")
    for p in example.lattice.sites():
        yield from _forward(example, p)
    total = sum(example.values(p)["cost"].sum() for p in example.lattice.sites())
    yield from ("", f"Cost of all sites: {number(total)}")
    yield from _heading("Backward")
    yield from _what_is_handed_on(example)
    for p in reversed(example.lattice.sites()):
        yield from _backward(example, p)
    yield from _heading("Gradients of the image and the weights")
    yield from _of_the_image(example)
    yield from _of_the_weights(example)


def _heading(title: str) -> list[str]:
    return ["", f"== {title} ".ljust(WIDTH, "=")]


def _label(p: Point) -> str:
    """Counted from one, row first."""
    return f"({p[0] + 1},{p[1] + 1})"


def _introduction(example: Example) -> Iterator[str]:
    yield f"The cell {example.cell!r} in direction {example.lattice.direction!r}:"
    for name, words in example.words.forward.items():
        yield from equation(name, words)
    yield f"with s(z) = 1/(1 + exp(-z)){', w_0 = s(l_0)' if 'l_0' in example.blocks else ''};"
    yield f"h_0, c_0 from {example.side(0)}, h_1, c_1 from the {example.side(1)}, zero outside the image."
    yield from ("", "The image x:", *grid(example.result.given.x[0, 0]))
    yield from ("", "The gates before activation, with the weights:")
    for gate in example.weights:
        yield from equation(example.name(gate), example.words_of(example.entering(gate)))
    yield from ("", f"The cost of each site: (h - t)^2 / 2 with t = {number(example.target)}.")


def _forward(example: Example, p: Point) -> Iterator[str]:
    """Gates, c, h and cost of one site."""
    values = example.values(p)
    yield from ("", f"Site {_label(p)}: x = {number(values['x'][0])}")
    for k in range(2):
        before = example.lattice.predecessor(p, k)
        states = (f"{state}_{k} = {' '.join(map(number, values[f'{state}_{k}']))}" for state in "hc")
        yield f"  {example.side(k)}: {'outside' if before is None else _label(before)}, {', '.join(states)}"
    for j in example.features:
        late = [gate for gate in example.blocks if ("c", j) in example.weights[gate, j]]  # a peephole sees the new c
        yield from _gates(example, [gate for gate in example.blocks if gate not in late], values, j)
        for name, words in example.words.forward.items():
            yield from _worked(example, (name, j), [(words, _own(words, values, j))], values)
            if name == "c":
                yield from _gates(example, late, values, j)
        yield from _worked(example, ("cost", j), [("(h - t)*(h - t)/2", _own("(h - t)*(h - t)/2", values, j))], values)


def _gates(example: Example, gates: Iterable[str], values: Values, j: int) -> Iterator[str]:
    """Each before and after its activation."""
    for gate in gates:
        activated = example.blocks[gate]
        after = f"{example.name((activated, j))} = {number(values[activated][j])}"
        terms = example.numbers_of(example.entering((gate, j)), values)
        yield from equation(example.name((gate, j)), terms, f"{number(values[gate][j])},  {after}")


def _own(words: str, values: Values, j: int) -> str:
    """``words`` with the numbers of feature j."""
    return substitute(words, {name: value[j] for name, value in values.items() if len(value) > j})


def _worked(example: Example, unit: Unit, terms: Iterable[tuple[str, str]], values: Values) -> list[str]:
    """``c = s(i)*tanh(g) + .. = 0.5*0.2 + .. = 0.1``, from terms in words and numbers."""
    words, numbers = zip(*terms, strict=True)
    sides = (plus(words), plus(numbers), number(values[unit[0]][unit[1]]))
    return equation(example.name(unit), *dict.fromkeys(sides))  # what is 0 in words is 0 in numbers


def _what_is_handed_on(example: Example) -> Iterator[str]:
    """The sums over the gates, in symbols."""
    yield from paragraph(
        "d stands for the gradient of the cost: di is that of i, before activation. A site hands back through its gates, "
        "by the weights through which they saw them, to its input and to its predecessors' h:"
    )
    for unit in (("x", 0), *((f"h_{k}", j) for k in range(2) for j in example.features)):
        yield from equation("d" + example.name(unit), example.words_of(example.leaving(unit)))


def _backward(example: Example, p: Point) -> Iterator[str]:
    """All gradients of one site."""
    values, words = example.values(p), example.words.backward
    to_predecessors = ("dc_0", "dc_1")
    yield from ("", f"Site {_label(p)}")
    for j in example.features:
        arriving = [("h - t", _own("h - t", values, j)), *_handed_back(example, "h", p, j)]
        yield from _worked(example, ("dh", j), arriving, values)
        for name in words:
            if name not in to_predecessors:
                first = _handed_back(example, "c", p, j) if name == "dc" else []
                yield from _worked(example, (name, j), [*first, *_from_words(example, (name, j), values)], values)
    yield from _weighted(example, ("x", 0), values)
    for k in range(2):
        before = example.lattice.predecessor(p, k)
        yield f"  {example.side(k)}, to {_label(before) if before else 'the near face'}:"
        for j in example.features:
            yield from _weighted(example, (f"h_{k}", j), values)
            yield from _worked(example, (f"dc_{k}", j), _from_words(example, (f"dc_{k}", j), values), values)


def _handed_back(example: Example, state: str, p: Point, j: int) -> list[tuple[str, str]]:
    """What the successors gave back to h or c of p."""
    handed = getattr(example.gradients.sites, f"{state}_k")
    after = [(k, example.lattice.successor(p, k)) for k in range(2)]
    return [(f"d{example.name((f'{state}_{k}', j))}{_label(q)}", number(handed[at(0, q)][k, j])) for k, q in after if q]


def _from_words(example: Example, unit: Unit, values: Values) -> list[tuple[str, str]]:
    """The cell's equation for a gradient, and for that of a cell state what comes through weights besides."""
    (name, j), words = unit, example.words.backward[unit[0]]
    terms = example.leaving((name[1:], j)) if name.startswith("dc") else []
    weighted = (example.words_of(terms), example.numbers_of(terms, values))
    return [(words, _own(words, values, j)), weighted]


def _weighted(example: Example, unit: Unit, values: Values) -> list[str]:
    """The gradient of what entered gates through weights alone, in numbers."""
    numbers = example.numbers_of(example.leaving(unit), values)
    return equation("d" + example.name(unit), numbers, number(values["d" + unit[0]][unit[1]]))


def _of_the_image(example: Example) -> Iterator[str]:
    yield from ("Those of the image:", *grid(example.gradients.x[0, 0]))


def _of_the_weights(example: Example) -> Iterator[str]:
    """One gate's written out, then all of them."""
    gradients = example.table(example.gradients)
    gate = next(iter(gradients))
    yield ""
    yield from paragraph(
        "All sites share the weights, so a weight's gradient is a sum over the sites: the gradient of the gate that it "
        f"leads to, times what it is multiplied with (1 for the bias). Those that lead to {example.name(gate)}:"
    )
    if len(example.lattice.sites()) <= FEW:
        for unit, total in gradients[gate].items():
            yield from equation(example.name(unit), *_over_the_sites(example, gate, unit), number(total))
    order = ("x", "h_0", "h_1", "c_0", "c_1", "c", "1")
    units = sorted(
        {unit for row in gradients.values() for unit in row}, key=lambda unit: (order.index(unit[0]), unit[1])
    )
    for part in (units[first : first + COLUMNS] for first in range(0, len(units), COLUMNS)):
        yield from ("", " " * 8 + "".join(f"{example.name(unit):>11}" for unit in part))
        for row, entries in gradients.items():
            cells = (number(entries[unit]) if unit in entries else "" for unit in part)
            yield (f"  {example.name(row):<6}" + "".join(f"{cell:>11}" for cell in cells)).rstrip()


def _over_the_sites(example: Example, gate: Unit, unit: Unit) -> tuple[str, str]:
    """The gradient of the weight from ``unit`` to ``gate``, in words and numbers."""
    words, numbers = [], []
    for p in example.lattice.sites():
        values, here = example.values(p), _label(p)
        product = [("d" + gate[0], gate[1]), *([] if unit[0] == "1" else [unit])]
        words.append("*".join(example.name(one) + here for one in product))
        numbers.append("*".join(factor(values[symbol][j]) for symbol, j in product))
    return plus(words), plus(numbers)
