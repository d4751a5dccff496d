"""Check that products keep sums and weights in registers: with vectors on the stack they take a quarter longer, and no test would say it.

python .ci/registers.py LIBRARY_OR_WHEEL...    compiled for x86-64
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

# Functions whose innermost loops hold sums in registers, and a vector's way to the stack.
FUNCTION = re.compile(r"^[0-9a-f]+ <.*\b(product<.*|WeightGradient<.*>::add_up<\d+, \d+>)\(.*>:$")
WRITES = re.compile(r"\tvmov(?:[au]p[sd]|dq\w*) +%[yz]mm\d+,-?[0-9a-fx]*\(%r[sb]p\)")


def stores(library: Path) -> dict[str, int]:
    """How often each of these functions of a library writes a vector to the stack."""
    listing = subprocess.run(
        ["objdump", "-d", "--no-show-raw-insn", "-C", str(library)], capture_output=True, text=True, check=True
    ).stdout
    found: dict[str, int] = {}
    name = None
    for line in listing.splitlines():
        if line.endswith(">:"):
            match = FUNCTION.match(line)
            name = match[1] if match else None
            if name is not None:
                found[name] = 0
        elif name is not None and WRITES.search(line):
            found[name] += 1
    return found


def main() -> None:
    """Check each library, and each of each wheel."""
    with tempfile.TemporaryDirectory() as scratch:
        libraries = []
        for argument in map(Path, sys.argv[1:]):
            if argument.suffix == ".whl":
                with zipfile.ZipFile(argument) as wheel:
                    names = [name for name in wheel.namelist() if "/prebuilt/" in name and name.endswith(".so")]
                    libraries += [Path(wheel.extract(name, scratch)) for name in names]
            else:
                libraries.append(argument)
        if not libraries:
            sys.exit("expected libraries, or wheels that bring some")
        for library in libraries:
            found = stores(library)
            if not found:
                sys.exit(f"{library.name}: expected products by name, found none; was it stripped?")
            spilled = {name: count for name, count in found.items() if count}
            print(f"{library.name}: {len(found)} products, {len(spilled)} of them write vectors to the stack")
            if spilled:
                sys.exit("\n".join(f"{count:4d} {name}" for name, count in sorted(spilled.items())))


if __name__ == "__main__":
    main()
