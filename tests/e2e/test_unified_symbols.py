"""The unified spelling of symbols: configured, watched, read, asked of the store; with the list late or absent."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
from attrs import evolve
from e2e_world import EPOCH, SPOT, USDM, open_world, spot, usdm

from candleactors.errors import InvalidSymbol
from candleactors.model import Stream, Timeframe
from candleactors.sim.faults import FaultKind
from candleactors.sim.market import Market, default_symbols

M1 = Timeframe("1m")


def own(symbol: str, venue: str = SPOT) -> Stream:
    return Stream(venue, symbol, M1)


async def test_configured_symbols_are_watched_in_the_venues_spelling(autojump_clock: object, tmp_path: Path) -> None:
    futures = usdm("BTC/USDT:USDT", "ETHUSDT")
    async with open_world(tmp_path, spot("BTC/USDT", "ETH/USDT", frames=("1m",)), futures) as world:
        async with world.feed() as feed:
            judge = world.judge(feed)
            await trio.sleep(150)
            status = feed.status()
        watched = [own("BTCUSDT"), own("ETHUSDT"), own("BTCUSDT", USDM), own("ETHUSDT", USDM)]
        await judge.verdict(streams=watched)
        assert sorted(judge.streams, key=str) == sorted(watched, key=str)
        assert status.owners == {"config": 4}


async def test_a_reader_may_choose_before_the_list_is_there(autojump_clock: object, tmp_path: Path) -> None:
    async with open_world(tmp_path, spot("ETHUSDT", frames=("1m",))) as world:
        async with world.feed() as feed:
            judge = world.judge(feed, [f"{SPOT}:BTC/USDT:1m"])
            assert feed.watch([f"{SPOT}:BTC/USDT:1m"]) == (Stream(SPOT, "BTC/USDT", M1),)
            await trio.sleep(150)
            assert feed.watch([f"{SPOT}:BTC/USDT:1m"], owner="again") == (own("BTCUSDT"),)
            stored = await feed.history(f"{SPOT}:BTC/USDT:1m", limit=3, newest=True)
            assert [candle.symbol for candle in stored] == ["BTCUSDT"] * 3
            feed.unwatch([f"{SPOT}:BTC/USDT:1m"])
            feed.unwatch(owner="again")
            await trio.sleep(10)
            assert world.subscribed() == ["ethusdt@kline_1m"]
        await judge.done.wait()
        assert not judge.complaints
        assert judge.streams == [own("BTCUSDT")]
        assert judge.opens(own("BTCUSDT"))


async def test_symbols_wait_for_a_venue_that_gives_no_list(autojump_clock: object, tmp_path: Path) -> None:
    async with open_world(tmp_path, spot("BTC/USDT", frames=("1m",))) as world:
        world.inject(FaultKind.REST_ERROR, duration_s=300.0, code=503)
        async with world.feed() as feed:
            judge = world.judge(feed)
            await trio.sleep(200)
            assert world.subscribed() == []
            assert "503" in str(world.log.named("REST trouble"))
            await trio.sleep(300)
            assert world.subscribed() == ["btcusdt@kline_1m"]
        await judge.verdict(streams=[own("BTCUSDT")])


async def test_an_unknown_symbol_is_told_with_the_nearest(autojump_clock: object, tmp_path: Path) -> None:
    async with open_world(tmp_path, spot("BTCUSDT", frames=("1m",))) as world, world.feed() as feed:
        feed.watch([f"{SPOT}:BTC/USTD:1m"], owner="early")
        await trio.sleep(5)
        (line,) = world.log.named("stream parked")
        assert line["about"] == f"{SPOT}:BTC/USTD:1m"
        assert 'did you mean "BTC/USDT"?' in line["reason"]
        with pytest.raises(InvalidSymbol, match="BTC/USDT"):
            feed.watch([f"{SPOT}:BTC/USTD:1m"])
        assert feed.status().owners == {"config": 1}


async def test_what_is_let_go_before_the_list_comes_is_never_watched(autojump_clock: object, tmp_path: Path) -> None:
    async with open_world(tmp_path, spot("ETHUSDT", frames=("1m",))) as world, world.feed() as feed:
        feed.watch([f"{SPOT}:BTC/USDT:1m"], owner="a")
        feed.watch([f"{SPOT}:SOL/USDT:1m"], owner="b", expires_after_s=1e-9)
        feed.unwatch(owner="a")
        await trio.sleep(30)
        assert world.subscribed() == ["ethusdt@kline_1m"]


async def test_a_new_listing_is_found_once_the_list_is_old(autojump_clock: object, tmp_path: Path) -> None:
    specs = default_symbols(3)
    late = evolve(specs[2], listed_ms=EPOCH + 1_800_000)
    market = Market(7, EPOCH, (*specs[:2], late))
    async with open_world(tmp_path, spot("BTC/USDT", frames=("1m",)), market=market) as world, world.feed() as feed:
        await trio.sleep(60)
        with pytest.raises(InvalidSymbol):
            feed.watch([f"{SPOT}:SOL/USDT:1m"])
        await trio.sleep(3700)
        feed.watch([f"{SPOT}:SOL/USDT:1m"])
        await trio.sleep(60)
        assert world.subscribed() == ["btcusdt@kline_1m", "solusdt@kline_1m"]
