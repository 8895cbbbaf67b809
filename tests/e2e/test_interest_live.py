"""Watching and unwatching while the feed runs: owners, priorities, limits, expiry, consolidation."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
from e2e_world import EPOCH, SPOT, open_world, spot

from candleactors.errors import FeedClosed, InvalidSymbol, InvalidTimeframe, UnknownVenue
from candleactors.model import Stream, Timeframe
from candleactors.sim.faults import FaultKind
from candleactors.sim.market import Market, default_symbols

MARKET_SYMBOLS = [spec.symbol for spec in default_symbols(40) if spec.symbol.isascii()]


def market() -> Market:
    return Market(7, EPOCH, default_symbols(40))


def streams(symbols: list[str], *frames: str) -> list[Stream]:
    return [Stream(SPOT, symbol, Timeframe(frame)) for symbol in symbols for frame in frames or ("1m",)]


async def test_several_owners_of_one_stream(autojump_clock: object, tmp_path: Path) -> None:
    async with open_world(tmp_path, spot("BTCUSDT", frames=("1m",))) as world:
        async with world.feed() as feed:
            judge = world.judge(feed)
            await trio.sleep(5)
            eth = streams(["ETHUSDT"], "1s")
            feed.watch(eth, owner="a")
            feed.watch([f"{SPOT}:ETHUSDT:1s"], owner="b")
            await trio.sleep(30)
            assert "ethusdt@kline_1s" in world.subscribed()
            feed.unwatch(eth, owner="a")
            await trio.sleep(30)
            assert "ethusdt@kline_1s" in world.subscribed()
            assert trio.current_time() - judge.last_seen_s[eth[0]] < 3
            feed.unwatch(owner="b")
            await trio.sleep(10)
            assert world.subscribed() == ["btcusdt@kline_1m"]
            seen_s = judge.last_seen_s[eth[0]]
            assert trio.current_time() - seen_s > 5
            # Back after a while: what was not watched in between is fetched, nothing is repeated.
            await trio.sleep(60)
            feed.watch(eth, owner="c", expires_after_s=30.0)
            await trio.sleep(20)
            assert trio.current_time() - judge.last_seen_s[eth[0]] < 3
            await trio.sleep(30)
            assert feed.status().owners == {"config": 1}
            assert world.subscribed() == ["btcusdt@kline_1m"]
        await judge.verdict(streams=streams(["BTCUSDT"]))
        await judge.compare_store(eth[0])
        assert not judge.complaints
        assert world.sim.counters.connections == 1


async def test_adding_symbols_moves_nothing(autojump_clock: object, tmp_path: Path) -> None:
    """Connections stay as they are; the new streams join them or open new ones."""
    async with open_world(
        tmp_path, spot(*MARKET_SYMBOLS[:6], frames=("1m",), streams_per_connection=4), market=market()
    ) as world:
        async with world.feed() as feed:
            judge = world.judge(feed)
            await trio.sleep(20)
            before = {connection.number: set(connection.names) for connection in world.connections()}
            assert len(before) == 2
            feed.watch(streams(MARKET_SYMBOLS[6:17]))
            await trio.sleep(20)
            after = {connection.number: set(connection.names) for connection in world.connections()}
            assert all(before[number] <= after[number] for number in before)
            assert len(after) == 5
            await trio.sleep(80)
            assert feed.status().healthy
        await judge.verdict(streams=streams(MARKET_SYMBOLS[:17]))
        assert not judge.gaps
        assert world.sim.counters.connections == 5
        assert world.violations() == {}


async def test_shrinking_consolidates_make_before_break(autojump_clock: object, tmp_path: Path) -> None:
    async with open_world(
        tmp_path, spot(*MARKET_SYMBOLS[:3], frames=("1s", "1m"), streams_per_connection=10), market=market()
    ) as world:
        async with world.feed() as feed:
            judge = world.judge(feed)
            feed.watch(streams(MARKET_SYMBOLS[3:27]))
            await trio.sleep(20)
            assert len(world.connections()) == 3
            kept = streams([*MARKET_SYMBOLS[:3], *MARKET_SYMBOLS[24:27]])
            feed.unwatch(streams(MARKET_SYMBOLS[3:24]))
            for _ in range(300):
                await trio.sleep(1)
                names = set(world.subscribed())
                assert {f"{stream.symbol.lower()}@kline_1m" for stream in kept} <= names
            assert len(world.connections()) == 1
            assert feed.status().healthy
        await judge.verdict(streams=[*kept, *streams(MARKET_SYMBOLS[:3], "1s")])
        assert not judge.gaps
        since_ms = EPOCH + 60_000
        assert {source for stream in kept for source in judge.sources(stream, since_ms)} == {"ws"}
        assert world.violations() == {}


async def test_beyond_the_limit_the_important_ones_are_served(autojump_clock: object, tmp_path: Path) -> None:
    venue = spot("BTCUSDT", "ETHUSDT", frames=("1m",), streams_per_connection=3, max_connections=2)
    async with open_world(tmp_path, venue, market=market()) as world:
        async with world.feed() as feed:
            judge = world.judge(feed)
            feed.watch(streams(MARKET_SYMBOLS[2:10]), owner="many", priority=-1)
            await trio.sleep(20)
            assert len(world.subscribed()) == 6
            assert feed.status().venues[0].waiting == 4
            feed.watch(streams(MARKET_SYMBOLS[20:22]), owner="position", priority=10)
            await trio.sleep(20)
            important = {f"{symbol.lower()}@kline_1m" for symbol in (*MARKET_SYMBOLS[:2], *MARKET_SYMBOLS[20:22])}
            assert important <= set(world.subscribed())
            assert len(world.subscribed()) == 6
            assert feed.status().venues[0].waiting == 6
            feed.unwatch(owner="many")
            await trio.sleep(120)
            assert set(world.subscribed()) == important
            assert feed.status().venues[0].waiting == 0
        await judge.verdict(streams=streams([*MARKET_SYMBOLS[:2], *MARKET_SYMBOLS[20:22]]))
        assert world.violations() == {}


async def test_priorities_decide_who_starts_first(autojump_clock: object, tmp_path: Path) -> None:
    """With a REST budget for a few requests a minute, the position's history comes first."""
    venue = spot("BTCUSDT", frames=("1m",), rest_weight=20)
    async with open_world(tmp_path, venue, market=market()) as world, world.feed() as feed:
        judge = world.judge(feed)
        feed.watch(streams(MARKET_SYMBOLS[1:30]), owner="many", priority=-1)
        feed.watch(streams(MARKET_SYMBOLS[30:33]), owner="position", priority=5)
        await trio.sleep(20)
        first = [stream.symbol for stream in judge.streams]
        assert set(MARKET_SYMBOLS[30:33]) <= set(first[:6])
        assert len(first) < 20


async def test_watching_the_impossible_changes_nothing(autojump_clock: object, tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        async with world.feed() as feed:
            for wrong, error in (
                (f"{SPOT}:BTCUSDT:7x", InvalidTimeframe),
                (f"{SPOT}:btcusdt:1m", InvalidSymbol),
                ("nowhere:BTCUSDT:1m", UnknownVenue),
            ):
                with pytest.raises(error):
                    feed.watch([f"{SPOT}:SOLUSDT:1m", wrong])
                with pytest.raises(error):
                    feed.candles([wrong])
            assert feed.status().owners == {"config": 4}
        for call in (feed.status, feed.candles, feed.unwatch):
            with pytest.raises(FeedClosed):
                call()
        with pytest.raises(FeedClosed):
            await feed.history(f"{SPOT}:BTCUSDT:1m")


async def test_watching_during_a_reconnect(autojump_clock: object, tmp_path: Path) -> None:
    """The new connection starts from what is wanted then, not from what was."""
    async with open_world(tmp_path, spot("BTCUSDT", frames=("1s",))) as world:
        async with world.feed() as feed:
            judge = world.judge(feed)
            await trio.sleep(10)
            world.inject(FaultKind.HANG_HANDSHAKE, duration_s=20.0)
            world.inject(FaultKind.DROP)
            await trio.sleep(2)
            feed.watch(streams(["ETHUSDT"], "1d", "1s"))
            feed.unwatch(streams(["BTCUSDT"], "1s"), owner="config")
            await trio.sleep(60)
            assert world.subscribed() == ["ethusdt@kline_1d", "ethusdt@kline_1s"]
        await judge.verdict(streams=streams(["ETHUSDT"], "1s"))
