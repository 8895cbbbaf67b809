"""Request weight of one client address: the minute's budget, 429 beyond it, 418 for those who go on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import define, frozen

from candleactors.model import MINUTE_MS
from candleactors.sim.counters import Counters

if TYPE_CHECKING:
    from candleactors.sim.binance.rules import BinanceRules

_LONGEST_BAN_S = 3 * 86_400.0


@frozen
class Verdict:
    """Whether a request is served: status 200, or 429 or 418 with the seconds to wait."""

    status: int
    used: int
    retry_after_s: int = 0
    banned_until_ms: int = 0


@define
class Weights:
    """The used weight of the current minute and who was told to wait until when. Synchronous, no clock."""

    rules: BinanceRules
    counters: Counters
    used: int = 0
    _minute: int = -1
    _wait_until_ms: int = 0
    _banned_until_ms: int = 0
    _ignored: int = 0
    _bans: int = 0

    def charge(self, weight: int, now_ms: int) -> Verdict:
        """Count a request of `weight` and return whether it is served."""
        minute = now_ms // MINUTE_MS
        if minute != self._minute:
            self._minute, self.used = minute, 0
        self.used += weight
        if now_ms < self._banned_until_ms or now_ms < self._wait_until_ms:
            self.counters.violation("told_to_wait")
            self._ignored += 1
            if now_ms >= self._banned_until_ms:
                if self._ignored < self.rules.ban_after:
                    return self._verdict(429, self._wait_until_ms, now_ms)
                self.ban(now_ms)
            return self._verdict(418, self._banned_until_ms, now_ms)
        self._ignored = 0
        if self.used > self.rules.weight_per_minute:
            self.counters.violation("weight")
            self.tell_to_wait((minute + 1) * MINUTE_MS)
            return self._verdict(429, self._wait_until_ms, now_ms)
        return Verdict(200, self.used)

    def refuse(self, status: int, wait_s: float, now_ms: int) -> Verdict:
        """Refuse a request with `status` whatever the budget, and tell the client to wait `wait_s`."""
        if now_ms < max(self._wait_until_ms, self._banned_until_ms):
            self.counters.violation("told_to_wait")
        until_ms = now_ms + int(wait_s * 1000)
        if status == 418:
            self._banned_until_ms = max(self._banned_until_ms, until_ms)
        else:
            self.tell_to_wait(until_ms)
        return self._verdict(status, until_ms, now_ms)

    def tell_to_wait(self, until_ms: int) -> None:
        """From now on, requests before `until_ms` disregard a Retry-After."""
        self._wait_until_ms = max(self._wait_until_ms, until_ms)

    def ban(self, now_ms: int) -> None:
        """Ban the address, for twice as long as the last time."""
        ban_s = min(self.rules.ban_s * 2**self._bans, _LONGEST_BAN_S)
        self._bans += 1
        self._ignored = 0
        self._banned_until_ms = now_ms + int(ban_s * 1000)

    def _verdict(self, status: int, until_ms: int, now_ms: int) -> Verdict:
        return Verdict(status, self.used, max(1, -(-(until_ms - now_ms) // 1000)), until_ms)
