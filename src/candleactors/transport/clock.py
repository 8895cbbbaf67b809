"""Clocks: what time it is, wall and monotonic."""

from __future__ import annotations

import time
from typing import Protocol

import trio
from attrs import frozen


class Clock(Protocol):
    """Two readings of time. Neither blocks."""

    def wall_ms(self) -> int:
        """Return UTC epoch milliseconds. May step, forwards or backwards, when the system clock is set."""
        ...

    def monotonic_s(self) -> float:
        """Return seconds that never step. Runs at the pace of Trio's clock, so that deadlines can be built on it."""
        ...


@frozen
class SystemClock:
    """The machine's clock."""

    def wall_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def monotonic_s(self) -> float:
        return trio.current_time()


@frozen
class VirtualClock:
    """A wall clock that runs on Trio's clock, from `epoch_ms` at Trio's time 0: for tests under `MockClock`."""

    epoch_ms: int

    def wall_ms(self) -> int:
        return self.epoch_ms + round(trio.current_time() * 1000)

    def monotonic_s(self) -> float:
        return trio.current_time()
