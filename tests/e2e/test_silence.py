"""Sockets that live and say nothing, streams that are mute, and streams that merely have nothing to say."""

from __future__ import annotations

from pathlib import Path

import trio
from attrs import evolve
from e2e_world import EPOCH, SPOT, USDM, open_world, spot, usdm

from candleactors.model import Stream, Timeframe
from candleactors.settings import HealthSettings
from candleactors.sim.binance import USDM_RULES
from candleactors.sim.faults import FaultKind
from candleactors.sim.market import Market, default_symbols
from candleactors.sim.tape import SymbolSpec

HEALTH = HealthSettings(interval_s=5.0, stale_after_s=20.0, first_data_s=15.0)
MINUTE = Stream(SPOT, "BTCUSDT", Timeframe("1m"))


async def test_a_silent_socket_that_answers_pings_is_replaced(autojump_clock: object, tmp_path: Path) -> None:
    async with open_world(tmp_path, spot(frames=("1s", "1m", "4h")), health=HEALTH) as world:
        async with world.feed() as feed:
            judge = world.judge(feed)
            await trio.sleep(30)
            silent = world.connections()[0]
            world.inject(FaultKind.SILENCE, duration_s=10_000.0)
            await trio.sleep(50)
            assert silent not in world.connections()
            # Meanwhile REST delivers.
            seconds = judge.sources(Stream(SPOT, "BTCUSDT", Timeframe("1s")), EPOCH + 31_000)
            assert len(seconds) > 40
            assert set(seconds[:15]) == {"rest"}
            await trio.sleep(40)
            assert judge.sources(Stream(SPOT, "BTCUSDT", Timeframe("1s")))[-20:] == ["ws"] * 20
            assert len(world.subscribed()) == 6
            assert feed.status().healthy
        await judge.verdict()
        assert not judge.gaps


async def test_with_default_settings_a_silent_socket_is_replaced_after_stale_after(
    autojump_clock: object, tmp_path: Path
) -> None:
    async with open_world(tmp_path, spot(frames=("1m", "1h"))) as world:
        async with world.feed() as feed:
            judge = world.judge(feed)
            await trio.sleep(60)
            silent = world.connections()[0]
            world.inject(FaultKind.SILENCE, duration_s=10_000.0)
            await trio.sleep(115)
            assert silent in world.connections()
            await trio.sleep(75)
            assert silent not in world.connections()
            await trio.sleep(60)
            assert feed.status().healthy
        await judge.verdict()
        assert not judge.gaps
        assert judge.latest_delay_ms < 15_000 + 20_000


async def test_one_mute_stream_is_resubscribed_on_its_living_socket(autojump_clock: object, tmp_path: Path) -> None:
    async with open_world(tmp_path, spot("BTCUSDT", "ETHUSDT", "SOLUSDT", "BNBUSDT"), health=HEALTH) as world:
        async with world.feed() as feed:
            judge = world.judge(feed)
            await trio.sleep(30)
            connection = world.connections()[0]
            requests = feed.status().venues[0].connections[0].subscriptions
            assert requests is not None
            world.inject(FaultKind.STREAM_SILENCE, stream="btcusdt@kline_1m", duration_s=200.0)
            await trio.sleep(160)
            now = feed.status().venues[0].connections[0]
            assert now.subscriptions is not None
            assert now.subscriptions.requests >= requests.requests + 2
            assert "btcusdt@kline_1m" in now.sick
            assert not feed.status().healthy
            assert set(judge.sources(MINUTE, EPOCH + 40_000)) == {"rest"}
            await trio.sleep(300)
            assert world.connections() == [connection]
            assert feed.status().healthy
            assert judge.sources(MINUTE)[-2:] == ["ws", "ws"]
        await judge.verdict()
        assert world.sim.counters.connections == 1
        assert not judge.gaps


async def test_acked_and_never_a_word(autojump_clock: object, tmp_path: Path) -> None:
    """Everything is acknowledged and nothing comes: REST delivers, and the connection is replaced."""
    async with open_world(tmp_path, health=HEALTH) as world:
        world.inject(FaultKind.ACK_WITHOUT_DATA, duration_s=60.0)
        async with world.feed() as feed:
            judge = world.judge(feed)
            await trio.sleep(150)
            assert feed.status().healthy
            assert world.sim.counters.connections >= 2
        await judge.verdict()
        assert not judge.gaps


async def test_quiet_symbols_are_left_alone(autojump_clock: object, tmp_path: Path) -> None:
    """Symbols with a trade every few minutes, or hours: no reconnect, no complaint, little REST."""
    quiet = [
        SymbolSpec(f"Q{n}", "USDT", "10.000", 3, 2, rate, 0.0003, "10")
        for n, rate in enumerate((0.2, 0.1, 0.05, 0.02, 0.01, 0.001))
    ]
    market = Market(7, EPOCH, [*default_symbols(1), *quiet])
    names = [spec.symbol for spec in quiet]
    async with open_world(tmp_path, spot(*names, frames=("1m", "1h", "1d")), market=market) as world:
        async with world.feed() as feed:
            judge = world.judge(feed)
            await trio.sleep(600)
            requests = world.sim.counters.requests
            await trio.sleep(2 * 3600)
            status = feed.status()
            rest_an_hour = (world.sim.counters.requests - requests) / 2
        await judge.verdict()
        assert status.healthy
        assert world.sim.counters.connections == 1
        verifying = 6 * len(names) * 3 * 1.2  # every stream every ten minutes
        assert rest_an_hour < verifying + 150
        assert not judge.gaps
        assert not [line for line in world.log.lines if line["level"] not in ("debug", "info")]


async def test_an_unknown_symbol_is_parked_and_nobody_else_notices(autojump_clock: object, tmp_path: Path) -> None:
    async with open_world(tmp_path, spot("BTCUSDT", unknown_symbols="park"), health=HEALTH) as world:
        async with world.feed() as feed:
            judge = world.judge(feed)
            await trio.sleep(20)
            feed.watch([f"{SPOT}:NOSUCHUSDT:1m", f"{SPOT}:NOSUCHUSDT:1h", f"{SPOT}:ETHUSDT:1m"])
            await trio.sleep(100)
            status = feed.status()
            assert set(status.venues[0].parked) == {f"{SPOT}:NOSUCHUSDT:1m", f"{SPOT}:NOSUCHUSDT:1h"}
            assert all("does not know this symbol" in reason for reason in status.venues[0].parked.values()), (
                status.venues[0].parked
            )
            assert status.healthy
            assert not [name for name in world.subscribed() if "nosuch" in name]
        await judge.verdict(streams=[*judge.configured(), Stream(SPOT, "ETHUSDT", Timeframe("1m"))])
        assert world.sim.counters.connections == 1
        assert not judge.gaps


async def test_the_wrong_route_is_called_sick_and_rest_delivers(autojump_clock: object, tmp_path: Path) -> None:
    """USD-M klines on a route that accepts, acknowledges and stays silent."""
    wrong = evolve(USDM_RULES, kline_routes=("/public",))
    async with open_world(tmp_path, usdm("BTCUSDT", "ETHUSDT"), rules={USDM: wrong}, health=HEALTH) as world:
        async with world.feed() as feed:
            judge = world.judge(feed)
            await trio.sleep(400)
            status = feed.status()
            connects = world.sim.counters.connections
        await judge.verdict(slack_s=20.0)
        assert not status.healthy
        assert not judge.gaps
        assert all(candle.source == "rest" for said in judge.said.values() for candle in said.values())
        assert 1 < connects < 25
        assert judge.latest_delay_ms < 20_000
        assert world.violations() == {}


async def test_a_parked_symbol_is_tried_again_in_time(autojump_clock: object, tmp_path: Path) -> None:
    async with open_world(tmp_path, spot("BTCUSDT", frames=("1m",)), health=HEALTH) as world, world.feed() as feed:
        feed.watch([f"{SPOT}:NOSUCHUSDT:1m"])
        await trio.sleep(1_700)
        assert len(world.log.named("stream parked")) == 1
        await trio.sleep(200)
        assert len(world.log.named("stream parked")) == 2
        assert set(feed.status().venues[0].parked) == {f"{SPOT}:NOSUCHUSDT:1m"}
