"""The store writer: makes deliveries durable, in batches, and keeps what the medium will not take now."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import islice

import trio
from attrs import define, field, frozen

from candleactors.actors.child import ChildContext
from candleactors.actors.mailbox import Mailbox
from candleactors.core.backoff import Backoff
from candleactors.core.histogram import Histogram
from candleactors.core.pace import Pace
from candleactors.errors import FeedClosed, StoreUnavailable
from candleactors.model import Candle, Event, Gap, GapReason, Revision, Stream
from candleactors.settings import StoreSettings
from candleactors.stores.base import Store

CAPACITY = 1_024
"""Batches of events waiting at most: with the disk stuck in one write, some seconds of a busy feed."""
BOUNDS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_TOO_SLOW = "more rows come than store.max_rows_per_s lets through"


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
    upto: int = 0
    """How many rows had been accepted before it."""
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
        now_ms: Callable[[], int],
    ) -> None:
        """`now_ms` is our wall clock, by which the store notes when a gap was repaired."""
        self.mailbox: Mailbox[list[tuple[Stream, Event]] | Flush] = Mailbox(CAPACITY)
        self.written = 0
        """Rows written so far."""
        self.shed = 0
        """Rows given up so far."""
        self.failed = 0
        """Transactions that failed."""
        self.write_s = Histogram(BOUNDS_S)
        """How long each transaction took that did not fail, in seconds."""
        self.trouble: str | None = None
        """Why the last attempt to write failed; ``None`` if it did not."""
        self._store = store
        self._settings = settings
        self._backoff = backoff
        self._on_trouble = on_trouble
        self._now_ms = now_ms
        self._pace = Pace(settings.max_rows_per_s)
        # As they came, so that what is stored at any moment has no hole: by stream and first and last open time.
        self._rows: dict[tuple[Stream, int, int], Candle | Gap] = {}
        self._accepted = 0
        self._stretches: dict[Stream, tuple[int, int]] = {}  # first and last open time of what was shed
        self._flushes: list[Flush] = []
        self._due_s = math.inf
        self._waiting: set[trio.CancelScope] = set()

    @property
    def pending(self) -> int:
        """Rows accepted and not yet written."""
        return len(self._rows)

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
        await self._write(hurry=True)

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
                message.upto = self._accepted
                self._flushes.append(message)
                continue
            for stream, event in message:
                row = event.candle if isinstance(event, Revision) else event
                key = _key(stream, row)
                self._accepted += key not in self._rows
                self._rows[key] = row
        if self.pending and self._due_s == math.inf:
            self._due_s = trio.current_time() + self._settings.flush_interval_s
        # A burst that the store is about to take is not worth shedding.
        if self.pending > self._settings.max_pending and (self.trouble or self._pace.rows_per_s):
            self._shed(self.pending - self._settings.max_pending)
            if self.trouble is None:
                self._on_trouble(StoreTrouble(_TOO_SLOW, self.pending, self.shed))

    def _shed(self, count: int) -> None:
        """Give up the `count` oldest rows, and remember the stretch of each stream in which they lie."""
        for key in list(islice(self._rows, count)):
            del self._rows[key]
            stream, first_ms, last_ms = key
            known = self._stretches.get(stream, (first_ms, last_ms))
            self._stretches[stream] = (min(known[0], first_ms), max(known[1], last_ms))
        self.shed += count

    async def _write(self, *, hurry: bool = False) -> None:
        """Write everything pending, batch by batch, and answer who waits for it; unless in a `hurry`, as far as the
        pace allows."""
        error: StoreUnavailable | None = None
        wait_s = 0.0
        try:
            while self.pending and (hurry or not (wait_s := self._pace.wait_s(trio.current_time()))):
                await self._write_batch()
        except StoreUnavailable as trouble:
            error = trouble
            self.failed += 1
            self.trouble = str(trouble)
            self._on_trouble(StoreTrouble(str(trouble), self.pending, self.shed))
            self._due_s = trio.current_time() + self._backoff.failed()
        else:
            self._backoff.reset()
            if self.trouble is not None:
                self._on_trouble(StoreTrouble(None, self.pending, self.shed))
            self.trouble = None
            self._due_s = trio.current_time() + wait_s if self.pending else math.inf
        # Rows go in the order in which they came.
        written = math.inf if error is not None else self._accepted - self.pending
        answered = [request for request in self._flushes if request.upto <= written]
        self._flushes = self._flushes[len(answered) :]
        for request in answered:
            request.error = error
            request.done.set()

    async def _write_batch(self) -> None:
        batch = dict(islice(self._rows.items(), self._pace.most(self._settings.batch)))
        stretches = dict(self._stretches)
        # What else is stored of a stretch, now or later, takes itself out of the gap.
        gaps = [Gap(stream, *stretch, GapReason.UNREPAIRED) for stream, stretch in stretches.items()]
        gaps += [row for row in batch.values() if isinstance(row, Gap)]
        candles = [row for row in batch.values() if not isinstance(row, Gap)]
        begun_s = trio.current_time()
        await self._store.write(candles, gaps, repaired_ms=self._now_ms())
        self.write_s.observe(trio.current_time() - begun_s)
        self._pace.note(begun_s, len(batch))
        self.written += len(candles)
        for key, row in batch.items():
            if self._rows.get(key) is row:
                del self._rows[key]
        for stream, stretch in stretches.items():
            if self._stretches[stream] == stretch:
                del self._stretches[stream]


def _key(stream: Stream, row: Candle | Gap) -> tuple[Stream, int, int]:
    if isinstance(row, Gap):
        return stream, row.first_open_ms, row.last_open_ms
    return stream, row.open_time_ms, row.open_time_ms
