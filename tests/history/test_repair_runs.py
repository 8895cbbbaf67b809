"""Repairs: holes are mended, outages confirmed once, and what is stored wrongly is found by comparing."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from history_world import EPOCH, H1, HOUR_MS, M1, M7, RARE, VENUES, Past, open_past, values
from test_sync import forget

from candleactors import resample
from candleactors.core.holes import HoleReason, holes
from candleactors.history import Wanted
from candleactors.model import Stream, Timeframe
from candleactors.sim import default_symbols
from candleactors.stores.base import Archive

START_MS = EPOCH - 30 * HOUR_MS


async def filled(past: Past, store: Archive) -> None:
    """Backfill everything from `START_MS` on."""
    wanted = [Wanted(name, venue.symbols, venue.timeframes) for name, venue in past.world.settings.venues.items()]
    await past.history(store).backfill(wanted, START_MS)
    past.requests.klines()


@pytest.mark.parametrize("venue", VENUES)
async def test_what_the_store_lost_comes_back(venue: str, autojump_clock: object, tmp_path: Path) -> None:
    symbols = (*default_symbols(1), RARE)
    async with open_past(tmp_path, venue, symbols=symbols, derived=(M7,)) as past, past.store() as store:
        await filled(past, store)
        before = {stream: await store.candles(stream) for stream in await store.streams()}
        for stream, candles in before.items():
            for first in (10, 60, 65, 200):
                forget(past.path, stream, candles[first].open_time_ms, candles[first + 3].open_time_ms)
        run = past.history(store)
        await run.repair(await store.streams())
        assert run.errors == []
        for stream, candles in before.items():
            assert values(await store.candles(stream)) == values(candles)
            assert (run.reports[stream].error, run.reports[stream].new) == (None, 12)
            left = holes(stream, await store.covered(stream), await store.gaps(stream))
            assert {hole.reason for hole in left} <= {HoleReason.CONFIRMED}
        assert past.requests.klines()
        await past.history(store).repair(await store.streams())
        assert past.requests.klines() == [], "nothing is left to be asked for"


@pytest.mark.parametrize("venue", ["binance-spot", "bybit-spot", "okx"])
async def test_an_outage_is_asked_for_once(venue: str, autojump_clock: object, tmp_path: Path) -> None:
    async with open_past(tmp_path, venue) as past, past.store() as store:
        await filled(past, store)
        stream = past.streams[0]
        (gap,) = await store.gaps(stream)
        forget_gaps(past.path)
        run = past.history(store)
        await run.repair([stream])
        assert (await store.gaps(stream), run.reports[stream].outages) == ([gap], gap.count)
        assert past.requests.klines()
        await past.history(store).repair([stream])
        assert past.requests.klines() == []
        again = past.history(store)
        await again.repair([stream], again=True)
        assert past.requests.klines()
        assert (await store.gaps(stream), again.reports[stream].new) == ([gap], 0)


def forget_gaps(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("DELETE FROM gap")
    connection.close()


@pytest.mark.parametrize("venue", VENUES)
async def test_comparing_corrects_what_is_stored_wrongly(venue: str, autojump_clock: object, tmp_path: Path) -> None:
    async with open_past(tmp_path, venue, derived=(H1,)) as past, past.store() as store:
        await filled(past, store)
        stream = past.streams[0]
        right = await store.candles(stream)
        wrong = [candle.replace(high=candle.high * 2, revision=1) for candle in right[100:103]]
        await store.merge(wrong, corrects=True)
        run = past.history(store)
        await run.repair([stream])
        assert (await store.candles(stream))[100:103] == wrong, "nobody looked"
        await run.repair([stream], START_MS, compare=True)
        found = await store.candles(stream)
        assert values(found) == values(right)
        assert [candle.revision for candle in found[100:103]] == [2, 2, 2]
        assert run.reports[stream].changed == 3
        hours = [each for each in resample(found, H1) if each.closed and each.open_time_ms >= START_MS]
        assert values(await store.candles(Stream(venue, stream.symbol, H1))) == values(hours)


async def test_only_what_is_meant(autojump_clock: object, tmp_path: Path) -> None:
    async with open_past(tmp_path, "okx", outages=()) as past, past.store() as store:
        await filled(past, store)
        stream = past.streams[0]
        candles = await store.candles(stream)
        for first in (100, 500):
            forget(past.path, stream, candles[first].open_time_ms, candles[first + 3].open_time_ms)
        await past.history(store).repair([stream], candles[400].open_time_ms)
        assert len(past.requests.klines()) == 1
        assert [each.stretch.start_ms for each in holes(stream, await store.covered(stream), [])] == [
            candles[100].open_time_ms
        ]
        await past.history(store).repair([stream], None, candles[400].open_time_ms)
        assert values(await store.candles(stream)) == values(candles)


async def test_streams_that_nobody_can_ask_for(autojump_clock: object, tmp_path: Path) -> None:
    async with open_past(tmp_path, "binance-spot", outages=()) as past, past.store() as store:
        await filled(past, store)
        stream = past.streams[0]
        candles = await store.candles(stream, limit=5)
        strangers = [Stream("kraken", "XBTUSD", M1), Stream("binance-spot", "BTCUSDT", Timeframe("1500s@epoch"))]
        for stranger in strangers:
            frame = stranger.timeframe
            for candle in (candles[0], candles[4]):
                ends_ms = frame.close_ms(candle.open_time_ms)
                like = candle.replace(venue=stranger.venue, symbol=stranger.symbol, timeframe=frame)
                await store.write([like.replace(close_time_ms=ends_ms)], [])
        run = past.history(store)
        await run.repair([*strangers, stream])
        (error,) = run.errors
        assert "kraken" in error
        assert run.reports[stream].done
