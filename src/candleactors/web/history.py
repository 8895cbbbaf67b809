"""History: a page of closed candles in any timeframe, stored or made on the fly from those that are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import trio
from attrs import frozen

from candleactors import venues
from candleactors.core.bars import BarBuilder
from candleactors.errors import ConfigError
from candleactors.feed import Feed
from candleactors.model import Candle, Stream, Timeframe

MOST_READ: Final = 50_000
"""Stored candles read for one page: a page of large candles made from small ones is shorter than was asked for."""
_SLICE: Final = 1_000
"""Candles worked in before the event loop has its turn, some milliseconds."""


@frozen
class HistoryPage:
    """Candles of one stream, ascending. `made_from` is the timeframe that (some of) them were made from.

    `next_start_ms` is where the next page starts, `previous_end_ms` where the one before ends; ``None`` where there
    is none, or where the page was asked for the other way.
    """

    stream: Stream
    candles: Sequence[Candle]
    made_from: Timeframe | None = None
    next_start_ms: int | None = None
    previous_end_ms: int | None = None


@frozen
class _Source:
    """A stored stream that candles can be made from, and its earliest candle."""

    stream: Stream
    first_ms: int


async def read_page(feed: Feed, stream: Stream, start_ms: int | None, end_ms: int | None, limit: int) -> HistoryPage:
    """Return at most `limit` candles of `stream`, in the venue's spelling, opening in [`start_ms`, `end_ms`].

    The oldest ones, or without `start_ms` the newest. What lies before the first stored candle is made from the largest
    stored timeframe that divides the wanted one. Raises `StoreUnavailable`.
    """
    stored = await feed.history(stream, limit=1)
    first_ms = stored[0].open_time_ms if stored else None
    maker = _Maker(feed, stream, first_ms)
    if start_ms is None:
        return await _newest(maker, end_ms, limit)
    return await _oldest(maker, start_ms, end_ms, limit)


async def _newest(maker: _Maker, end_ms: int | None, limit: int) -> HistoryPage:
    candles = await maker.feed.history(maker.stream, None, end_ms, limit + 1, newest=True)
    if len(candles) > limit:
        candles = candles[1:]
        return HistoryPage(maker.stream, candles, previous_end_ms=candles[0].open_time_ms - 1)
    before_ms = candles[0].open_time_ms - 1 if candles else end_ms
    made, source, more = await maker.before(before_ms, limit - len(candles))
    candles = [*made, *candles]
    previous_ms = candles[0].open_time_ms - 1 if candles and more else None
    return HistoryPage(maker.stream, candles, source if made else None, previous_end_ms=previous_ms)


async def _oldest(maker: _Maker, start_ms: int, end_ms: int | None, limit: int) -> HistoryPage:
    made, source, resume_ms = await maker.since(start_ms, end_ms, limit)
    if resume_ms is not None:
        return HistoryPage(maker.stream, made, source, next_start_ms=resume_ms)
    room = limit - len(made)
    candles = await maker.feed.history(maker.stream, start_ms, end_ms, room + 1) if maker.first_ms is not None else []
    next_ms = candles[room].open_time_ms if len(candles) > room else None
    return HistoryPage(maker.stream, [*made, *candles[:room]], source if made else None, next_start_ms=next_ms)


class _Maker:
    """Makes candles of one stream that the store does not have: those before `first_ms`, or all of them."""

    def __init__(self, feed: Feed, stream: Stream, first_ms: int | None) -> None:
        self.feed = feed
        self.stream = stream
        self.first_ms = first_ms

    async def before(self, end_ms: int | None, count: int) -> tuple[list[Candle], Timeframe | None, bool]:
        """Return the newest candles up to `end_ms`, what they are made from, and whether there are earlier ones."""
        frame = self.stream.timeframe
        for source in await self._sources():
            until_ms = None if end_ms is None else frame.close_ms(frame.floor(end_ms))
            newest = await self.feed.history(source.stream, None, until_ms, 1, newest=True)
            if not newest:
                continue
            last_ms = frame.floor(newest[0].open_time_ms)
            if not await self._is_over(source.stream, last_ms, newest[0]):
                last_ms = frame.previous_open(last_ms)
            if count == 0:
                return [], source.stream.timeframe, True
            count = min(count, _most(source.stream.timeframe, frame))
            start_ms = max(frame.advance(last_ms, 1 - count), frame.floor(source.first_ms))
            made = await self._make(source.stream, start_ms, frame.close_ms(last_ms))
            return made, source.stream.timeframe, source.first_ms < start_ms
        return [], None, False

    async def since(
        self, start_ms: int, end_ms: int | None, count: int
    ) -> tuple[list[Candle], Timeframe | None, int | None]:
        """Return the oldest candles from `start_ms` on, what they are made from, and where to go on, if there are more.

        Only those before what is stored: the rest is not made but read.
        """
        frame = self.stream.timeframe
        if self.first_ms is not None:
            if start_ms >= self.first_ms:
                return [], None, None
            end_ms = self.first_ms - 1 if end_ms is None else min(end_ms, self.first_ms - 1)
        for source in await self._sources():
            first_ms = frame.floor(max(start_ms, source.first_ms))
            if first_ms < start_ms:
                first_ms = frame.next_open(first_ms)
            if end_ms is not None and first_ms > end_ms:
                continue
            most = min(count, _most(source.stream.timeframe, frame))
            last_ms = frame.advance(first_ms, most - 1)
            if end_ms is not None:
                last_ms = min(last_ms, frame.floor(end_ms))
            made = await self._make(source.stream, first_ms, frame.close_ms(last_ms))
            after_ms = frame.next_open(last_ms)
            more = end_ms is None or after_ms <= end_ms
            if more and await self.feed.history(source.stream, after_ms, None, 1):
                return made, source.stream.timeframe, after_ms
            if made:
                return made, source.stream.timeframe, None
        return [], None, None

    async def _sources(self) -> list[_Source]:
        """Return the stored streams that the wanted one can be made from, the largest timeframe first."""
        wanted = self.stream
        settings = self.feed.settings.venues[wanted.venue]
        known = {*venues.codec(wanted.venue).rules.timeframes, *settings.timeframes, *settings.derived}
        frames = [frame for frame in known if frame != wanted.timeframe and frame.tiles(wanted.timeframe)]
        found = []
        for frame in sorted(frames, key=lambda frame: frame.nominal_ms, reverse=True):
            stream = Stream(wanted.venue, wanted.symbol, frame)
            try:
                rows = await self.feed.history(stream, limit=1)
            except ConfigError:
                continue  # a size the venue has and this feed could not watch
            if rows and (self.first_ms is None or rows[0].open_time_ms < self.first_ms):
                found.append(_Source(stream, rows[0].open_time_ms))
        return found

    async def _is_over(self, source: Stream, open_ms: int, last: Candle) -> bool:
        """Return whether the interval at `open_ms`, of which `last` is the last constituent stored, has ended."""
        close_ms = self.stream.timeframe.close_ms(open_ms)
        return last.close_time_ms >= close_ms or bool(await self.feed.history(source, close_ms + 1, None, 1))

    async def _make(self, source: Stream, start_ms: int, end_ms: int) -> list[Candle]:
        """Return what the candles of `source` opening in [`start_ms`, `end_ms`] make, as far as it is over."""
        builder = BarBuilder(self.stream.timeframe, source=source.timeframe)
        made: list[Candle] = []
        next_ms = start_ms
        while rows := await self.feed.history(source, next_ms, end_ms, _SLICE):
            made += _closed(builder, rows)
            next_ms = rows[-1].close_time_ms + 1
            await trio.lowlevel.checkpoint()
        # The last one may lack its last constituents: what comes after tells that it is over nevertheless.
        made += _closed(builder, await self.feed.history(source, end_ms + 1, None, 1))
        return [candle for candle in made if candle.open_time_ms <= end_ms]


def _closed(builder: BarBuilder, rows: Sequence[Candle]) -> list[Candle]:
    events = (event for row in rows for event in builder.add(row))
    return [event for event in events if isinstance(event, Candle) and event.closed]


def _most(source: Timeframe, wanted: Timeframe) -> int:
    return max(1, MOST_READ * source.nominal_ms // wanted.nominal_ms)
