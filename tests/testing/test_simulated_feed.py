"""A feed in a simulated world: fast, the same from the same seed, and true."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from candleactors.errors import UnknownVenue
from candleactors.model import Candle, Event, Gap, Revision, Stream, Timeframe
from candleactors.settings import Settings, VenueSettings
from candleactors.sim import Fault, FaultKind, FaultScript, Market, default_symbols
from candleactors.stores.sqlite import open_sqlite
from candleactors.testing import SimulatedFeed, contract_breaches, open_simulated_feed, run_simulated
from candleactors.testing.simulation import START_MS

BTC = "binance-spot:BTCUSDT:1m"


async def hear(world: SimulatedFeed, for_s: float, *streams: str) -> list[Event]:
    """Return what the feed says in so many seconds."""
    heard: list[Event] = []
    with trio.move_on_after(for_s):
        async for event in world.feed.candles(streams or None):
            heard.append(event)  # noqa: PERF401 - a comprehension would lose everything once the time is up
    return heard


def test_an_hour_is_what_the_market_says() -> None:
    async def body(world: SimulatedFeed) -> None:
        heard = await hear(world, 3600)
        assert world.now_ms() == START_MS + 3_600_000
        assert contract_breaches(heard) == []
        candles = [event for event in heard if isinstance(event, Candle)]
        assert len(candles) == len(heard) > 200
        truth = world.truth(BTC, candles[0].open_time_ms)
        assert [candle.values() for candle in candles] == [true.values() for true in truth]
        assert truth[-1].close_time_ms > world.now_ms() - 60_000

    run_simulated(body)


def test_trouble_by_script_and_by_hand() -> None:
    script = FaultScript([Fault("drop", at_s=100), Fault("halt", at_s=400, duration_s=200)])

    async def body(world: SimulatedFeed) -> None:
        heard = await hear(world, 700)
        assert contract_breaches(heard) == []
        (gap,) = [event for event in heard if isinstance(event, Gap)]
        assert gap.count == 2
        world.inject(FaultKind.CORRECTION, symbol="BTCUSDT", count=1)
        world.inject("drop")
        heard = await hear(world, 900)
        assert any(isinstance(event, Revision) for event in heard)
        assert world.simulators["binance-spot"].counters.faults == {"drop": 2, "halt": 1, "correction": 1}

    run_simulated(body, faults=script)


def test_settings_lead_to_every_venue() -> None:
    venue = VenueSettings(symbols=("ETHUSDT",), websocket_url="wss://example.org")
    settings = Settings(venues={"binance-spot": venue, "binance-usdm": VenueSettings(symbols=("BTCUSDT",))})

    async def body(world: SimulatedFeed) -> set[Stream]:
        heard = await hear(world, 100)
        assert set(world.simulators) == set(settings.venues)
        assert world.feed.status().healthy
        return {event.stream for event in heard}

    streams = run_simulated(body, settings=settings)
    assert {str(stream) for stream in streams} == {"binance-spot:ETHUSDT:1m", "binance-usdm:BTCUSDT:1m"}


def test_derived_timeframes_are_what_the_market_says() -> None:
    async def body(world: SimulatedFeed) -> None:
        heard = await hear(world, 1_800, "binance-spot:BTCUSDT:7m")
        candles = [event for event in heard if isinstance(event, Candle)]
        complete = [candle for candle in candles if candle.complete]
        assert len(complete) > 4
        truth = {each.open_time_ms: each.values() for each in world.truth("binance-spot:BTCUSDT:7m")}
        assert all(truth[candle.open_time_ms] == candle.values() for candle in complete)

    run_simulated(body, timeframes=("1m", Timeframe("7m")))


def test_a_market_and_a_beginning_of_ones_own() -> None:
    start_ms = 1_735_689_570_000  # half a minute before 2025
    market = Market(3, start_ms, default_symbols(21))

    async def body(world: SimulatedFeed) -> list[Event]:
        assert world.now_ms() == start_ms
        assert world.market is market
        return await hear(world, 60)

    heard = run_simulated(body, symbols=("SIM0020USDT",), market=market, start_ms=start_ms)
    assert [event.open_time_ms for event in heard if isinstance(event, Candle)][-1] == start_ms - 30_000


async def test_under_a_virtual_clock_of_pytest_trio(autojump_clock: object, tmp_path: Path) -> None:
    async with open_sqlite(tmp_path / "mine.sqlite", threaded=False) as store:
        for seed in (1, 2):
            async with open_simulated_feed(seed=seed, store=store) as world:
                assert (world.seed, world.now_ms()) == (seed, START_MS)
                await trio.sleep(100)
            assert await store.candles(Stream.parse(BTC)), "the store stays open, and is the feed's"


async def test_real_time_is_refused() -> None:
    with pytest.raises(RuntimeError, match="autojump_clock, or run_simulated"):
        async with open_simulated_feed():
            pass


def test_a_venue_without_simulator_is_refused() -> None:
    async def body(world: SimulatedFeed) -> None: ...

    settings = Settings(venues={"nowhere": VenueSettings()})
    with pytest.raises(UnknownVenue, match="no simulator"):
        run_simulated(body, settings=settings)


class TestFailures:
    """What a test raises arrives as it was raised, and says which seed it was."""

    def test_of_the_body(self) -> None:
        async def body(world: SimulatedFeed) -> None:
            await trio.sleep(5)
            raise KeyError("mine")

        with pytest.raises(KeyError, match="mine") as caught:
            run_simulated(body, seed=77)
        assert caught.value.__notes__ == ["simulated feed: seed 77"]

    @pytest.mark.parametrize("outcome", [pytest.skip, pytest.fail])
    def test_that_mean_something_to_pytest(self, outcome: object) -> None:
        async def body(world: SimulatedFeed) -> None:
            assert callable(outcome)
            outcome("told")

        with pytest.raises(BaseException, match="told") as caught:
            run_simulated(body)
        assert not isinstance(caught.value, BaseExceptionGroup)

    def test_cancellation_goes_through(self) -> None:
        async def main() -> bool:
            with trio.move_on_after(50) as scope:
                async with open_simulated_feed():
                    await trio.sleep_forever()
            return scope.cancelled_caught

        assert trio.run(main, clock=MockClock(autojump_threshold=0))


STORY = """
import hashlib, sys
import trio
from candleactors.sim import Fault
from candleactors.testing import run_simulated

async def body(world):
    told = hashlib.sha256()
    with trio.move_on_after(900):
        async for event in world.feed.candles(forming=True):
            told.update(f"{trio.current_time()} {event}".encode())
    return told.hexdigest()

trouble = [Fault("drop", at_s=100), Fault("silence", at_s=300, duration_s=200), Fault("rest-error", at_s=305)]
print(run_simulated(body, seed=int(sys.argv[1]), symbols=("BTCUSDT", "ETHUSDT"), faults=trouble))
"""


def test_a_seed_tells_the_same_story_in_every_process() -> None:
    def story(seed: int, hash_seed: int) -> str:
        environment = {**os.environ, "PYTHONHASHSEED": str(hash_seed)}
        arguments = [sys.executable, "-W", "error", "-c", STORY, str(seed)]
        done = subprocess.run(arguments, env=environment, capture_output=True, text=True, check=True)
        return done.stdout

    assert story(5, 1) == story(5, 2) != story(6, 1)
