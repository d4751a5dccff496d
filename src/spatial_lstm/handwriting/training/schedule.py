"""How long a recognizer is trained at which rate."""

from __future__ import annotations

from spatial_lstm.training import Stage

WARMUP = 60
# Of the time, in which the rate stays at its highest; and what it falls to, as a fraction of that.
FLAT, LAST_RATE = 0.4, 0.02


def adamw(
    *,
    epochs: float = 50.0,
    steps: int | None = None,
    minutes: float | None = None,
    rate: float = 3e-3,
    batch: int = 4,
) -> list[Stage]:
    """One stage: a rate that rises for 60 steps, stays for 40 % of the time and then falls to 2 % of its height.

    Args:
        epochs: Passes over the lines, where neither steps nor minutes are given.
        steps: How many there are instead.
        minutes: How long it takes instead.
        rate: At its highest.
        batch: Lines a step.

    Raises:
        ValueError: If a value is out of range, or steps and minutes are both given.
    """
    return [
        Stage(
            optimizer="adamw",
            rate=rate,
            final_rate=LAST_RATE * rate,
            batch=batch,
            epochs=epochs,
            steps=steps,
            minutes=minutes,
            warmup=WARMUP if steps is None else min(WARMUP, steps // 10),
            flat=FLAT,
        )
    ]
