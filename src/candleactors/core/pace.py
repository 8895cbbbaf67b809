"""Pace: how long to wait so that no more than so many rows a second are written."""

from __future__ import annotations

import math


class Pace:
    """Lets a write begin once those before it have taken as long as their rows may take, at `rows_per_s`.

    Nothing is saved up: after a quiet hour there is no burst. ``None`` stands for any speed. `now` is monotonic
    seconds; nothing blocks.
    """

    def __init__(self, rows_per_s: float | None) -> None:
        self.rows_per_s = rows_per_s
        self._free_s = -math.inf

    def most(self, rows: int) -> int:
        """Return how many of `rows` one write should be of: what one second allows, and one row at least."""
        return rows if self.rows_per_s is None else max(1, min(rows, int(self.rows_per_s)))

    def wait_s(self, now: float) -> float:
        """Return the seconds until the next write may begin, 0 if at once."""
        return max(0.0, self._free_s - now)

    def note(self, now: float, rows: int) -> None:
        """Take notice that so many `rows` were written."""
        if self.rows_per_s is not None:
            self._free_s = max(self._free_s, now) + rows / self.rows_per_s
