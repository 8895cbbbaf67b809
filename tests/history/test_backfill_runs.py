"""Backfills over simulated venues: the store comes to hold what the venues have, whatever happens on the way."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import trio
from history_world import (
    DAY_MS,
    EPOCH,
    H1,
    HOUR_MS,
    M1,
    M7,
    MINUTE_MS,
    OUTAGE,
    RARE,
    VENUES,
    Past,
    Source,
    open_past,
    values,
)  # fmt: skip
from test_sync import forget

from candleactors import resample
from candleactors.core.holes import HoleReason, holes
from candleactors.errors import InvalidTimeframe
from candleactors.history import Wanted
from candleactors.model import GapReason, Stream, Timeframe
from candleactors.sim import default_symbols
from candleactors.sim.faults import FaultKind

LAG_MS = 10_000


def everything(past: Past) -> list[Wanted]:
    return [Wanted(name, venue.symbols, venue.timeframes) for name, venue in past.world.settings.venues.items()]


@pytest.mark.parametrize("venue", VENUES)
async def test_the_whole_history_of_a_venue(venue: str, autojump_clock: object, tmp_path: Path) -> None:
    """Outages are noted, intervals without trades filled where the venue leaves them out; nothing is asked twice."""
    async with open_past(tmp_path, venue, symbols=(*default_symbols(1), RARE)) as past, past.store() as store:
        start_ms = EPOCH - 30 * HOUR_MS
        run = past.history(store)
        await run.backfill(everything(past), start_ms)
        now_ms = past.world.now_ms() - LAG_MS
        assert run.errors == []
        first = past.requests.klines()
        for stream in past.streams:
            report = run.reports[stream]
            assert (report.done, report.error, report.begins_ms) == (True, None, None)
            assert report.asked == report.planned
            stored = await store.candles(stream)
            expected = past.truth(stream, start_ms, now_ms)
            if past.world.sims[venue].rules.flat_rows:
                assert values(stored) == expected
            else:
                # What has no trade after it yet may as well be the end of the symbol.
                last_ms = max(values(stored))
                assert stored[-1].source is Source.REST
                assert values(stored) == {at: each for at, each in expected.items() if at <= last_ms}
                assert all(each[4] == 0 for at, each in expected.items() if at > last_ms)
            assert report.new == len(stored)
            gaps = await store.gaps(stream)
            if past.world.sims[venue].rules.flat_rows:
                (gap,) = gaps
                assert (gap.reason, report.outages) == (GapReason.VENUE, gap.count)
                assert gap.first_open_ms - OUTAGE.start_ms in range(MINUTE_MS)
            else:
                assert (gaps, report.outages) == ([], 0)
                assert any(candle.source is Source.FILLED for candle in stored)
        again = past.history(store)
        await again.backfill(everything(past), start_ms)
        assert len(past.requests.klines()) <= 2 * len(past.streams), "but for what closed since"
        assert all(report.new <= 3 for report in again.reports.values())
        assert len(first) <= 19 * len(past.streams)


@pytest.mark.parametrize("venue", VENUES)
async def test_history_ends_where_the_market_began(venue: str, autojump_clock: object, tmp_path: Path) -> None:
    async with open_past(tmp_path, venue, hours=26, outages=()) as past, past.store() as store:
        run = past.history(store)
        await run.backfill(everything(past), EPOCH - 90 * DAY_MS)
        stream = past.streams[0]
        report = run.reports[stream]
        listed_ms = (EPOCH - 26 * HOUR_MS) // MINUTE_MS * MINUTE_MS
        stored = await store.candles(stream)
        assert (report.error, report.begins_ms) == (None, stored[0].open_time_ms)
        assert stored[0].open_time_ms - listed_ms in range(3 * MINUTE_MS)
        assert await store.gaps(stream) == []
        if past.world.sims[venue].rules.flat_rows:
            assert len(stored) in range(26 * 60 - 3, 26 * 60 + 3)
        assert len(past.requests.klines()) <= 120 * len(past.streams)


async def test_several_venues_side_by_side(autojump_clock: object, tmp_path: Path) -> None:
    """The slowest alone takes as long as all of them together."""
    took: list[float] = []
    for number, names in enumerate([("okx",), ("binance-spot", "bybit-spot", "okx")]):
        (folder := tmp_path / str(number)).mkdir()
        async with open_past(folder, *names, symbols=default_symbols(4)) as past, past.store() as store:
            run = past.history(store)
            began_s = trio.current_time()
            await run.backfill(everything(past), EPOCH - 40 * HOUR_MS)
            took.append(trio.current_time() - began_s)
            assert all(report.done for report in run.reports.values())
    assert took[1] < took[0] + 2


@pytest.mark.parametrize("venue", VENUES)
async def test_what_derives_from_it_is_made(venue: str, autojump_clock: object, tmp_path: Path) -> None:
    async with open_past(tmp_path, venue, derived=(M7,)) as past, past.store() as store:
        source = past.streams[0]
        start_ms = EPOCH - 30 * HOUR_MS
        seven, other = Stream(venue, source.symbol, M7), Stream(venue, source.symbol, Timeframe("45m"))
        run = past.history(store)
        await run.backfill([Wanted(venue, (source.symbol,), (other.timeframe, M1))], start_ms)
        candles = await store.candles(source)
        for stream in (seven, other):
            first_ms = stream.timeframe.floor(candles[0].open_time_ms - 1) + stream.timeframe.nominal_ms
            made = [each for each in resample(candles, stream.timeframe) if each.open_time_ms >= first_ms]
            assert await store.candles(stream) == [each for each in made if each.closed]
            assert run.reports[stream].new > 10
        # What was lost is made again, without asking the venue for more than what is new.
        past.requests.klines()
        lost = await store.candles(seven)
        forget(past.path, seven, lost[20].open_time_ms, lost[60].open_time_ms)
        again = past.history(store)
        await again.backfill([Wanted(venue, (source.symbol,), (M1,))], start_ms)
        assert again.reports[seven].new == 40
        assert (await store.candles(seven))[: len(lost)] == lost
        assert len(past.requests.klines()) <= 1


async def test_an_interrupted_run_goes_on(autojump_clock: object, tmp_path: Path) -> None:
    """Cut off again and again, at any moment, it asks for nothing that is stored, and comes to the same."""
    seed = random.randrange(2**32)
    print("seed", seed)
    rng = random.Random(seed)
    async with open_past(tmp_path, "okx", derived=(H1,)) as past, past.store() as store:
        start_ms = EPOCH - 40 * HOUR_MS
        stream = past.streams[0]
        asked = 0
        for _ in range(12):
            before = {candle.open_time_ms: candle for candle in await store.candles(stream)}
            run = past.history(store)
            with trio.move_on_after(rng.uniform(0, 1.5)):
                await run.backfill(everything(past), start_ms)
            candles = await store.candles(stream)
            after = {candle.open_time_ms: candle for candle in candles}
            assert {at: after[at] for at in before} == before, "what was stored is neither lost nor rewritten"
            found = holes(stream, await store.covered(stream), await store.gaps(stream))
            assert [hole for hole in found if hole.reason is not HoleReason.CONFIRMED] == [], "history has no hole"
            asked += len(past.requests.klines())
            await trio.sleep(2)  # each run has a budget of its own
        run = past.history(store)
        await run.backfill(everything(past), start_ms)
        assert run.reports[stream].done
        assert asked <= 2 * 24 + 12 * 4, "a life costs what it had under way, at most"
        assert values(await store.candles(stream)) == past.truth(stream, start_ms, past.world.now_ms() - LAG_MS)
        hours = [each for each in resample(await store.candles(stream), H1) if each.closed]
        assert await store.candles(Stream("okx", stream.symbol, H1)) == [
            each for each in hours if each.open_time_ms >= start_ms
        ]


@pytest.mark.parametrize("kind", [FaultKind.REST_LIMIT, FaultKind.REST_ERROR, FaultKind.REST_TRUNCATED])
async def test_trouble_that_passes(kind: FaultKind, autojump_clock: object, tmp_path: Path) -> None:
    async with open_past(tmp_path, "binance-spot", "bybit-spot") as past, past.store() as store:
        past.world.inject(kind, duration_s=20.0, delay_s=7.0)
        run = past.history(store)
        told: list[str] = []
        run._told = lambda: told.extend(run.waiting.values())
        await run.backfill(everything(past), EPOCH - 30 * HOUR_MS)
        assert told
        assert run.waiting == {}
        for stream in past.streams:
            assert run.reports[stream].done
            stored = values(await store.candles(stream))
            assert stored == past.truth(stream, EPOCH - 30 * HOUR_MS, max(stored) + MINUTE_MS)


async def test_a_venue_that_is_down_is_given_up_and_the_others_go_on(autojump_clock: object, tmp_path: Path) -> None:
    async with open_past(tmp_path, "binance-spot", "okx") as past, past.store() as store:
        past.world.network.unlisten("okx", 80)
        run = past.history(store)
        with trio.fail_after(600):
            await run.backfill(everything(past), EPOCH - 30 * HOUR_MS)
        (error,) = run.errors
        assert error.startswith("okx: ")
        (report,) = run.reports.values()
        assert report.done


async def test_symbols_in_either_spelling_and_unknown_ones(autojump_clock: object, tmp_path: Path) -> None:
    async with open_past(tmp_path, "binance-spot") as past, past.store() as store:
        run = past.history(store)
        symbols = ("BTC/USDT", "BTCUSDT", "BTCUSDD", "BTX/USDT")
        await run.backfill([Wanted("binance-spot", symbols, (H1,))], EPOCH - 10 * HOUR_MS)
        (error,) = run.errors
        assert '"BTX/USDT" is not a symbol of Binance Spot; did you mean "BTC/USDT"?' in error
        good, bad = (run.reports[Stream("binance-spot", symbol, H1)] for symbol in ("BTCUSDT", "BTCUSDD"))
        assert (good.done, good.error) == (True, None)
        assert bad.error == '"BTCUSDD" is not a symbol of Binance Spot; did you mean "BTCUSDT"?'
        with pytest.raises(InvalidTimeframe):
            await run.backfill([Wanted("bybit-spot", ("BTCUSDT",), (M1, Timeframe("90s")))], 0)
