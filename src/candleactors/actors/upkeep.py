"""Upkeep: what a feed does at intervals for the history of its streams. Makes it reach back, mends it, checks it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final

from candleactors.actors.venue import FeedParts, Venue
from candleactors.core.errands import Errand
from candleactors.core.holes import HoleReason, holes
from candleactors.core.upkeep import Upheld, UpkeepCounters
from candleactors.model import DAY_MS, HOUR_MS, Stream

FIRST_BACKFILL_S: Final = 120.0
FIRST_REPAIR_S: Final = 600.0
"""After the start: a feed has more urgent things to do then."""
_LOOK_BACK_MS: Final = HOUR_MS


class Upkeep:
    """Has the venues' `Sync` do what is to be done, and waits for it. Looks in the store first: what is whole costs no
    request. Everything is asked with what more urgent requests leave of the budgets."""

    def __init__(self, parts: FeedParts, venues: Mapping[str, Venue], told: Callable[[str, Upheld], None]) -> None:
        """`told` is called after each round, with ``backfill`` or ``repair``."""
        self.backfilled = UpkeepCounters()
        self.repaired = UpkeepCounters()
        self._parts = parts
        self._venues = venues
        self._told = told
        self._looked_ms: int | None = None
        self._compared_ms: int | None = None

    async def backfill(self) -> None:
        """Let every stream reach back ``history.depth_days``, and mend holes that came since the last round.

        Raises `StoreUnavailable`; what was not done is for the next call.
        """
        now_ms = self._parts.clock.wall_ms()
        since_ms = now_ms - DAY_MS if self._looked_ms is None else self._looked_ms
        asked: list[Errand] = []
        for venue, stream in self._streams():
            first_ms = self._reach_ms(stream, now_ms)
            if first_ms is not None and await self._is_shorter(venue, stream, first_ms):
                asked.append(venue.sync.ask(stream, first_ms, lacking=True))
            elif (hole_ms := await self._oldest_hole_ms(stream, since_ms)) is not None:
                asked.append(venue.sync.ask(stream, hole_ms, lacking=True))
        await self._finish("backfill", self.backfilled, asked)
        self._looked_ms = now_ms - _LOOK_BACK_MS

    async def repair(self) -> None:
        """Mend every hole of the whole history that is no known outage, and compare what was stored since last time.

        Raises `StoreUnavailable`; what was not done is for the next call.
        """
        now_ms = self._parts.clock.wall_ms()
        interval_ms = round((self._parts.settings.history.repair_interval_s or 0.0) * 1000)
        since_ms = now_ms - interval_ms if self._compared_ms is None else self._compared_ms
        asked: list[Errand] = []
        for venue, stream in self._streams():
            if await self._oldest_hole_ms(stream, None) is not None:
                asked.append(venue.sync.ask(stream, None, lacking=True))
            # To compare what is older than all that is stored would be to fetch it.
            if oldest := await self._parts.store.candles(stream, limit=1):
                asked.append(venue.sync.ask(stream, max(since_ms, oldest[0].open_time_ms)))
        await self._finish("repair", self.repaired, asked)
        for venue, stream in self._streams():
            self.repaired.candles += await venue.sync.remake(stream)
        self._compared_ms = now_ms

    async def _finish(self, what: str, counters: UpkeepCounters, asked: Iterable[Errand]) -> None:
        errands = list(dict.fromkeys(asked))
        for errand in errands:
            await self._venues[errand.stream.venue].sync.ended(errand)
        done = Upheld(
            streams=len({errand.stream for errand in errands}),
            candles=sum(errand.repaired for errand in errands),
            outages=sum(errand.outages for errand in errands),
            errors=tuple(f"{errand.stream}: {errand.error}" for errand in errands if errand.error is not None),
        )
        counters.add(done)
        self._told(what, done)

    def _streams(self) -> Iterator[tuple[Venue, Stream]]:
        """Yield what the venues are subscribed to and that has begun; what derives from it follows."""
        interest = self._parts.interest
        for name, venue in self._venues.items():
            for stream in interest.desired(name):
                if stream not in interest.parked and venue.sequencer.expected_ms(stream) is not None:
                    yield venue, stream

    def _reach_ms(self, stream: Stream, now_ms: int) -> int | None:
        """Return how far back a stream is to reach: not so far that it would be deleted again."""
        settings = self._parts.settings
        days = settings.history.depth_days
        if days is None:
            return None
        kept = settings.retention.days.get(stream.timeframe, days)
        return now_ms - round(min(days, kept) * DAY_MS)

    async def _is_shorter(self, venue: Venue, stream: Stream, first_ms: int) -> bool:
        """Whether a stream does not reach back to `first_ms`, and the venue may have more."""
        oldest = await self._parts.store.candles(stream, limit=1)
        begins_ms = venue.sync.begins_ms.get(stream, first_ms)
        first_ms = stream.timeframe.next_open(stream.timeframe.floor(max(first_ms, begins_ms) - 1))
        return bool(oldest) and oldest[0].open_time_ms > first_ms

    async def _oldest_hole_ms(self, stream: Stream, since_ms: int | None) -> int | None:
        """Return when the first hole opens that is to be mended and ends at `since_ms` or later; ``None`` if none."""
        store = self._parts.store
        found = holes(stream, await store.covered(stream, since_ms), await store.gaps(stream))
        opens = [
            hole.first_ms
            for hole in found
            if hole.reason is not HoleReason.CONFIRMED and (since_ms is None or hole.last_ms >= since_ms)
        ]
        return min(opens, default=None)
