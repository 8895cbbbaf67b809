"""Derived candles over several lives of a feed, while they are built from the store, and as interest changes."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
from attrs import evolve
from derived_judge import DerivedJudge, judge
from e2e_world import SPOT, World, open_world, spot
from test_crashes import Saboteur
from test_derived import FEW, MINUTE, SHORT, TEA_TIME, market, stream
from test_restarts_and_stores import bad_store

from candleactors.actors.aggregator import Aggregator
from candleactors.core.derivation import Derivation
from candleactors.errors import SubscriberLagged
from candleactors.feed import Feed
from candleactors.model import HOUR_MS, Cursor, Timeframe
from candleactors.settings import AggregationSettings, RepairSettings
from candleactors.sim.faults import FaultKind
from candleactors.stores.sqlite import SqliteStore


class Resuming:
    """One reader over all lives of a feed, who goes on from a cursor."""

    def __init__(self, world: World) -> None:
        self.judge = DerivedJudge(world)
        self.cut_off = 0
        self._world = world
        self._cursor: Cursor | None = None

    def follow(self, feed: Feed) -> None:
        """Read this life of the feed."""
        self.judge.done = trio.Event()
        self._world.nursery.start_soon(self._read, feed)

    async def _read(self, feed: Feed) -> None:
        while True:
            if self._cursor is not None:
                self.judge.resume(self._cursor)
            try:
                async with feed.candles(forming=True, after=self._cursor) as subscription:
                    async for event in subscription:
                        self.judge.take(event)
                    self._cursor = subscription.cursor
                return self.judge.done.set()
            except SubscriberLagged as lagged:
                self._cursor = lagged.cursor
                self.cut_off += 1


async def test_a_restart_goes_on_without_a_seam(autojump_clock: object, tmp_path: Path) -> None:
    """After a moment, after hours; with more timeframes, and with fewer."""
    venue = spot("BTCUSDT", "PERPUSDT", frames=("1m",), derived=FEW[::2])
    async with open_world(tmp_path, venue, epoch_ms=TEA_TIME, market=market(TEA_TIME)) as world:
        reader = Resuming(world)
        extended_ms = 0
        for derived, pause_s in (
            (FEW[::2], 1.0),
            (FEW[::2], 4 * 3_600.0),
            (FEW, 20 * 60.0),
            (FEW[::2], 100.0),
            (FEW, 0.0),
        ):
            extended_ms = extended_ms or (world.now_ms() if derived == FEW else 0)
            world.settings = evolve(world.settings, venues={SPOT: evolve(venue, derived=derived)})
            async with world.feed() as feed:
                reader.follow(feed)
                await trio.sleep(130)
            await reader.judge.done.wait()
            await trio.sleep(pause_s)
        await reader.judge.verdict(until_ms=world.now_ms())
        always = [each for each in reader.judge.derived() if each.timeframe in FEW[::2]]
        await reader.judge.verdict_on(*always)
        others = [each for each in reader.judge.derived() if each.timeframe not in FEW[::2]]
        await reader.judge.verdict_on(*others, since_ms=extended_ms)
        assert not reader.judge.gaps
        assert not reader.judge.revisions
        assert reader.cut_off == 0


async def test_a_week_away(autojump_clock: object, tmp_path: Path) -> None:
    """Over a leap day and the end of a month, back just before the week ends: 10,000 minutes are made up for."""
    epoch_ms = 1_708_901_910_000  # 2024-02-25 22:58:30, a Sunday
    derived = Timeframe.expand("7m,60m,4h,1d,1d@+0800,1w,1M")
    venue = spot("PERPUSDT", frames=("1m",), derived=derived)
    async with open_world(tmp_path, venue, epoch_ms=epoch_ms, market=market(epoch_ms)) as world:
        reader = Resuming(world)
        for pause_s in (7 * 86_400.0 + 3_470.0, 0.0):
            async with world.feed() as feed:
                reader.follow(feed)
                await trio.sleep(130)
            await reader.judge.done.wait()
            await trio.sleep(pause_s)
        await reader.judge.verdict()
        await reader.judge.verdict_on()
        week = reader.judge.said[stream("1w", "PERPUSDT")]
        assert [candle.complete for _, candle in sorted(week.items())] == [False, True]
        assert sum(candle.complete for candle in reader.judge.said[stream("1d", "PERPUSDT")].values()) == 7
        assert not reader.judge.gaps


async def test_a_warm_start_with_an_empty_store(autojump_clock: object, tmp_path: Path) -> None:
    """The last three hours come over REST, and all that derives from them before the first live candle."""
    async with open_world(
        tmp_path, spot("BTCUSDT", frames=("1m",), derived=FEW), epoch_ms=TEA_TIME, market=market(TEA_TIME)
    ) as world:
        async with world.feed() as feed:
            reader = judge(world, feed)
            await trio.sleep(25)
            warm_ms = TEA_TIME - 3 * HOUR_MS
            for frame in SHORT:
                history = await feed.history(stream(str(frame)))
                told = [candle for candle in history if candle.close_time_ms >= warm_ms]
                assert all(candle.complete and candle.close_time_ms < TEA_TIME for candle in told)
                opens = [candle.open_time_ms for candle in told]
                assert opens == list(frame.opens(frame.floor(warm_ms), frame.floor(TEA_TIME)))
            assert reader.next_ms[MINUTE] == Timeframe("1m").floor(TEA_TIME)
            await trio.sleep(130)
        await reader.verdict()
        await reader.verdict_on()


async def test_a_warm_start_from_the_store(autojump_clock: object, tmp_path: Path) -> None:
    """With the minutes of an earlier life, and a venue that cannot be reached."""
    repair = RepairSettings(history=400)
    venue = spot("BTCUSDT", frames=("1m",))
    async with open_world(tmp_path, venue, epoch_ms=TEA_TIME, market=market(TEA_TIME, 8), repair=repair) as world:
        async with world.feed() as feed:
            first = judge(world, feed)
            await trio.sleep(100)
        await first.verdict()
        world.unlisten()
        world.settings = evolve(world.settings, venues={SPOT: evolve(venue, derived=FEW)})
        async with world.feed() as feed:
            await trio.sleep(5)
            newest_ms, begins = first.next_ms[MINUTE], {MINUTE: first.opens(MINUTE)[0]}
            for frame in SHORT:
                history = await feed.history(stream(str(frame)))
                opens = [candle.open_time_ms for candle in history]
                assert opens[-1] == frame.previous_open(frame.floor(newest_ms))
                assert opens[0] <= newest_ms - 3 * HOUR_MS
                assert all(candle.complete for candle in history)
                begins[stream(str(frame))] = opens[0]
            cursor = Cursor({each: each.timeframe.previous_open(open_ms) for each, open_ms in begins.items()})
            second = judge(world, feed, after=cursor)
            world.listen()
            await trio.sleep(130)
        await second.verdict()
        await second.verdict_on(since_ms=newest_ms - 3 * HOUR_MS)


@pytest.mark.parametrize("trouble", ["reads", "writes", "slow"])
async def test_store_trouble_while_warming(autojump_clock: object, tmp_path: Path, trouble: str) -> None:
    """Sources do not wait for long; what derives from them comes once the store can be read, nothing left out."""
    async with open_world(
        tmp_path, spot("BTCUSDT", frames=("1m",), derived=FEW), epoch_ms=TEA_TIME, market=market(TEA_TIME)
    ) as world:
        store = await bad_store(world)
        async with world.feed(store=store) as feed:
            reader = judge(world, feed)
            await trio.sleep(100)
            store.refuses_writes = trouble == "writes"
            store.refuses_reads = trouble == "reads"
            store.slow_s = 8.0 if trouble == "slow" else 0.0
            await trio.sleep(60)
            feed.watch([stream("11m")])
            await trio.sleep(130)
            assert trio.current_time() - reader.last_seen_s[MINUTE] < 60 + 20
            assert feed.status().venues[0].cold == (trouble != "slow")
            assert bool(world.log.named("derived candles wait for the store")) == (trouble != "slow")
            store.refuses_writes = store.refuses_reads = False
            store.slow_s = 0.0
            await trio.sleep(125)
            assert feed.status().venues[0].cold == 0
            assert feed.status().healthy
        await store.aclose()
        await reader.verdict()
        await reader.verdict_on()
        await reader.verdict_on(stream("11m"), since_ms=TEA_TIME - 2 * HOUR_MS)
        assert not reader.gaps


PLACES = [
    (Aggregator, "_aggregate", False),
    (Aggregator, "_aggregate", True),
    (Aggregator, "_deliver", False),
    (Aggregator, "_deliver", True),
    (Aggregator, "_build", False),
    (Aggregator, "_build", True),
    (Aggregator, "_reconcile", True),
    (Derivation, "on_candle", False),
    (Derivation, "on_candle", True),
    (SqliteStore, "tails", False),
]


@pytest.mark.parametrize(("owner", "name", "late"), PLACES, ids=lambda value: getattr(value, "__name__", str(value)))
async def test_a_bug_strikes(
    autojump_clock: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, owner: type, name: str, late: bool
) -> None:
    """While it is built for the first time, while candles come, and while it is built for another timeframe."""
    saboteur = Saboteur(monkeypatch, owner, name, late=late)
    saboteur.arm(1)
    venue = spot("BTCUSDT", "ETHUSDT", frames=("1m",), derived=FEW)
    async with open_world(tmp_path, venue, epoch_ms=TEA_TIME, market=market(TEA_TIME)) as world:
        async with world.feed() as feed:
            reader = Resuming(world)
            reader.follow(feed)
            await trio.sleep(40)
            for call in (0, 1):
                saboteur.arm(call)
                world.inject(FaultKind.DROP)
                await trio.sleep(61)
            saboteur.arm(0)
            feed.watch([stream("11m"), stream("11m", "ETHUSDT")])
            await trio.sleep(61)
            assert saboteur.struck >= 2
            assert feed.status().healthy
        await reader.judge.verdict()
        await reader.judge.verdict_on()
        await reader.judge.verdict_on(stream("11m"), stream("11m", "ETHUSDT"), since_ms=TEA_TIME - 2 * HOUR_MS)
        assert not reader.judge.gaps
        assert world.violations() == {}


async def test_watching_what_nobody_configured(autojump_clock: object, tmp_path: Path) -> None:
    """The source comes and goes with what is made from it, and is delivered as well."""
    seven, eight, minute = stream("7m", "ETHUSDT"), stream("8m", "ETHUSDT"), stream("1m", "ETHUSDT")
    async with open_world(
        tmp_path, spot("BTCUSDT", frames=("1h",)), epoch_ms=TEA_TIME, market=market(TEA_TIME)
    ) as world:
        async with world.feed() as feed:
            reader = judge(world, feed)
            await trio.sleep(10)
            assert feed.watch([f"{SPOT}:ETHUSDT:7m"]) == (seven,)
            await trio.sleep(20)
            assert world.subscribed() == ["btcusdt@kline_1h", "ethusdt@kline_1m"]
            assert len(reader.opens(seven)) > 180 // 7
            feed.watch([eight], owner="other", expires_after_s=60.0)
            await trio.sleep(5)
            assert feed.status().venues[0].derived == 2
            feed.unwatch([seven])
            await trio.sleep(30)
            assert world.subscribed() == ["btcusdt@kline_1h", "ethusdt@kline_1m"], "somebody else needs it"
            assert feed.status().venues[0].derived == 1
            await trio.sleep(30)
            assert world.subscribed() == ["btcusdt@kline_1h"]
            assert feed.status().venues[0].derived == 0
            formed = reader.forming
            await trio.sleep(300)
            assert reader.forming - formed <= 160, "only those of the hour"
            feed.watch([seven, eight])
            await trio.sleep(140)
        await reader.verdict(streams=[stream("1h"), minute])
        await reader.verdict_on(seven)
        await reader.verdict_on(eight, since_ms=TEA_TIME - 2 * HOUR_MS)
        assert not reader.gaps


@pytest.mark.parametrize(
    ("epoch_ms", "frames", "ended"),
    [
        (1_703_951_910_000, "7m@epoch,1d@+0800,1h@+0530,1w@+0800", {"1d@+0800"}),  # 2023-12-30 15:58:30
        (1_704_067_110_000, "3d@2017-08-17,2d,50m,25h,1M", {"3d@2017-08-17", "50m", "1M"}),  # 2023-12-31 23:58:30
        (1_702_511_910_000, "7m@epoch,2d", {"7m@epoch"}),  # 2023-12-13 23:58:30
        (1_703_953_710_000, "60s,24h,4h@-0030,30m@+0015", {"60s", "4h@-0030"}),  # 2023-12-30 16:28:30
    ],
)
async def test_odd_grids(autojump_clock: object, tmp_path: Path, epoch_ms: int, frames: str, ended: set[str]) -> None:
    derived = Timeframe.expand(frames)
    aggregation = AggregationSettings(warm_start_minutes=500)
    async with open_world(
        tmp_path, spot("BTCUSDT", frames=("1m",), derived=derived), epoch_ms=epoch_ms, market=market(epoch_ms, 18),
        aggregation=aggregation,
    ) as world:  # fmt: skip
        async with world.feed() as feed:
            reader = judge(world, feed)
            await trio.sleep(220)
        await reader.verdict()
        await reader.verdict_on()
        assert not reader.gaps
        boundary_ms = epoch_ms + 90_000
        assert ended == {str(each) for each in derived if each.floor(boundary_ms) == boundary_ms}
        for frame in ended:
            assert Timeframe(frame).previous_open(boundary_ms) in reader.said[stream(frame)]


async def test_seconds(autojump_clock: object, tmp_path: Path) -> None:
    derived = Timeframe.expand("5s,7s,90s")
    aggregation = AggregationSettings(warm_start_minutes=5)
    async with open_world(tmp_path, spot("BTCUSDT", frames=("1m",), derived=derived), aggregation=aggregation) as world:
        async with world.feed() as feed:
            reader = judge(world, feed)
            await trio.sleep(40)
            assert world.subscribed() == ["btcusdt@kline_1m", "btcusdt@kline_1s"]
            world.inject(FaultKind.DROP)
            await trio.sleep(20)
            world.inject(FaultKind.LOST_CLOSE, duration_s=9.0)
            await trio.sleep(120)
        await reader.verdict(streams=[MINUTE, stream("1s")])
        await reader.verdict_on()
        assert not reader.gaps
