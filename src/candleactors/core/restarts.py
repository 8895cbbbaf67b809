"""Restart intensity: how many failures in a while are too many."""

from __future__ import annotations

from collections import deque


class RestartWindow:
    """A sliding window of `window_s` seconds that allows `max_restarts` restarts."""

    def __init__(self, max_restarts: int, window_s: float) -> None:
        self.max_restarts = max_restarts
        self.window_s = window_s
        self._times: deque[float] = deque()

    def allow(self, now: float) -> bool:
        """Count a failure at `now` and return whether it may still be answered with a restart.

        `now` never decreases from call to call. A failure exactly `window_s` ago no longer counts.
        """
        self._times.append(now)
        while self._times[0] <= now - self.window_s:
            self._times.popleft()
        return len(self._times) <= self.max_restarts
