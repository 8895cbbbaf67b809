"""The same life on every venue, each in its own language: together, at its limits, in silence, with bad symbols."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
from e2e_world import EPOCH, open_world, other

from candleactors import venues
from candleactors.model import Source, Stream, Timeframe
from candleactors.settings import VenueSettings
from candleactors.sim import RULES, Market, SymbolSpec, default_symbols
from candleactors.sim.counters import Counters
from candleactors.sim.faults import FaultKind

M1 = Timeframe("1m")
NAMES = sorted(RULES)
NOTICES = ("binance-spot", "bitfinex", "okx")
QUIET = SymbolSpec("RARE", "USDT", "10.000", 3, 2, 0.02)


def spelled(venue: str, market: Market, symbols: int | None = None) -> list[str]:
    """Return what `venue` calls the first `symbols` of `market`."""
    own = RULES[venue].dialect(market, Counters()).symbols
    wanted = list(market.specs)[:symbols]
    return [symbol for symbol, name in own.items() if name in wanted]


def market(symbols: int = 20, **changes: object) -> Market:
    return Market(7, EPOCH, default_symbols(symbols), **changes)  # type: ignore[arg-type]  # any of its parameters


def streams(settings: dict[str, VenueSettings]) -> list[Stream]:
    return [
        Stream(name, s, frame) for name, venue in settings.items() for s in venue.symbols for frame in venue.timeframes
    ]


async def test_all_of_them_at_once(autojump_clock: object, tmp_path: Path) -> None:
    world_market = market(3)
    others: dict[str, VenueSettings] = {}
    for venue in NAMES:
        others |= other(venue, *spelled(venue, world_market), frames=("1m", "5m"), derived=(Timeframe("3m"),))
    async with open_world(tmp_path, market=world_market, others=others) as world:
        async with world.feed() as feed:
            judge = world.judge(feed, [*map(str, streams(others))])
            await trio.sleep(330)
            world.inject(FaultKind.DROP)
            await trio.sleep(200)
            assert all(venue.connections for venue in feed.status().venues)
        await judge.verdict(slack_s=25.0)
        assert world.violations() == {}
        assert judge.gaps == []


@pytest.mark.parametrize("venue", NAMES)
async def test_a_bad_symbol_is_parked_and_the_others_flow(venue: str, autojump_clock: object, tmp_path: Path) -> None:
    world_market = market(12)
    good = spelled(venue, world_market)
    btc = next(symbol for symbol in good if "BTC" in symbol)
    bad = "tNOSUCH:UST" if venue == "bitfinex" else btc.replace("BTC", "NOSUCH")
    async with open_world(tmp_path, market=world_market, others=other(venue, *good[:6], bad, *good[6:])) as world:
        async with world.feed() as feed:
            judge = world.judge(feed)
            await trio.sleep(400)
            (status,) = feed.status().venues
            assert list(status.parked) == [f"{venue}:{bad}:1m"]
        await judge.verdict(streams=[Stream(venue, symbol, M1) for symbol in good], slack_s=25.0)
        assert world.violations() == {}
        assert world.sim.counters.connections <= 2


@pytest.mark.parametrize("venue", NAMES)
async def test_a_quiet_market_is_kept_alive(venue: str, autojump_clock: object, tmp_path: Path) -> None:
    world_market = Market(7, EPOCH, (QUIET,))
    symbols = spelled(venue, world_market)
    async with open_world(tmp_path, market=world_market, others=other(venue, *symbols, rotate_after_s=None)) as world:
        async with world.feed() as feed:
            judge = world.judge(feed)
            await trio.sleep(3600)
            assert all(stream in judge.said for stream in streams(world.settings.venues))
        await judge.verdict(slack_s=25.0)
        assert world.violations() == {}
        assert world.sim.counters.connections == 1
        assert judge.gaps == []
        if venues.codec(venue).rules.skips_empty:
            sources = judge.sources(Stream(venue, symbols[0], M1), EPOCH)
            assert sources.count(Source.FILLED) > len(sources) / 2


@pytest.mark.parametrize("venue", NAMES)
async def test_silence_on_a_live_socket(venue: str, autojump_clock: object, tmp_path: Path) -> None:
    world_market = market(2)
    async with open_world(tmp_path, market=world_market, others=other(venue, *spelled(venue, world_market))) as world:
        async with world.feed() as feed:
            judge = world.judge(feed)
            await trio.sleep(100)
            world.inject(FaultKind.SILENCE, duration_s=900.0)
            await trio.sleep(600)
        await judge.verdict(slack_s=30.0)
        assert judge.gaps == []


@pytest.mark.parametrize("venue", NAMES)
async def test_acknowledged_and_mute(venue: str, autojump_clock: object, tmp_path: Path) -> None:
    world_market = market(2)
    async with open_world(tmp_path, market=world_market, others=other(venue, *spelled(venue, world_market))) as world:
        world.inject(FaultKind.ACK_WITHOUT_DATA, duration_s=100.0)
        async with world.feed() as feed:
            judge = world.judge(feed)
            await trio.sleep(600)
            (status,) = feed.status().venues
            assert all(each.subscriptions and each.subscriptions.flowing for each in status.connections)
        await judge.verdict(slack_s=30.0)
        assert judge.gaps == []


@pytest.mark.parametrize("venue", NOTICES)
async def test_a_notice_moves_the_streams_in_time(venue: str, autojump_clock: object, tmp_path: Path) -> None:
    world_market = market(2)
    async with open_world(tmp_path, market=world_market, others=other(venue, *spelled(venue, world_market))) as world:
        async with world.feed() as feed:
            judge = world.judge(feed)
            await trio.sleep(100)
            (old,) = world.connections()
            world.inject(FaultKind.SHUTDOWN, delay_s=60.0)
            await trio.sleep(59)
            assert old not in world.connections()
            await trio.sleep(100)
        await judge.verdict(slack_s=25.0)
        assert world.sim.counters.connections == 2
        assert judge.gaps == []


@pytest.mark.parametrize(
    ("venue", "symbols", "connections"), [("bitfinex", 30, 3), ("okx", 60, 2), ("bybit-spot", 60, 1)]
)
async def test_limits_of_connections_are_kept(
    venue: str, symbols: int, connections: int, autojump_clock: object, tmp_path: Path
) -> None:
    world_market = market(symbols)
    names = spelled(venue, world_market)
    async with open_world(tmp_path, market=world_market, others=other(venue, *names)) as world:
        async with world.feed() as feed:
            judge = world.judge(feed)
            await trio.sleep(600)
            assert len(world.connections()) == connections
            assert len(world.subscribed()) == len(names)
        assert world.violations() == {}
        assert not judge.complaints


async def test_a_late_trade_at_bitfinex_is_a_revision(autojump_clock: object, tmp_path: Path) -> None:
    world_market = market(1)
    settings = other("bitfinex", "tBTCUST")
    async with open_world(tmp_path, market=world_market, others=settings) as world:
        async with world.feed() as feed:
            judge = world.judge(feed)
            await trio.sleep(200)
            world.inject(FaultKind.CORRECTION, symbol="BTCUSDT", count=2)
            await trio.sleep(300)
            assert len(judge.revisions) == 1
        await judge.verdict(slack_s=25.0)


def test_every_simulated_venue_has_a_codec() -> None:
    assert set(NAMES) <= set(venues.names())
