"""Progress bars, for those who look."""

from __future__ import annotations

import sys
from typing import Any, final

# What tqdm shows of a clock.
MINUTES = "{l_bar}{bar}| {n:.1f}/{total:.1f} min{postfix}"


def bar_maker() -> Any:
    """Return what makes bars; None where nobody would see one.

    Raises:
        ModuleNotFoundError: If tqdm is missing.
    """
    if not sys.stderr.isatty():
        return None
    try:
        from tqdm import tqdm
    except ModuleNotFoundError as error:
        wanted = 'pip install "spatial-lstm[demo]" or pip install tqdm, or do without (progress=False)'
        raise ModuleNotFoundError(f"expected tqdm to show progress: {wanted}", name="tqdm") from error
    return tqdm


@final
class Bar:
    """A progress bar on a terminal; nothing elsewhere, so that log files are not filled and tqdm is not needed.

    Args:
        total: Steps there are, if known.
        label: Before the bar.
        unit: Of the steps; ``"min"`` for minutes, of which no speed is shown.
        shown: False for none in any case.
        leave: Whether it stays when it is done.

    Raises:
        ModuleNotFoundError: If a bar is to be shown and tqdm is missing.
    """

    def __init__(
        self,
        total: float | None = None,
        *,
        label: str | None = None,
        unit: str = "step",
        shown: bool = True,
        leave: bool = True,
    ) -> None:
        make = bar_maker() if shown else None
        form = MINUTES if unit == "min" else None
        self._bar = make and make(total=total, desc=label, unit=unit, leave=leave, delay=0.1, bar_format=form)

    def move_to(self, done: float, total: float | None = None) -> None:
        """Show how many steps are done, and with ``total`` of how many."""
        if self._bar is not None:
            if total is not None:
                self._bar.total = total
            self._bar.update(done - self._bar.n)

    def say(self, text: str) -> None:
        """Show a text behind the bar."""
        if self._bar is not None:
            self._bar.set_postfix_str(text)

    def __enter__(self) -> Bar:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()
