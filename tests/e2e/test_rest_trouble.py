"""REST that refuses, fails, hangs, lies about its length, or is short of budget."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import trio
from attrs import evolve
from e2e_world import EPOCH, SPOT, open_world, spot, usdm

from candleactors.model import Stream, Timeframe
from candleactors.settings import RepairSettings
from candleactors.sim.binance import SPOT_RULES
from candleactors.sim.binance.dialect import BinanceDialect
from candleactors.sim.faults import FaultKind
from candleactors.sim.market import Market, default_symbols

SECOND = Stream(SPOT, "BTCUSDT", Timeframe("1s"))


@pytest.mark.parametrize("code", [429, 418])
async def test_told_to_wait_means_waiting(autojump_clock: object, tmp_path: Path, code: int) -> None:
    """A long Retry-After while closes are missing: not one request in between, and everything comes afterwards."""
    one_at_a_time = RepairSettings(workers=1)  # what is under way together is refused together
    async with open_world(tmp_path, spot(frames=("1s", "1m")), repair=one_at_a_time) as world:
        async with world.feed() as feed:
            judge = world.judge(feed)
            await trio.sleep(30)
            world.inject(FaultKind.REST_LIMIT, code=code, delay_s=60.0, duration_s=50.0)
            world.inject(FaultKind.LOST_CLOSE, duration_s=5.0)
            await trio.sleep(12)
            asked = world.sim.counters.requests
            blocked_s = feed.status().venues[0].budget.rest_blocked_s
            assert 0 < blocked_s <= 60.0
            await trio.sleep(blocked_s - 1)
            assert world.sim.counters.requests == asked
            await trio.sleep(200)
            assert feed.status().venues[0].rest_rate_limited >= 1
        await judge.verdict()
        assert world.violations() == {}


async def test_a_refusal_at_the_start_delays_history_only(autojump_clock: object, tmp_path: Path) -> None:
    async with open_world(tmp_path, spot(frames=("1s", "1m")), usdm()) as world:
        world.inject(FaultKind.REST_LIMIT, code=429, delay_s=20.0, duration_s=10.0)
        async with world.feed() as feed:
            judge = world.judge(feed)
            await trio.sleep(150)
            assert feed.status().healthy
        await judge.verdict()
        assert not judge.gaps
        assert min(judge.opens(SECOND)) < EPOCH
        assert world.violations() == {}


@pytest.mark.parametrize(
    ("kind", "more"),
    [
        (FaultKind.REST_ERROR, {"code": 500}),
        (FaultKind.REST_ERROR, {"code": 503}),
        (FaultKind.REST_ERROR, {"code": 403}),
        (FaultKind.REST_ERROR, {"code": 404}),
        (FaultKind.REST_TIMEOUT, {}),
        (FaultKind.REST_TRUNCATED, {}),
    ],
    ids=str,
)
async def test_rest_fails_while_closes_are_missing(
    autojump_clock: object, tmp_path: Path, kind: FaultKind, more: Any
) -> None:
    repair = RepairSettings(deadline_s=60.0, request_timeout_s=5.0)
    async with open_world(tmp_path, spot(frames=("1s", "1m")), repair=repair) as world:
        async with world.feed() as feed:
            judge = world.judge(feed)
            await trio.sleep(30)
            world.inject(kind, duration_s=25.0, **more)
            world.inject(FaultKind.LOST_CLOSE, duration_s=5.0)
            await trio.sleep(240)
            assert feed.status().healthy
        await judge.verdict()
        if more.get("code") != 403:  # a firewall's ban, which is waited for
            assert not judge.gaps
        assert world.sim.counters.connections == 1
        assert world.violations() == {}


@pytest.mark.parametrize("kind", [FaultKind.REST_ERROR, FaultKind.REST_TIMEOUT, FaultKind.REST_TRUNCATED])
async def test_rest_fails_from_the_very_start(autojump_clock: object, tmp_path: Path, kind: FaultKind) -> None:
    """Without REST nothing is known to be closed before; the stream begins once it is, or with the socket's candles."""
    async with open_world(tmp_path, spot(frames=("1s", "1m"))) as world:
        world.inject(kind, duration_s=100.0, code=500)
        async with world.feed() as feed:
            judge = world.judge(feed)
            await trio.sleep(400)
            assert feed.status().healthy
        await judge.verdict()
        assert world.sim.counters.connections == 1


async def test_the_weight_budget_holds_when_everything_is_wanted_at_once(
    autojump_clock: object, tmp_path: Path
) -> None:
    """A hundred streams start, and break, within a budget of a hundred and twenty a minute."""
    market = Market(7, EPOCH, default_symbols(50))
    symbols = [symbol for symbol in market.specs if symbol.isascii()]
    rules = {SPOT: evolve(SPOT_RULES, weight_per_minute=120)}
    venue = spot(*symbols, frames=("1m", "5m"), rest_weight=120)
    async with open_world(tmp_path, venue, market=market, rules=rules, repair=RepairSettings(history=20)) as world:
        async with world.feed() as feed:
            judge = world.judge(feed)
            await trio.sleep(150)
            world.inject(FaultKind.DROP)
            await trio.sleep(300)
        await judge.verdict(slack_s=30.0)
        assert not judge.gaps
        assert world.violations() == {}


async def test_somebody_else_spends_from_the_same_budget(autojump_clock: object, tmp_path: Path) -> None:
    """The used weight that the venue reports holds us back before it has to."""
    rules = {SPOT: evolve(SPOT_RULES, weight_per_minute=100)}
    venue = spot(rest_weight=100)
    async with open_world(tmp_path, venue, rules=rules) as world:
        async with world.feed() as feed:
            judge = world.judge(feed)
            await trio.sleep(45)  # a new minute
            assert isinstance(world.sim.dialect, BinanceDialect)
            world.sim.dialect.weights.charge(70, world.now_ms())
            for _ in range(12):
                world.inject(FaultKind.LOST_CLOSE, duration_s=2.0)
                await trio.sleep(5)
            await trio.sleep(120)
        await judge.verdict()
        assert world.violations() == {}
