"""SUBSCRIBE and its answers: lost, late, refused; subscriptions that vanish; the pace of messages."""

from __future__ import annotations

from pathlib import Path

import trio
from e2e_world import SPOT, open_world, spot, usdm

from candleactors.settings import HealthSettings
from candleactors.sim.faults import FaultKind


async def test_lost_acks_are_made_up_by_data(autojump_clock: object, tmp_path: Path) -> None:
    async with open_world(tmp_path, spot(frames=("1s", "1m", "1d"))) as world:
        world.inject(FaultKind.LOST_ACK, duration_s=40.0)
        async with world.feed() as feed:
            judge = world.judge(feed)
            await trio.sleep(90)
            assert feed.status().healthy
            assert len(world.subscribed()) == 6
        await judge.verdict()
        assert not judge.gaps
        assert world.violations() == {}


async def test_late_acks_are_understood(autojump_clock: object, tmp_path: Path) -> None:
    async with open_world(tmp_path, spot(frames=("1s", "1m", "1d"), ack_timeout_s=2.0)) as world:
        world.inject(FaultKind.LATE_ACK, duration_s=40.0, delay_s=5.0)
        async with world.feed() as feed:
            judge = world.judge(feed)
            await trio.sleep(90)
            assert feed.status().healthy
        await judge.verdict()
        assert not judge.gaps
        assert world.violations() == {}


async def test_a_venue_that_never_answers_is_left(autojump_clock: object, tmp_path: Path) -> None:
    """No ack and, on quiet streams, no data either: requests are repeated, then the connection goes."""
    async with open_world(tmp_path, spot("PERPUSDT", frames=("1d",), ack_timeout_s=5.0)) as world:
        world.inject(FaultKind.LOST_ACK, duration_s=20.0)
        world.inject(FaultKind.ACK_WITHOUT_DATA, duration_s=20.0)
        async with world.feed() as feed:
            await trio.sleep(120)
            assert feed.status().healthy
            assert world.subscribed() == ["perpusdt@kline_1d"]
        assert world.violations() == {}


async def test_refused_subscriptions_are_parked_with_the_reason(autojump_clock: object, tmp_path: Path) -> None:
    async with open_world(tmp_path, spot("BTCUSDT")) as world:
        async with world.feed() as feed:
            judge = world.judge(feed)
            await trio.sleep(10)
            world.inject(FaultKind.REFUSE_SUBSCRIBE, duration_s=20.0)
            feed.watch([f"{SPOT}:ETHUSDT:1m", f"{SPOT}:SOLUSDT:1m", f"{SPOT}:BNBUSDT:1m"])
            await trio.sleep(50)
            assert feed.status().venues[0].parked == {}  # served over REST, for what a symbol may yet have to tell
            await trio.sleep(50)
            parked = feed.status().venues[0].parked
            assert set(parked) == {f"{SPOT}:ETHUSDT:1m", f"{SPOT}:SOLUSDT:1m", f"{SPOT}:BNBUSDT:1m"}
            assert all("refused" in reason for reason in parked.values())
            feed.unwatch()
            feed.watch([f"{SPOT}:ETHUSDT:1m"])
            await trio.sleep(60)
            assert feed.status().venues[0].parked == {}
            assert "ethusdt@kline_1m" in world.subscribed()
        await judge.verdict()
        assert world.sim.counters.connections == 1
        assert world.violations() == {}


async def test_the_audit_finds_what_the_venue_forgot(autojump_clock: object, tmp_path: Path) -> None:
    health = HealthSettings(audit_interval_s=20.0)
    async with open_world(tmp_path, spot(frames=("1m", "1w")), health=health) as world:
        async with world.feed() as feed:
            judge = world.judge(feed)
            await trio.sleep(10)
            before = world.subscribed()
            connection = world.connections()[0]
            for name in ("btcusdt@kline_1w", "ethusdt@kline_1m"):
                del connection.session.names[name]
                world.sim.unsubscribe(connection, name)
            connection.session.names["solusdt@kline_1m"] = None
            await trio.sleep(40)
            assert world.subscribed() == before
            subscriptions = feed.status().venues[0].connections[0].subscriptions
            assert subscriptions is not None
            assert (subscriptions.audit_missing, subscriptions.audit_unwanted) == (2, 1)
        await judge.verdict()
        assert not judge.gaps
        assert world.sim.counters.connections == 1


async def test_ping_storms_and_busy_watching_stay_within_the_message_limit(
    autojump_clock: object, tmp_path: Path
) -> None:
    """Pongs count as messages too. Five a second on spot, ten on futures."""
    venues = spot("BTCUSDT", frames=("1m",), names_per_request=1), usdm("BTCUSDT", names_per_request=1)
    async with open_world(tmp_path, *venues) as world:
        async with world.feed() as feed:
            judge = world.judge(feed, forming=False)
            symbols = [symbol for symbol in world.market.specs if symbol.isascii()]
            for turn in range(12):
                watched = [f"{SPOT}:{symbol}:{frame}" for symbol in symbols for frame in ("1m", "1h")]
                if turn % 2:
                    feed.unwatch(owner="busy")
                else:
                    feed.watch(watched, owner="busy")
                await trio.sleep(7)
            await trio.sleep(30)
            assert feed.status().healthy
        await judge.verdict()
        assert world.violations() == {}
        assert world.sim.counters.connections == 1


async def test_a_thousand_streams_on_few_connections(autojump_clock: object, tmp_path: Path) -> None:
    from candleactors.sim.market import Market, default_symbols

    market = Market(7, 1_700_000_000_000, default_symbols(150))
    symbols = [symbol for symbol in market.specs if symbol.isascii()]
    venue = spot(*symbols, frames=("1m", "1h", "1d"), streams_per_connection=200)
    async with open_world(tmp_path, venue, market=market) as world:
        async with world.feed() as feed:
            await trio.sleep(60)
            status = feed.status()
            assert status.healthy
            assert status.venues[0].subscriptions == len(symbols) * 3
            assert len(world.connections()) == -(-len(symbols) * 3 // 200)
        assert world.violations() == {}
