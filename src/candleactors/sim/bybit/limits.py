"""Requests of one client address: so many in a sliding window, and a ban beyond it."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from attrs import define, field

from candleactors.sim.counters import Counters

if TYPE_CHECKING:
    from candleactors.sim.bybit.rules import BybitRules


@define
class Limits:
    """When requests came, and who was told to wait until when. Synchronous, no clock."""

    rules: BybitRules
    counters: Counters
    _arrivals: deque[int] = field(factory=deque)
    _banned_until_ms: int = 0
    _wait_until_ms: int = 0

    def banned(self, now_ms: int) -> bool:
        """Count a request and return whether the address is banned, by this request or an earlier one."""
        if now_ms < self._banned_until_ms:
            self.counters.violation("told_to_wait")
            return True
        arrivals, window_ms = self._arrivals, int(self.rules.requests_window_s * 1000)
        while arrivals and not now_ms - window_ms < arrivals[0] <= now_ms:  # later ones: the clock was set back
            arrivals.popleft()
        arrivals.append(now_ms)
        if len(arrivals) <= self.rules.requests:
            return False
        self.counters.violation("request_rate")
        self.ban(self.rules.ban_s, now_ms)
        return True

    def wait_ms(self, now_ms: int) -> int:
        """Return how long a client was told to wait on, 0 for no longer; to ask before that is a violation."""
        if now_ms >= self._wait_until_ms:
            return 0
        self.counters.violation("told_to_wait")
        return self._wait_until_ms - now_ms

    def tell_to_wait(self, wait_s: float, now_ms: int) -> None:
        """From now on, requests in the next `wait_s` disregard what the client was told."""
        self._wait_until_ms = max(self._wait_until_ms, now_ms + int(wait_s * 1000))

    def ban(self, ban_s: float, now_ms: int) -> None:
        """Ban the address for `ban_s`."""
        self._banned_until_ms = max(self._banned_until_ms, now_ms + int(ban_s * 1000))
