"""Retention: deletes candles that are older than the settings say, and that nobody works with."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Mapping
from typing import Final

import trio

from candleactors.actors.venue import FeedParts, Venue, history
from candleactors.core.retention import Pruned, cut_ms
from candleactors.errors import InvalidTimeframe
from candleactors.model import Stream, Timeframe

FIRST_S: Final = 300.0
"""After the start: a feed has more urgent things to do then."""
_BATCH: Final = 5_000
_LOOK_AGAIN_S: Final = 60.0
_PATIENCE_S: Final = 3_600.0
_FAR_MS: Final = 2**53


class Retention:
    """Prunes the store of a feed, in short transactions with pauses between, so that the writer never waits for long.

    Streams that are being compared with their venue, or whose derived candles are being built, are left alone, and what
    is made from them with them; they are looked at again every minute, for an hour at most.
    """

    def __init__(self, parts: FeedParts, venues: Mapping[str, Venue], told: Callable[[Pruned], None]) -> None:
        """`told` is called after each pass."""
        self.pruned = 0
        """Candles deleted so far."""
        self.left = 0
        """Streams that the last pass had to leave to the next one."""
        self._parts = parts
        self._venues = venues
        self._told = told

    async def prune(self) -> None:
        """Delete what is too old by now. Raises `StoreUnavailable`; whatever was not deleted is for the next call."""
        store, clock = self._parts.store, self._parts.clock
        days = self._parts.settings.retention.days
        due = [stream for stream in await store.streams() if stream.timeframe in days]
        counts: Counter[Stream] = Counter()
        until_s = clock.monotonic_s() + _PATIENCE_S
        while True:
            derived = self._derived()
            for stream in due:
                counts[stream] += await self._prune_stream(stream, derived[stream])
            due = [stream for stream in due if self._in_use(stream)]
            if not due or clock.monotonic_s() >= until_s:
                break
            await trio.sleep(_LOOK_AGAIN_S)
        await store.reclaim()
        self.left = len(due)
        self._told(Pruned(counts.total(), len(+counts), len(due)))

    async def _prune_stream(self, stream: Stream, derived: Collection[Timeframe]) -> int:
        """Delete what is too old of one stream, as long as nobody works with it; return how many candles."""
        parts, count = self._parts, 0
        newest = (await parts.store.tails({stream: _FAR_MS})).get(stream)
        if newest is None:
            return 0
        settings, now_ms = parts.settings, parts.clock.wall_ms()
        before_ms = cut_ms(settings, newest[-1], now_ms, history=self._history(stream.venue), derived=derived)
        while not self._in_use(stream):
            begun_s = trio.current_time()
            deleted = await parts.store.prune(stream, before_ms, most=_BATCH)
            count += deleted
            self.pruned += deleted
            if deleted < _BATCH:
                break
            # As long again, in which others write.
            await trio.sleep(trio.current_time() - begun_s)
        return count

    def _history(self, name: str) -> int:
        """Return how many candles of its streams a venue is asked for, and compared with, again and again."""
        venue, settings = self._venues.get(name), self._parts.settings
        return settings.repair.history if venue is None else history(venue.codec.rules, settings)

    def _in_use(self, stream: Stream) -> bool:
        """Whether the stream, or what it is made from, is being compared or built from."""
        venue = self._venues.get(stream.venue)
        return venue is not None and any(
            venue.sync.works_on(each) or venue.aggregator.is_to_build(each) for each in (stream, self._source(stream))
        )

    def _source(self, stream: Stream) -> Stream:
        """Return what a stream is made from; itself where it is not made from another, or nobody could watch it."""
        if stream.venue not in self._venues:
            return stream
        try:
            return self._parts.interest.carrier_of(stream)
        except InvalidTimeframe:
            return stream

    def _derived(self) -> Mapping[Stream, Collection[Timeframe]]:
        """Return what is made from each stream, parked ones included: they may be needed again."""
        derived: defaultdict[Stream, list[Timeframe]] = defaultdict(list)
        for stream in self._parts.interest.watched():
            if (source := self._source(stream)) != stream:
                derived[source].append(stream.timeframe)
        return derived
