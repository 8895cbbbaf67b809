"""The scheduler of simulations: virtual time, and tasks in an order that a seed decides."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, cast

import trio
from attrs import define
from trio.testing import MockClock

T = TypeVar("T")


def seed_scheduler(seed: int) -> None:
    """Have Trio run tasks in an order that depends on nothing but `seed`; it has no public way to ask for that."""
    scheduler: Any = trio._core._run
    scheduler._ALLOW_DETERMINISTIC_SCHEDULING = True
    scheduler._r.seed(seed)


def run_virtual(main: Callable[[], Awaitable[T]], seed: int) -> T:
    """Run `main` in virtual time, which passes as fast as the machine allows, and return what it returns. Blocks."""
    # Before anything else, since the scheduler draws before the first task gets to run.
    seed_scheduler(seed)
    return trio.run(main, clock=MockClock(autojump_threshold=0))


def virtual_clock() -> MockClock:
    """Return the clock of the running simulation; raises `RuntimeError` where time is real."""
    clock = trio.lowlevel.current_clock()
    is_virtual = isinstance(clock, MockClock)
    if not is_virtual:
        raise RuntimeError("a simulated feed needs virtual time: use the fixture autojump_clock, or run_simulated")
    return cast(MockClock, clock)


async def wait_for(condition: Callable[[], bool], at_most_s: float) -> None:
    """Return as soon as `condition` is met, in the midst of what meets it, or `at_most_s` later.

    Virtual time stands still while messages go from task to task: whoever sleeps never sees any of them on its way.
    """
    met = trio.Event()

    class Look(trio.abc.Instrument):
        def after_task_step(self, task: trio.lowlevel.Task) -> None:
            if not met.is_set() and condition():
                met.set()

    look = Look()
    trio.lowlevel.add_instrument(look)
    try:
        with trio.move_on_after(at_most_s):
            await met.wait()
    finally:
        trio.lowlevel.remove_instrument(look)


class Standstill(trio.abc.Instrument):
    """Tells when tasks go on and on and time does not: some of them wait for nothing, and would take a whole core."""

    def __init__(self, on_standstill: Callable[[], None], *, rounds: int = 100_000) -> None:
        self._on_standstill = on_standstill
        self._most = rounds
        self._rounds = 0
        self._at_s = 0.0

    def before_io_wait(self, timeout: float) -> None:
        now_s = trio.current_time()
        if now_s != self._at_s:
            self._rounds, self._at_s = 0, now_s
        self._rounds += 1
        if self._rounds == self._most:
            self._on_standstill()


@define
class SteppedClock:
    """A wall clock on Trio's clock that can be set; see `candleactors.transport.clock.Clock`."""

    epoch_ms: int
    step_ms: int = 0
    """By how much it is ahead of the truth."""

    def true_ms(self) -> int:
        """Return the time that it really is, UTC milliseconds."""
        return self.epoch_ms + round(trio.current_time() * 1000)

    def wall_ms(self) -> int:
        return self.true_ms() + self.step_ms

    def monotonic_s(self) -> float:
        return trio.current_time()
