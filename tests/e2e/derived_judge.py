"""A judge of derived streams: what was told of them must be what the constituents come to, no more and no less."""

from __future__ import annotations

from collections.abc import Iterable

from e2e_world import Judge, World

from candleactors.feed import Feed
from candleactors.model import Candle, Cursor, Source, Stream, Timeframe
from candleactors.sim.candles import TruthCandle
from candleactors.testing import reference_resample

MINUTE, SECOND = Timeframe("1m"), Timeframe("1s")


class DerivedJudge(Judge):
    """Judges streams that are made from others as well.

    The constituents are the simulated market's own, those the feed knows; whether these are all is for `Judge` to say.
    """

    def derived(self) -> list[Stream]:
        """Return the streams of the configuration that are derived."""
        return [
            Stream(name, symbol, frame)
            for name, venue in self.world.settings.venues.items()
            for symbol in venue.symbols
            for frame in venue.derived
        ]

    async def verdict_on(self, *streams: Stream, since_ms: int | None = None, store: bool = True) -> None:
        """Compare derived streams with their constituents, by default those of the configuration.

        `since_ms` is from when on they had to be told; by default that is from the first constituent on. What the
        beginning cuts may be left out, but must not be wrong.
        """
        await self.done.wait()
        assert not self.complaints, "\n".join(self.complaints[:10])
        for stream in streams or self.derived():
            source = MINUTE if MINUTE.tiles(stream.timeframe) else SECOND
            constituents = await self.constituents(Stream(stream.venue, stream.symbol, source))
            assert constituents, f"{stream} is made of nothing"
            self._compare_derived(stream, constituents, since_ms)
            if store:
                await self.compare_store(stream)
                await self._compare_counts(stream)

    async def constituents(self, source: Stream) -> list[Candle]:
        """Return what the market has of a source, as far as the feed has it."""
        stored, _ = await self.world.stored(source)
        first_ms, known = stored[0].open_time_ms, {candle.open_time_ms for candle in stored}
        sim = self.world.sims[source.venue]
        truth = sim.truth(source.symbol, source.timeframe, first_ms, stored[-1].next_open_time_ms)
        return [as_candle(source, true) for true in truth if true.open_time_ms in known]

    def _compare_derived(self, stream: Stream, constituents: list[Candle], since_ms: int | None) -> None:
        frame, source = stream.timeframe, constituents[0].stream
        begin_ms, end_ms = constituents[0].open_time_ms, self.next_ms[source]
        right = {each.open_time_ms: each for each in reference_resample(constituents, frame)}
        said, missing = self.said.get(stream, {}), self.missing.get(stream, {})
        whole_ms = begin_ms if since_ms is None else max(begin_ms, since_ms)
        for open_ms in frame.opens(frame.floor(whole_ms), frame.floor(end_ms)):
            if open_ms not in right:
                assert open_ms in missing or open_ms < whole_ms, f"{stream} {open_ms}: nothing was told"
            elif open_ms >= whole_ms or open_ms in said:
                assert open_ms in said, f"{stream} {open_ms}: was not told"
                true = right[open_ms]
                assert facts(said[open_ms]) == facts(true), f"{stream} {open_ms}: {said[open_ms]}, is {true}"
        assert not [open_ms for open_ms in said if open_ms not in right and open_ms >= begin_ms], f"{stream}: invented"
        if stream in self.next_ms:
            assert self.next_ms[stream] == frame.floor(end_ms), f"{stream} is behind"

    async def _compare_counts(self, stream: Stream) -> None:
        stored, _ = await self.world.stored(stream)
        said = self.said.get(stream, {})
        for candle in stored:
            if (told := said.get(candle.open_time_ms)) is not None:
                assert facts(candle) == facts(told)
                assert (candle.revision, candle.source) == (told.revision, Source.DERIVED)


def judge(
    world: World,
    feed: Feed,
    streams: Iterable[Stream | str] | None = None,
    *,
    forming: bool = True,
    after: Cursor | None = None,
) -> DerivedJudge:
    """Return a judge of derived streams who reads the feed from now on."""
    found = DerivedJudge(world)
    world.nursery.start_soon(found.read, feed, streams, forming, after)
    return found


def as_candle(stream: Stream, true: TruthCandle) -> Candle:
    """Return a candle as it really was."""
    return Candle(
        stream.venue, stream.symbol, stream.timeframe, true.open_time_ms, true.close_time_ms, true.open, true.high,
        true.low, true.close, true.volume, true.quote_volume, true.trades, true.taker_buy_volume,
        true.taker_buy_quote_volume, True, True, Source.REST, 0, true.close_time_ms,
    )  # fmt: skip


def facts(candle: Candle) -> tuple[object, ...]:
    """Return what a derived candle says, without the way it came."""
    return (*candle.values(), candle.close_time_ms, candle.missing, candle.complete)
