"""Budgets: who may connect, ask or send when.

A venue counts per address, so everything that leaves for it asks one `VenueBudget`. These are passive objects, not
tasks: a caller waits in line inside its own task, and cancelling the caller takes it out of the line without a trace.
There is nothing to start, to restart or to stop, and nothing is lost when an actor that waits here dies.
"""

from __future__ import annotations

from bisect import insort
from itertools import count

import trio
from attrs import frozen

from candleactors.core.rate import RateWindow

DEFAULT_WAIT_S = {429: 60.0, 418: 120.0}
"""How long REST rests after a refusal without Retry-After, by status. Doubled for each one in a row."""
MAX_DEFAULT_WAIT_S = 3600.0
JITTER_MARGIN_S = 0.2
"""What is sent evenly may arrive bunched: our windows are so much longer than the venue's."""


@frozen
class BudgetStatus:
    """A venue budget at one moment. Waiting counts are callers standing in line."""

    rest_used: int
    rest_limit: int
    rest_waiting: int
    rest_blocked_s: float
    connects_used: int
    connects_limit: int
    connects_waiting: int


class VenueBudget:
    """The connects and the REST weight of one venue, metered in one place."""

    def __init__(self, *, connects: int, connects_window_s: float, rest_weight: int, rest_window_s: float) -> None:
        self._connects = _Line(RateWindow(connects, connects_window_s + JITTER_MARGIN_S))
        self._rest = _Line(RateWindow(rest_weight, rest_window_s + JITTER_MARGIN_S))
        self._refusals = 0

    async def connect(self, priority: int = 0) -> None:
        """Wait until one more connection may be opened, and count it. Higher priority first, then first come."""
        await self._connects.spend(1, priority)

    async def rest(self, weight: int, priority: int = 0, *, leisurely: bool = False) -> None:
        """Wait until `weight` may be spent, and count it. Higher priority first, then first come.

        What is `leisurely` leaves a third of the budget to what is not. Raises `ValueError` if `weight` exceeds what
        the venue allows in a whole window.
        """
        limit = self._rest.window.limit
        await self._rest.spend(weight, priority, keep=max(0, min(limit // 3, limit - weight)) if leisurely else 0)

    def on_answer(self, used_weight: int | None) -> None:
        """Note an answer the venue did not refuse, and its own count of the current window where it gave one."""
        self._refusals = 0
        if used_weight is not None:
            self._rest.window.observe(trio.current_time(), used_weight)

    def on_rate_limited(self, retry_after_s: float | None, status: int = 429) -> None:
        """Note a refusal with 429 or 418: no REST until Retry-After, or a default that doubles, is over."""
        now = trio.current_time()
        if retry_after_s is None or retry_after_s <= 0:
            if self._rest.window.blocked_s(now) > 0:
                return  # requests that were under way together are refused together: one refusal
            retry_after_s = min(DEFAULT_WAIT_S.get(status, 60.0) * 2**self._refusals, MAX_DEFAULT_WAIT_S)
            self._refusals += 1
        self._rest.window.block_until(now + retry_after_s)

    def status(self) -> BudgetStatus:
        """Return what is spent and who waits."""
        now = trio.current_time()
        return BudgetStatus(
            rest_used=self._rest.window.used(now),
            rest_limit=self._rest.window.limit,
            rest_waiting=len(self._rest),
            rest_blocked_s=self._rest.window.blocked_s(now),
            connects_used=self._connects.window.used(now),
            connects_limit=self._connects.window.limit,
            connects_waiting=len(self._connects),
        )


class MessageBudget:
    """The messages of one connection, and the names it subscribes and unsubscribes where the venue counts them.

    Pongs are sent without asking, so one message of the limit is kept for them.
    """

    def __init__(self, messages_per_s: float, names: int | None = None, names_window_s: float = 3600.0) -> None:
        self._line = _Line(RateWindow(max(1, int(messages_per_s) - 1), 1.0 + JITTER_MARGIN_S))
        self._names = None if names is None else RateWindow(names, names_window_s)

    async def send_slot(self) -> None:
        """Wait until one message may be sent, and count it. First come, first served."""
        await self._line.spend(1, 0)

    async def names_slot(self) -> None:
        """Wait until one name more may be subscribed or unsubscribed. Counts nothing, and has one caller."""
        await trio.lowlevel.checkpoint()
        while self._names is not None:
            wait_s = self._names.wait_s(trio.current_time())
            if wait_s <= 0:
                return
            await trio.sleep(wait_s)  # and look again: what rounding leaves of a wait is still no room

    @property
    def names_left(self) -> int | None:
        """How many names may be subscribed or unsubscribed now; ``None`` where nobody counts."""
        return None if self._names is None else self._names.limit - self._names.used(trio.current_time())

    def note_names(self, names: int) -> None:
        """Count names that were subscribed or unsubscribed."""
        if self._names is not None:
            self._names.note(trio.current_time(), names)

    def note_pong(self, pongs: int = 1) -> None:
        """Count pongs that were sent."""
        self._line.window.note(trio.current_time(), pongs)


class _Line:
    """Callers waiting for one `RateWindow`. Only the head of the line looks at it; the others wait for its place."""

    def __init__(self, window: RateWindow) -> None:
        self.window = window
        self._tickets: list[tuple[int, int]] = []
        self._numbers = count()
        self._moved = trio.lowlevel.ParkingLot()

    def __len__(self) -> int:
        return len(self._tickets)

    async def spend(self, cost: int, priority: int, keep: int = 0) -> None:
        await trio.lowlevel.checkpoint()
        ticket = (-priority, next(self._numbers))
        insort(self._tickets, ticket)
        try:
            while True:
                if self._tickets[0] != ticket:
                    await self._moved.park()
                elif (wait_s := self.window.wait_s(trio.current_time(), cost + keep)) > 0:
                    await trio.sleep(wait_s)
                else:
                    self.window.take(trio.current_time(), cost)
                    return
        finally:
            self._tickets.remove(ticket)
            self._moved.unpark_all()
