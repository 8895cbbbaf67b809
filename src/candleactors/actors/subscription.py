"""Subscriptions: one reader's view of the feed."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping
from types import MappingProxyType, TracebackType
from typing import Protocol

import trio
from attrs import evolve

from candleactors.actors.delivery import Delivery, Forming
from candleactors.actors.forming import FormingCandles
from candleactors.actors.replay import retold
from candleactors.errors import FeedClosed, MalformedMessage, SubscriberLagged
from candleactors.model import Candle, Cursor, Event, Gap, GapReason, Revision, Stream
from candleactors.settings import SubscriberSettings


class Replay(Protocol):
    """Stored events that come before live ones."""

    @property
    def cursor(self) -> Cursor:
        """Where it starts."""
        ...

    async def batch(self) -> list[tuple[Stream, Event]]:
        """Return the next stored events, in order per stream; an empty list at the end."""
        ...


class Subscription:
    """An iterator over the candles, gaps and revisions of some streams.

    Closed candles, gaps and revisions arrive once and in order per stream. Forming candles, where asked for, are
    conflated: of each stream the newest, at most every ``conflate_s``. A reader that leaves more than ``max_pending``
    events lying is cut off: the next read raises `SubscriberLagged`, whose cursor resumes without loss.

    Ends with `StopAsyncIteration` when the feed stops in order. One task reads. Forget it or `close` it when done; it
    is an async context manager too.
    """

    def __init__(
        self,
        streams: Iterable[Stream] | None,
        settings: SubscriberSettings,
        *,
        forming: bool = False,
        replay: Replay | None = None,
        positions: Mapping[Stream, int] = MappingProxyType({}),
        life: int = 0,
        now_ms: Callable[[], int] = lambda: 0,
        to_candle: Callable[[Stream, Forming], Candle | None] | None = None,
    ) -> None:
        """`streams` selects, ``None`` takes all. Cursors say that they are of this `life` and taken at `now_ms`.

        `positions` are where the streams stand now: a reader that goes before the first candle has missed what follows.

        `to_candle` makes forming candles, for all readers together; it raises `MalformedMessage` for impossible ones.
        """
        self._streams = None if streams is None else dict.fromkeys(streams)  # unlike a set, always in the same order
        self._settings = settings
        self._wants_forming = forming
        self._life = life
        self._now_ms = now_ms
        self._to_candle = to_candle or FormingCandles().to_candle
        self._replay = replay
        self._events: deque[tuple[Stream, Event]] = deque()
        self._forming: dict[Stream, Forming] = {}
        self._forming_at_s = -math.inf
        # Where the reader stands: also at streams that a replay has not come to yet.
        self._began_after: dict[Stream, int] = {} if replay is None else dict(replay.cursor.after)
        self._given = {**positions, **self._began_after}
        self._owed = () if replay is None else replay.cursor.revised  # revisions that the replay begins with
        self._again: dict[Stream, int] = {}  # see `Cursor.again`
        if replay is not None:
            self._again = dict(replay.cursor.again)
            if replay.cursor.life != life:
                self._again = dict.fromkeys(replay.cursor.after, replay.cursor.taken_ms) | self._again
        self._replaying: trio.CancelScope | None = None
        self._ready: deque[Event] = deque()  # taken by `batch` for the iterator, not yet yielded
        self._wake = trio.Event()
        self._asleep_until_s = -math.inf
        # Of a reader that was cut off: how much it lost, the first of it in each stream, and the revisions among it.
        self._lost = 0
        self._lost_first: dict[Stream, int] = {}
        self._lost_revisions: dict[tuple[Stream, int], None] = {}
        self._ended = False
        self.news = 0
        """How much of what is told to readers that resume this one was offered; see `Cursor.news`."""
        self.malformed = 0
        """Forming candles that turned out to be impossible and were left out."""

    @property
    def streams(self) -> Collection[Stream] | None:
        """What was chosen, in this order; ``None`` means everything."""
        return None if self._streams is None else self._streams.keys()

    @property
    def replaying(self) -> bool:
        """Whether what comes next is from the store."""
        return self._replay is not None

    @property
    def pending(self) -> int:
        """Events waiting to be read, forming candles aside."""
        return len(self._events)

    @property
    def fullness(self) -> float:
        """Share of ``max_pending`` that waits."""
        return len(self._events) / self._settings.max_pending

    def wants_forming(self, stream: Stream) -> bool:
        """Whether this reader is to be given the forming candles of `stream`."""
        return self._wants_forming and self.live and (self._streams is None or stream in self._streams)

    def spell(self, stream: Stream, own: Stream) -> None:
        """Deliver `own` where `stream` was chosen: the same in another spelling."""
        if self._streams is not None and stream in self._streams:
            self._streams = dict.fromkeys(own if chosen == stream else chosen for chosen in self._streams)

    @property
    def live(self) -> bool:
        """Whether the feed still delivers here."""
        return not self._ended and not self._lost

    @property
    def lagged(self) -> bool:
        """Whether the reader was cut off."""
        return self._lost > 0

    @property
    def cursor(self) -> Cursor:
        """How far this reader has come; pass it as ``after=`` to a later `feed.candles`."""
        after = dict(self._given)
        for stream, first_ms in self._lost_first.items():
            after.setdefault(stream, stream.timeframe.previous_open(first_ms))
        waiting = (*self._ready, *(event for _, event in self._events))
        revised = [key for event in waiting if (key := self._revises(event)) is not None]
        missed = dict.fromkeys((*self._owed, *self._lost_revisions, *revised))
        for event in reversed(self._ready):
            if isinstance(event, Gap) or (isinstance(event, Candle) and event.closed):
                after[event.stream] = event.stream.timeframe.previous_open(_first(event))
        missed_before = tuple(key for key in missed if key[1] <= after.get(key[0], -1))
        again = {stream: ms for stream, ms in self._again.items() if after[stream] <= self._began_after[stream]}
        return Cursor(after, missed_before, self._life, self.news, self._now_ms(), again)

    async def batch(self) -> list[Event]:
        """Return everything that is ready, at least one event, waiting for the first. A checkpoint.

        Raises `SubscriberLagged` after the reader fell behind, `FeedClosed` once the feed has stopped and everything
        was read (a replay going on then is broken off), and `StoreUnavailable` where a replay cannot be read now.
        """
        await trio.lowlevel.checkpoint()
        while True:
            if self._lost:
                raise SubscriberLagged(f"fell {self._lost} events behind and was cut off", self.cursor)
            if self._replay is not None:
                if replayed := await self._read(self._replay):
                    return replayed
                continue
            if ready := self._take():
                return ready
            if self._ended:
                raise FeedClosed("the feed has stopped")
            self._asleep_until_s = self._forming_due_s() if self._forming else math.inf
            with trio.move_on_at(self._asleep_until_s):
                await self._wake.wait()
            self._asleep_until_s = -math.inf
            self._wake = trio.Event()

    def __aiter__(self) -> Subscription:
        return self

    async def __anext__(self) -> Event:
        if not self._ready:
            try:
                self._ready.extend(await self.batch())
            except FeedClosed:
                raise StopAsyncIteration from None
        else:
            await trio.lowlevel.checkpoint_if_cancelled()
        return self._ready.popleft()

    async def __aenter__(self) -> Subscription:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop receiving; what was not read is dropped. Idempotent."""
        self._events.clear()
        self._forming.clear()
        self.end()

    # -- the hub's side ---------------------------------------------------------------------------------------------

    def offer(self, delivery: Delivery) -> None:
        """Take in what concerns this reader. Never blocks; cuts the reader off instead."""
        streams, forming = self._streams, self._forming
        events = delivery.events
        if events and streams is not None:
            events = delivery.events_of(streams)
        if events:
            if len(self._events) + len(events) > self._settings.max_pending:
                self._cut_off(events)
                return
            self._events.extend(events)
            for stream, event in events:
                known = forming.get(stream)
                if known is not None and not isinstance(event, Revision) and known[0].open_time_ms <= _position(event):
                    del forming[stream]
        if self._wants_forming and delivery.forming:
            if streams is None:
                forming.update(delivery.forming)
            else:
                fewer, others = sorted((streams.keys(), delivery.forming.keys()), key=len)
                forming.update((stream, delivery.forming[stream]) for stream in fewer if stream in others)
        if events or (forming and self._asleep_until_s > self._forming_due_s()):
            self._wake.set()

    def end(self) -> None:
        """Tell the reader that nothing more will come."""
        self._ended = True
        if self._replaying is not None:
            self._replaying.cancel()
        self._wake.set()

    def cut_off(self, deliveries: Iterable[Delivery]) -> None:
        """Have the reader start anew from the store, because it may or may not have been offered `deliveries`."""
        streams = self._streams
        events = [pair for each in deliveries for pair in (each.events if streams is None else each.events_of(streams))]
        if events:
            self._cut_off(events)

    # -- in between -------------------------------------------------------------------------------------------------

    def _forming_due_s(self) -> float:
        return self._forming_at_s + self._settings.conflate_s

    async def _read(self, replay: Replay) -> list[Event]:
        """Return what is new of the next stored events; nothing at their end, and once the feed has ended."""
        if not self._ended:
            with trio.CancelScope() as self._replaying:
                stored = await replay.batch()
                self._owed = ()
                if not stored:
                    self._replay = None
                return [news for stream, event in stored for news in self._news(stream, event)]
        # What is live would leave a hole behind what was replayed.
        self._replay = None
        self._events.clear()
        self._forming.clear()
        return []

    def _take(self) -> list[Event]:
        ready: list[Event] = []
        while self._events:
            ready += self._news(*self._events.popleft())
        if self._forming and (now_s := trio.current_time()) >= self._forming_due_s():
            self._forming_at_s = now_s
            forming, self._forming = self._forming, {}
            for stream, newest in forming.items():
                try:
                    candle = self._to_candle(stream, newest)
                except MalformedMessage:
                    self.malformed += 1
                else:
                    if candle is not None:
                        ready.append(candle)
        return ready

    def _news(self, stream: Stream, event: Event) -> list[Event]:
        """Return what the reader was not given yet of `event`; notes the reader's new position."""
        if isinstance(event, Revision):
            return [event]
        position, given = _position(event), self._given.get(stream)
        if given is None:
            self._given[stream] = position
            return [event]
        if position <= given:
            is_refetched = position <= self._began_after.get(stream, -1)
            return [retold(event)] if is_refetched and isinstance(event, Candle) else []
        self._given[stream] = position
        # Where an earlier feed died before it could store what it had delivered, this one goes on before or after that.
        timeframe = stream.timeframe
        if isinstance(event, Gap) and event.first_open_ms <= given:
            return [evolve(event, first_open_ms=timeframe.next_open(given))]
        if self._again and given == self._began_after.get(stream) and stream in self._again:
            hole_ms, until_ms = timeframe.next_open(given), _first(event)
            if hole_ms < until_ms:
                return [Gap(stream, hole_ms, timeframe.previous_open(until_ms), GapReason.UNREPAIRED), event]
        return [event]

    def _revises(self, event: Event) -> tuple[Stream, int] | None:
        """Return which candle `event` tells again, if it does; what this feed fetched again is told as a revision."""
        if isinstance(event, Revision):
            return event.stream, event.candle.open_time_ms
        if isinstance(event, Candle) and event.closed and event.open_time_ms <= self._began_after.get(event.stream, -1):
            return event.stream, event.open_time_ms
        return None

    def _cut_off(self, events: list[tuple[Stream, Event]]) -> None:
        for stream, event in (*self._events, *events):
            if (revised := self._revises(event)) is not None:
                self._lost_revisions[revised] = None
            elif not isinstance(event, Revision):
                self._lost_first.setdefault(stream, _first(event))
        self._lost += len(self._events) + len(events)
        self._events.clear()
        self._forming.clear()
        self._wake.set()


def _position(event: Candle | Gap) -> int:
    return event.last_open_ms if isinstance(event, Gap) else event.open_time_ms


def _first(event: Candle | Gap) -> int:
    return event.first_open_ms if isinstance(event, Gap) else event.open_time_ms
