"""Rate windows: how long to wait so that no stretch of time holds more than a limit."""

from __future__ import annotations

from collections import deque


class RateWindow:
    """A sliding log of what was spent: never more than `limit` in any half-open stretch of `window_s` seconds.

    A venue that counts in fixed windows (calendar minutes) never sees more than `limit` in one of them either. `now`
    is monotonic seconds; a `now` before an earlier one counts as that earlier one. Nothing blocks.
    """

    def __init__(self, limit: int, window_s: float) -> None:
        if limit < 1 or window_s <= 0:
            raise ValueError(f"no rate: {limit} per {window_s} s")
        self.limit = limit
        self.window_s = window_s
        self._spent: deque[tuple[float, int]] = deque()
        self._used = 0
        self._now = float("-inf")
        self._blocked_until = float("-inf")

    def used(self, now: float) -> int:
        """Return what counts against the limit at `now`."""
        self._advance(now)
        return self._used

    def wait_s(self, now: float, cost: int = 1) -> float:
        """Return the seconds until `cost` may be spent, 0 if at once; raises `ValueError` if it never may."""
        if cost > self.limit:
            raise ValueError(f"a cost of {cost} never fits a limit of {self.limit}")
        self._advance(now)
        ready = max(self._now, self._blocked_until)
        excess = self._used + cost - self.limit
        for spent_at, spent in self._spent:
            if excess <= 0:
                break
            excess -= spent
            ready = max(ready, spent_at + self.window_s)
        return max(0.0, ready - now)

    def take(self, now: float, cost: int = 1) -> None:
        """Spend `cost`. Raises `ValueError` where `wait_s` is not 0."""
        if self.wait_s(now, cost) > 0:
            raise ValueError(f"a cost of {cost} does not fit now: {self._used} of {self.limit} are spent")
        self.note(now, cost)

    def note(self, now: float, cost: int = 1) -> None:
        """Count `cost` that was spent without asking, even beyond the limit."""
        self._advance(now)
        self._spent.append((self._now, cost))
        self._used += cost

    def observe(self, now: float, used: int) -> None:
        """Believe the other side's count where it is higher than ours: someone else spends from the same budget."""
        excess = used - self.used(now)
        if excess > 0:
            self.note(now, excess)

    def block_until(self, when: float) -> None:
        """Allow nothing before `when`. An earlier, longer block stays in force."""
        self._blocked_until = max(self._blocked_until, when)

    def blocked_s(self, now: float) -> float:
        """Return how many seconds of a block are left."""
        return max(0.0, self._blocked_until - now)

    def _advance(self, now: float) -> None:
        self._now = max(self._now, now)
        while self._spent and self._spent[0][0] + self.window_s <= self._now:
            self._used -= self._spent.popleft()[1]
