"""The store writer: makes deliveries durable, in batches, and keeps what the medium will not take now."""

from __future__ import annotations

import math
from collections.abc import Callable

import trio
from attrs import define, field, frozen

from candleactors.actors.child import ChildContext
from candleactors.actors.mailbox import Mailbox
from candleactors.core.backoff import Backoff
from candleactors.errors import FeedClosed, StoreUnavailable
from candleactors.model import Candle, Event, Gap, GapReason, Revision, Stream
from candleactors.settings import StoreSettings
from candleactors.stores.base import Store

CAPACITY = 1_024
"""Batches of events waiting at most: with the disk stuck in one write, some seconds of a busy feed."""


@frozen
class StoreTrouble:
    """The store could not be written; `pending` rows wait, `shed` were given up. Without `error`, that is over."""

    error: str | None
    pending: int
    shed: int


@define
class Flush:
    """A request to write everything put before it. `done` is set when that happened, or failed with `error`."""

    done: trio.Event = field(factory=trio.Event)
    error: StoreUnavailable | None = None


class StoreWriter:
    """The only writer of the store.

    Rows wait in memory, the newest of each interval, while the store cannot be written. Beyond `max_pending` the oldest
    are shed: counted, reported, and written down as gaps once the store takes rows again, so that they are fetched anew
    at the next start. The object outlives the actor, so rows accepted survive its restart.
    """

    def __init__(
        self,
        store: Store,
        settings: StoreSettings,
        backoff: Backoff,
        on_trouble: Callable[[StoreTrouble], None],
    ) -> None:
        self.mailbox: Mailbox[list[tuple[Stream, Event]] | Flush] = Mailbox(CAPACITY)
        self.written = 0
        """Rows written so far."""
        self.shed = 0
        """Rows given up so far."""
        self.trouble: str | None = None
        """Why the last attempt to write failed; ``None`` if it did not."""
        self._store = store
        self._settings = settings
        self._backoff = backoff
        self._on_trouble = on_trouble
        self._candles: dict[tuple[Stream, int], Candle] = {}
        self._gaps: list[Gap] = []
        self._stretches: dict[Stream, tuple[int, int]] = {}  # first and last open time of what was shed
        self._flushes: list[Flush] = []
        self._due_s = math.inf
        self._waiting: set[trio.CancelScope] = set()

    @property
    def pending(self) -> int:
        """Rows accepted and not yet written."""
        return len(self._candles) + len(self._gaps)

    async def run(self, context: ChildContext) -> None:
        """Write until asked to stop, then what is left, once."""
        async with self.mailbox.attended(context.stopping):
            context.started()
            while not context.stopping.is_set():
                self._take_in(await self.mailbox.drain(self._due_s))
                if (
                    self._flushes
                    or trio.current_time() >= self._due_s
                    or (self.pending >= self._settings.batch and not self.trouble)
                ):
                    await self._write()
        self._take_in(self.mailbox.take_all())
        await self._write()

    async def flush(self) -> None:
        """Return once everything delivered so far is durable.

        Raises `StoreUnavailable` if it cannot be written, and `FeedClosed` if the writer ends for good before.
        """
        request = Flush()
        with trio.CancelScope() as waiting:
            self._waiting.add(waiting)
            try:
                await self.mailbox.put(request)
                await request.done.wait()
            finally:
                self._waiting.discard(waiting)
        if not request.done.is_set():
            raise FeedClosed("the feed has ended")
        if request.error is not None:
            raise request.error

    def close(self) -> None:
        """Send away who waits for a `flush`: the actor has ended for good, and nobody would answer."""
        for waiting in list(self._waiting):
            waiting.cancel()

    def _take_in(self, messages: list[list[tuple[Stream, Event]] | Flush]) -> None:
        for message in messages:
            if isinstance(message, Flush):
                self._flushes.append(message)
                continue
            for stream, event in message:
                if isinstance(event, Gap):
                    self._gaps.append(event)
                else:
                    candle = event.candle if isinstance(event, Revision) else event
                    self._candles[stream, candle.open_time_ms] = candle
        if self.pending and self._due_s == math.inf:
            self._due_s = trio.current_time() + self._settings.flush_interval_s
        # A burst that the store is about to take is not worth shedding.
        if self.trouble is not None and len(self._candles) > self._settings.max_pending:
            self._shed(len(self._candles) - self._settings.max_pending)

    def _shed(self, count: int) -> None:
        """Give up the `count` oldest rows, and remember the stretch of each stream in which they lie."""
        for stream, open_ms in list(self._candles)[:count]:
            del self._candles[stream, open_ms]
            first_ms, last_ms = self._stretches.get(stream, (open_ms, open_ms))
            self._stretches[stream] = (min(first_ms, open_ms), max(last_ms, open_ms))
        self.shed += count

    async def _write(self) -> None:
        """Write everything pending, batch by batch, and answer who waits for it."""
        error: StoreUnavailable | None = None
        try:
            while self.pending:
                await self._write_batch()
        except StoreUnavailable as trouble:
            error = trouble
            self.trouble = str(trouble)
            self._on_trouble(StoreTrouble(str(trouble), self.pending, self.shed))
            self._due_s = trio.current_time() + self._backoff.failed()
        else:
            self._backoff.reset()
            if self.trouble is not None:
                self._on_trouble(StoreTrouble(None, self.pending, self.shed))
            self.trouble = None
            self._due_s = math.inf
        flushes, self._flushes = self._flushes, []
        for request in flushes:
            request.error = error
            request.done.set()

    async def _write_batch(self) -> None:
        keys = list(self._candles)[: self._settings.batch]
        batch = {key: self._candles[key] for key in keys}
        gaps, stretches = self._gaps[:], dict(self._stretches)
        # What else is stored of a stretch, now or later, takes itself out of the gap.
        lost = [Gap(stream, *stretch, GapReason.UNREPAIRED) for stream, stretch in stretches.items()]
        await self._store.write(list(batch.values()), [*lost, *gaps])
        self.written += len(batch)
        for key, candle in batch.items():
            if self._candles.get(key) is candle:
                del self._candles[key]
        del self._gaps[: len(gaps)]
        for stream, stretch in stretches.items():
            if self._stretches[stream] == stretch:
                del self._stretches[stream]
