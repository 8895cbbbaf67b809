"""Replays: stored events from a cursor on, before live ones."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping

from candleactors.model import HOUR_MS, Candle, Cursor, Event, Gap, GapReason, Revision, Stream
from candleactors.stores.base import Store

PAGE = 1_000
_RETOLD_MS = 2 * HOUR_MS
_RETOLD_CANDLES = 3


class StoredReplay:
    """Reads the store from `cursor` on, page by page; see `candleactors.actors.subscription.Replay`.

    `flush` is awaited first, so that everything delivered before is in the store. Streams the cursor does not name are
    not replayed. What the store does not have any more, because it was too old to be kept, is told as a gap. `again`
    has those of which the reader was last given something by an earlier feed, with when it was there last: of the
    candles shortly before its position those are told again, as revisions, that were revised, and may never have been
    told so, or were fetched anew since then, and may be others now. Raises `StoreUnavailable`, and goes on where it
    stood when asked again.
    """

    def __init__(
        self,
        store: Store,
        cursor: Cursor,
        streams: Iterable[Stream] | None,
        flush: Callable[[], Awaitable[None]],
        *,
        again: Mapping[Stream, int] | None = None,
    ) -> None:
        self.cursor = cursor
        wanted = None if streams is None else frozenset(streams)
        self._store = store
        self._flush: Callable[[], Awaitable[None]] | None = flush
        self._after = deque((s, ms) for s, ms in cursor.after.items() if wanted is None or s in wanted)
        self._revised = [(s, ms) for s, ms in cursor.revised if wanted is None or s in wanted]
        self._again = again or {}
        self._retold = deque((stream, ms) for stream, ms in self._after if stream in self._again)

    async def batch(self) -> list[tuple[Stream, Event]]:
        """Return the next page, in order per stream; an empty list at the end."""
        if self._flush is not None:
            await self._flush()
            self._flush = None
        if self._revised:
            events: list[tuple[Stream, Event]] = []
            for stream, open_ms in self._revised:
                events += [(stream, retold(each)) for each in await self._store.candles(stream, open_ms, open_ms)]
            self._revised = []
            if events:
                return events
        while self._retold:
            if again := await self._retell(*self._retold[0]):
                return again
        while self._after:
            if page := await self._page(*self._after[0]):
                return page
        return []

    async def _retell(self, stream: Stream, last_ms: int) -> list[tuple[Stream, Event]]:
        first_ms = last_ms - max(_RETOLD_MS, _RETOLD_CANDLES * stream.timeframe.nominal_ms)
        candles = await self._store.candles(stream, first_ms, last_ms)
        self._retold.popleft()
        return [
            (stream, retold(candle))
            for candle in candles
            if candle.closed and (candle.revision or candle.received_ms >= self._again[stream])
        ]

    async def _page(self, stream: Stream, after_ms: int) -> list[tuple[Stream, Event]]:
        candles, gaps = await self._rows(stream, after_ms + 1)
        until_ms = candles[-1].open_time_ms if len(candles) == PAGE else None
        found: list[Candle | Gap] = [candle for candle in candles if candle.closed]
        found += [
            gap for gap in gaps if gap.last_open_ms > after_ms and (until_ms is None or gap.first_open_ms < until_ms)
        ]
        # Only now: what the store failed to read is asked for again.
        if until_ms is None:
            self._after.popleft()
        else:
            self._after[0] = (stream, until_ms)
        found.sort(key=_first_ms)
        if found and (lost := _lost(stream, after_ms, _first_ms(found[0]))) is not None:
            found.insert(0, lost)
        return [(stream, event) for event in found]

    async def _rows(self, stream: Stream, start_ms: int) -> tuple[list[Candle], list[Gap]]:
        """Return stored candles from `start_ms` on, a page at most, and all gaps, as they were at one moment."""
        gaps = await self._store.gaps(stream)
        while True:
            candles = await self._store.candles(stream, start_ms, limit=PAGE)
            # Whoever writes meanwhile may come between the two reads.
            before, gaps = gaps, await self._store.gaps(stream)
            if gaps == before:
                return candles, gaps


def _lost(stream: Stream, after_ms: int, first_ms: int) -> Gap | None:
    """Return the gap between what a reader was given last and what the store has from there on."""
    next_ms = stream.timeframe.next_open(after_ms)
    if next_ms >= first_ms:
        return None
    return Gap(stream, next_ms, stream.timeframe.previous_open(first_ms), GapReason.UNREPAIRED)


def _first_ms(event: Candle | Gap) -> int:
    return event.first_open_ms if isinstance(event, Gap) else event.open_time_ms


def retold(candle: Candle) -> Revision:
    """Return the revision that tells a reader what it may have been told before."""
    # What died with an earlier feed before it was stored may have been a revision already.
    return Revision(candle if candle.revision else candle.replace(revision=1))
