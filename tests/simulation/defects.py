"""Defects: what a careless programmer could have done to the feed, each to be switched on around a simulation.

Every one is as small as a slip of the hand, sits where the real code decides the matter, and is gone with its context.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from decimal import Context, Decimal
from enum import Enum
from functools import wraps
from typing import Any, Final, TypeAlias

import trio
from attrs import frozen
from brief import NARROW

from candleactors.actors.aggregator import Aggregator
from candleactors.actors.backfill import Backfill
from candleactors.actors.budget import VenueBudget
from candleactors.actors.connection import Connection
from candleactors.actors.delivery import Delivery
from candleactors.actors.messages import Opened
from candleactors.actors.pool import Pool
from candleactors.actors.replay import StoredReplay
from candleactors.actors.rest import VenueRest
from candleactors.actors.sequencer import Sequencer
from candleactors.actors.store_writer import StoreWriter
from candleactors.actors.subscription import Subscription
from candleactors.core import window
from candleactors.core.continuity import Continuity
from candleactors.core.derivation import Derivation
from candleactors.core.passed_over import PassedOver
from candleactors.core.subscriptions import SubscriptionBook
from candleactors.core.window import Window
from candleactors.errors import StoreUnavailable
from candleactors.model import MINUTE_MS, Candle, Event, Stream

Patch: TypeAlias = Callable[[], AbstractContextManager[None]]


class Trouble(tuple[str, ...], Enum):
    """Acts that happen together in a plan: what one part of the feed is there for."""

    SOCKETS = ("drop", "reset", "shutdown", "silence", "stream-silence", "lost-close", "late-close", "duplicate")
    REST = ("silence", "lost-close", "rest-timeout", "rest-error", "rest-truncated")
    REPEATS = ("duplicate", "late-close")
    GAPS = ("restart", "rest-timeout", "silence", "lost-close")
    MARKET = ("correction", "halt", "drop", "lost-close")
    CLOCK = ("clock-step", "correction", "lost-close")
    LIVES = ("kill", "restart", "store-full", "lost-close", "late-close", "drop")
    ACTORS = ("crash", "lost-close", "rest-timeout")
    READERS = ("dawdle", "drop", "store-unreadable")
    LAGGARDS = ("dawdle", "correction")
    SEAMS = ("dawdle", "store-slow", "restart")
    BEHIND = ("crash", "store-full", "correction")
    LIMITS = (NARROW, "reset", "early-eof", "reject-handshake", "rest-truncated", "rest-error")
    CONTROL = ("watch", "unwatch", "drop", "shutdown", "late-ack", "lost-ack")


@frozen
class Defect:
    """`what` says what the programmer did, `breach` how a breach that it leads to reads: a regular expression.

    Of the first `within` plans with `trouble` one shows it.
    """

    what: str
    breach: str
    trouble: Trouble
    within: int
    patch: Patch


DEFECTS: Final[dict[str, Defect]] = {}


def defect(
    name: str, what: str, *, breach: str, trouble: Trouble, within: int = 1
) -> Callable[[Callable[[], Iterator[None]]], Patch]:
    """Register the decorated generator as what switches a defect on and off."""

    def register(patching: Callable[[], Iterator[None]]) -> Patch:
        patch = contextmanager(patching)
        DEFECTS[name] = Defect(what, breach, trouble, within, patch)
        return patch

    return register


@contextmanager
def replaced(owner: Any, name: str, make: Callable[[Any], Any]) -> Iterator[None]:
    """Have ``owner.name`` be what `make` makes of it, for a while."""
    original = getattr(owner, name)
    setattr(owner, name, wraps(original)(make(original)))
    try:
        yield
    finally:
        setattr(owner, name, original)


# -- the candle contract -----------------------------------------------------------------------------------------------


@defect(
    "forming-row-trusted",
    "Takes every row of a REST answer for closed, also the one whose interval is still running.",
    breach="is told as closed before it is over|is told as",
    trouble=Trouble.REST,
)
def _forming_row_trusted() -> Iterator[None]:
    def make(on_rows: Any) -> Any:
        def trusting(self: Continuity, fetch: Any, rows: list[Candle], now_s: float, venue_now_ms: int) -> Any:
            closed = [row.replace(closed=True) for row in rows]
            return on_rows(self, fetch, closed, now_s, venue_now_ms + 2 * MINUTE_MS)

        return trusting

    with replaced(Continuity, "on_rows", make):
        yield


@defect(
    "duplicate-taken-for-correction",
    "Says of a candle that comes again, say over the socket after REST, that it was corrected.",
    breach="says nothing new|is revision",
    trouble=Trouble.REPEATS,
)
def _duplicate_taken_for_correction() -> Iterator[None]:
    def make(reconsider: Any) -> Any:
        def gullible(self: Continuity, candle: Candle, now_s: float, events: list[Any], lagging: Any = None) -> None:
            known = self._delivered.told.get(candle.open_time_ms)
            if lagging is None and known is not None:
                self._revise(candle, events)
            else:
                reconsider(self, candle, now_s, events, lagging)

        return gullible

    with replaced(Continuity, "_reconsider", make):
        yield


@defect(
    "holes-ignored",
    "Delivers a closed candle as it comes, without a look at whether the one before it has come.",
    breach="leaves a hole",
    trouble=Trouble.REST,
    within=5,
)
def _holes_ignored() -> Iterator[None]:
    def make(on_closed: Any) -> Any:
        def hasty(self: Continuity, candle: Candle, now_s: float, horizon_ms: int) -> Any:
            if self.expected_ms is not None and candle.open_time_ms > self.expected_ms:
                self.expected_ms = candle.open_time_ms
            return on_closed(self, candle, now_s, horizon_ms)

        return hasty

    with replaced(Continuity, "on_closed", make):
        yield


@defect(
    "late-repair-thrown-away",
    "Has no use for a row of an interval that it has passed over.",
    breach="is still missing, and the venue has it",
    trouble=Trouble.REST,
)
def _late_repair_thrown_away() -> Iterator[None]:
    with replaced(PassedOver, "fill", lambda fill: lambda self, open_ms: False):
        yield


@defect(
    "held-lost-on-restart",
    "Has a sequencer that is restarted go on after the newest candle it knew of, and forget that it still held it.",
    breach="leaves a hole|was lost",
    trouble=Trouble.ACTORS,
    within=2,
)
def _held_lost_on_restart() -> Iterator[None]:
    def make(run: Any) -> Any:
        async def forgetful(self: Sequencer, context: Any) -> None:
            for continuity in self._followed.values():
                if continuity._known_ms is not None and continuity.expected_ms is not None:
                    self._delivered[continuity.stream] = continuity._known_ms
            await run(self, context)

        return forgetful

    with replaced(Sequencer, "run", make):
        yield


@defect(
    "in-hand-lost-on-restart",
    "Keeps what an aggregator is working on in the locals of a task that may fail.",
    breach="leaves a hole|was lost|never came|told is",
    trouble=Trouble.ACTORS,
    within=2,
)
def _in_hand_lost_on_restart() -> Iterator[None]:
    def make(run: Any) -> Any:
        async def forgetful(self: Aggregator, context: Any) -> None:
            self._in_hand, self._outbox = [], None
            await run(self, context)

        return forgetful

    with replaced(Aggregator, "run", make):
        yield


@defect(
    "clock-offset-ignored",
    "Decides by our own wall clock which rows are over.",
    breach="is told as|was told, and the venue has nothing|told is",
    trouble=Trouble.CLOCK,
)
def _clock_offset_ignored() -> Iterator[None]:
    def make(rows_of: Any) -> Any:
        async def by_our_clock(self: VenueRest, fetch: Any) -> Any:
            rows, _ = await rows_of(self, fetch)
            wall_ms = self._clock.wall_ms()
            return [row.replace(closed=row.next_open_time_ms <= wall_ms) for row in rows], wall_ms

        return by_our_clock

    with replaced(VenueRest, "rows", make):
        yield


@defect(
    "corrections-believed-never",
    "Throws away what REST says of a candle that was delivered already.",
    breach="told is",
    trouble=Trouble.MARKET,
)
def _corrections_believed_never() -> Iterator[None]:
    with replaced(Continuity, "_revise", lambda revise: lambda self, candle, events: None):
        yield


# -- derived candles ---------------------------------------------------------------------------------------------------


@defect(
    "flat-minute-counted",
    "Lets a minute without trades touch high and low.",
    breach="is told as|told is",
    trouble=Trouble.MARKET,
)
def _flat_minute_counted() -> Iterator[None]:
    def make(append: Any) -> Any:
        def counting(self: Window, candle: Candle | None, steps: int = 1) -> None:
            append(self, candle, steps)
            if candle is not None and not (candle.trades or candle.volume):
                self._push(len(self) - 1, candle.high, candle.low)

        return counting

    with replaced(Window, "append", make):
        yield


@defect(
    "sum-rounded",
    "Adds volumes up in a context of too few digits.",
    breach="is told as|told is",
    trouble=Trouble.MARKET,
)
def _sum_rounded() -> Iterator[None]:
    context = Context(prec=9)

    def make(_: Any) -> Any:
        def rounding(one: Decimal, other: Decimal) -> Decimal:
            return context.add(one, other)

        return rounding

    with replaced(window, "_add", make):
        yield


@defect(
    "correction-not-propagated",
    "Revises the minute and forgets what is made of it.",
    breach="told is",
    trouble=Trouble.MARKET,
)
def _correction_not_propagated() -> Iterator[None]:
    with replaced(Derivation, "_on_late", lambda on_late: lambda self, candle: []):
        yield


@defect(
    "incomplete-said-complete",
    "Calls every derived candle complete.",
    breach="is told as|told is",
    trouble=Trouble.REST,
)
def _incomplete_said_complete() -> Iterator[None]:
    def make(odd: Any) -> Any:
        def whole(self: Window, *args: Any) -> Candle | None:
            candle: Candle | None = odd(self, *args)
            return candle and candle.replace(missing=0, complete=candle.closed)

        return whole

    with replaced(Window, "_odd_candle", make):
        yield


# -- connections -------------------------------------------------------------------------------------------------------


@defect(
    "streams-forgotten",
    "Subscribes on a connection that replaces another only the first streams that come to hand.",
    breach="has not caught up|not healthy",
    trouble=Trouble.SOCKETS,
)
def _streams_forgotten() -> Iterator[None]:
    def make(init: Any) -> Any:
        def careless(self: Connection, shard: Any, deps: Any, websocket: Any) -> None:
            init(self, shard, deps, websocket)
            if shard.generation > 1 or shard.id > 1:
                aim = self._book.aim
                self._book.aim = lambda names: aim(list(names)[::2])  # type: ignore[method-assign]

        return careless

    with replaced(Connection, "__init__", make):
        yield


@defect(
    "old-acks-kept",
    "Has the book of subscriptions outlive its connection: what was acknowledged once counts on the next one.",
    breach="takes . for confirmed",
    trouble=Trouble.SOCKETS,
)
def _old_acks_kept() -> Iterator[None]:
    books: dict[int, SubscriptionBook] = {}

    def make(init: Any) -> Any:
        def keeping(self: Connection, shard: Any, deps: Any, websocket: Any) -> None:
            init(self, shard, deps, websocket)
            if shard.generation > 1:
                self._book = books[id(shard)]
            books[id(shard)] = self._book

        return keeping

    with replaced(Connection, "__init__", make):
        yield


@defect(
    "unsubscribe-forgotten",
    "Takes what nobody wants any more off its own list, and does not tell the venue.",
    breach="the feed knows of",
    trouble=Trouble.CONTROL,
)
def _unsubscribe_forgotten() -> Iterator[None]:
    def make(next_request: Any) -> Any:
        def silent(self: SubscriptionBook, now_s: float, most: int | None = None) -> Any:
            for name in list(self._to_leave):
                del self._to_leave[name]
                self._confirmed.pop(name, None)
            return next_request(self, now_s, most)

        return silent

    with replaced(SubscriptionBook, "next_request", make):
        yield


@defect(
    "old-connection-kept",
    "Forgets the old connection after a rotation instead of closing it.",
    breach="connections for",
    trouble=Trouble.CONTROL,
)
def _old_connection_kept() -> Iterator[None]:
    async def reconcile(self: Pool) -> None:
        plan, sources = self._interest.plan(self._venue), self._sources()
        planned = (*plan.active, *plan.retiring)
        for shard_id in [shard_id for shard_id in self.shards if shard_id not in planned]:
            self._forget(shard_id)
        await original(self)
        del sources

    original = Pool._reconcile
    with replaced(Pool, "_reconcile", lambda _: reconcile):
        yield


@defect(
    "task-leaked",
    "Leaves a task behind at every reconnect.",
    breach="tasks",
    trouble=Trouble.CONTROL,
)
def _task_leaked() -> Iterator[None]:
    def make(live: Any) -> Any:
        async def littering(self: Connection, stopping: trio.Event) -> None:
            trio.lowlevel.spawn_system_task(trio.sleep_forever)
            await live(self, stopping)

        return littering

    with replaced(Connection, "live", make):
        yield


@defect(
    "connects-unmetered",
    "Connects whenever it wants to.",
    breach="connect_rate",
    trouble=Trouble.LIMITS,
)
def _connects_unmetered() -> Iterator[None]:
    async def connect(self: VenueBudget, priority: int = 0) -> None:
        await trio.lowlevel.checkpoint()

    with replaced(VenueBudget, "connect", lambda _: connect):
        yield


@defect(
    "requests-unmetered",
    "Asks REST whenever it wants to.",
    breach="weight",
    trouble=Trouble.LIMITS,
)
def _requests_unmetered() -> Iterator[None]:
    async def rest(self: VenueBudget, weight: int, priority: int = 0, *, leisurely: bool = False) -> None:
        await trio.lowlevel.checkpoint()

    with replaced(VenueBudget, "rest", lambda _: rest):
        yield


@defect(
    "never-sleeps",
    "Looks whether there is something to do, over and over.",
    breach="time stands still",
    trouble=Trouble.SOCKETS,
)
def _never_sleeps() -> Iterator[None]:
    with replaced(Pool, "_next_look_s", lambda _: lambda self, now_s: 0.0):
        yield


@defect(
    "memory-lost",
    "Begins with what the store holds after a restart of the sequencer, though more was delivered.",
    breach="told is|is revision",
    trouble=Trouble.BEHIND,
    within=2,
)
def _memory_lost() -> Iterator[None]:
    def make(leave: Any) -> Any:
        def forgetful(self: Sequencer, continuity: Continuity) -> None:
            leave(self, continuity)
            self._memories.clear()

        return forgetful

    with replaced(Sequencer, "_leave", make):
        yield


# -- store and readers -------------------------------------------------------------------------------------------------


@defect(
    "write-error-swallowed",
    "Catches the error of a write and goes on as if all were stored.",
    breach="was told and is not stored|is stored with other values|is still missing|leaves a hole|told is",
    trouble=Trouble.LIVES,
    within=2,
)
def _write_error_swallowed() -> Iterator[None]:
    def make(write_batch: Any) -> Any:
        async def swallowing(self: StoreWriter) -> None:
            try:
                await write_batch(self)
            except StoreUnavailable:
                self._rows.clear()

        return swallowing

    with replaced(StoreWriter, "_write_batch", make):
        yield


@defect(
    "not-resumed",
    "Begins every life anew, whatever the store holds.",
    breach="leaves a hole|told is|still missing",
    trouble=Trouble.GAPS,
)
def _not_resumed() -> Iterator[None]:
    async def opened(self: Backfill, wish: Any) -> None:
        for stream in wish.streams:
            await self._answers.put(Opened(stream, None, (), ()))

    with replaced(Backfill, "_open", lambda _: opened):
        yield


@defect(
    "cut-off-not-told",
    "Drops what a slow reader has no room for, and tells nobody.",
    breach="leaves a hole|comes before anything else|never came",
    trouble=Trouble.READERS,
)
def _cut_off_not_told() -> Iterator[None]:
    with replaced(Subscription, "_cut_off", lambda _: lambda self, events: None):
        yield


@defect(
    "lost-revisions-forgotten",
    "Has the cursor of a reader that was cut off say where it stood, but not which revisions it lost.",
    breach="told is|is stored with other values",
    trouble=Trouble.LAGGARDS,
)
def _lost_revisions_forgotten() -> Iterator[None]:
    def make(cut_off: Any) -> Any:
        def forgetful(self: Subscription, events: Any) -> None:
            cut_off(self, events)
            self._lost_revisions.clear()

        return forgetful

    with replaced(Subscription, "_cut_off", make):
        yield


@defect(
    "told-twice",
    "Does not look whether what comes live was replayed from the store already.",
    breach="is repeated or out of order",
    trouble=Trouble.SEAMS,
    within=3,
)
def _told_twice() -> Iterator[None]:
    def make(news: Any) -> Any:
        def credulous(self: Subscription, stream: Stream, event: Event) -> list[Event]:
            news(self, stream, event)
            return [event]

        return credulous

    with replaced(Subscription, "_news", make):
        yield


@defect(
    "resumed-too-far",
    "Replays from after the candle that follows the cursor.",
    breach="leaves a hole|was lost|never came",
    trouble=Trouble.READERS,
)
def _resumed_too_far() -> Iterator[None]:
    def make(init: Any) -> Any:
        def off_by_one(self: StoredReplay, *args: Any, **kwargs: Any) -> None:
            init(self, *args, **kwargs)
            self._after = type(self._after)((s, s.timeframe.next_open(ms)) for s, ms in self._after)

        return off_by_one

    with replaced(StoredReplay, "__init__", make):
        yield


@defect(
    "forming-after-close",
    "Delivers a forming candle together with the closed one that overtook it.",
    breach="forming candle .* is repeated or out of order",
    trouble=Trouble.READERS,
)
def _forming_after_close() -> Iterator[None]:
    def offer(self: Subscription, delivery: Delivery) -> None:
        if len(delivery.events) + len(self._events) > self._settings.max_pending:
            original(self, delivery)
            return
        known = dict(self._forming)
        original(self, delivery)
        self._forming = known | self._forming

    original = Subscription.offer
    with replaced(Subscription, "offer", lambda _: offer):
        yield
