"""Everything at once, from a seed: faults, restarts, failing stores, readers that dawdle; then peace, and a reckoning.

Each life derives other timeframes, some of them always.

More seeds than the two that always run: ``CANDLEACTORS_SEEDS=0-99 pytest tests/e2e/test_swarm.py``. A failure names its
seed; the same variable with that seed alone replays it.
"""

from __future__ import annotations

import os
from pathlib import Path
from random import Random
from typing import Any

import pytest
import trio
from attrs import evolve
from derived_judge import DerivedJudge
from e2e_world import World, open_world, spot, usdm
from test_restarts_and_stores import BadStore

from candleactors.errors import FeedClosed, StoreUnavailable, SubscriberLagged
from candleactors.feed import Feed
from candleactors.model import Cursor, Timeframe
from candleactors.settings import RepairSettings, SubscriberSettings
from candleactors.sim.faults import Fault, FaultKind
from candleactors.stores.sqlite import SqliteStore

DERIVED = Timeframe.expand("2m,4m,5m,7m,10m,15m,1h,7m@epoch")
OF_SECONDS = Timeframe.expand("7s,90s")
PEACE_S = 1_400.0  # a gap is tried again after 5, 15, 60, 300 and 900 seconds


def seeds() -> list[int]:
    first, _, last = os.environ.get("CANDLEACTORS_SEEDS", "1-2").partition("-")
    return list(range(int(first), int(last or first) + 1))


class Dawdler:
    """One reader across all lives of the feed: resumes from its cursor, and sometimes sleeps for a while."""

    def __init__(self, world: World, rng: Random, *, dawdles: bool) -> None:
        self.judge = DerivedJudge(world)
        self.cut_off = 0
        self._rng = rng
        self.dawdles = dawdles
        self._cursor: Cursor | None = None

    async def read(self, feed: Feed, done: trio.Event) -> None:
        """Read one life of the feed to its end."""
        while True:
            judge = self.judge
            if self._cursor is not None:
                judge.resume(self._cursor)
            try:
                subscription = feed.candles(forming=True, after=self._cursor)
                async for event in subscription:
                    judge.take(event)
                    if self.dawdles and self._rng.random() < 0.002:
                        await trio.sleep(self._rng.uniform(10, 120))
                self._cursor = subscription.cursor
            except FeedClosed:
                return done.set()
            except SubscriberLagged as lagged:
                self._cursor = lagged.cursor
                self.cut_off += 1
            except StoreUnavailable:
                self._cursor = subscription.cursor
                await trio.sleep(1)
            else:
                return done.set()


def plan(rng: Random) -> tuple[list[Any], dict[str, Any], list[FaultKind], float]:
    """Draw venues, settings, the kinds of faults, and for how long they go on."""
    frames = rng.choice([("1s", "1m"), ("1m", "5m"), ("1m", "3m", "1h")])
    left_out = {FaultKind.REFUSE_SUBSCRIBE, FaultKind.ACK_WITHOUT_DATA}
    if "1s" in frames:
        left_out.add(FaultKind.CORRECTION)  # of the seconds, only the last three minutes are compared again
    kinds: list[FaultKind] = [kind for kind in FaultKind if kind not in left_out]
    rng.shuffle(kinds)
    venues = [
        spot(
            *("BTCUSDT", "ETHUSDT", "PERPUSDT")[: rng.choice((2, 3))],
            frames=frames,
            streams_per_connection=rng.choice((2, 4, 100)),
            rotate_after_s=rng.choice((100.0, 400.0, None)),
            flowing_timeout_s=10.0,
        )
    ]
    if rng.random() < 0.3:
        venues.append(usdm("BTCUSDT", "SOLUSDT"))
    settings: dict[str, Any] = {
        "repair": RepairSettings(
            verify_interval_s=120.0, history=rng.choice((0, 5, 8)), deadline_s=rng.choice((10.0, 30.0))
        ),
        "subscriber": SubscriberSettings(max_pending=rng.choice((60, 100_000))),
    }
    return venues, settings, kinds[: rng.randrange(3, len(kinds))], 400.0 if "1s" in frames else 1_500.0


def derive(world: World, rng: Random) -> None:
    """Have every venue derive other timeframes than before, but the first two always."""
    venues = dict(world.settings.venues)
    for name, venue in venues.items():
        pool = [*DERIVED, *(OF_SECONDS if Timeframe("1s") in venue.timeframes else ())]
        known = [frame for frame in pool if frame not in venue.timeframes]
        kept = venue.derived[:2] or rng.sample(known, 2)
        others = [frame for frame in known if frame not in kept and rng.random() < 0.3]
        venues[name] = evolve(venue, derived=(*kept, *others))
    world.settings = evolve(world.settings, venues=venues)


async def trouble(world: World, store: BadStore, kinds: list[FaultKind], rng: Random, for_s: float) -> None:
    """Let one fault after the other happen, and the store fail now and then."""
    codes = {FaultKind.REJECT_HANDSHAKE: 503, FaultKind.REST_LIMIT: 429, FaultKind.REST_ERROR: 500}
    until_s = trio.current_time() + for_s
    while trio.current_time() < until_s:
        await trio.sleep(rng.expovariate(1 / 12))
        kind = rng.choice(kinds)
        fault = Fault(
            kind,
            duration_s=rng.uniform(1, 40),
            delay_s=rng.uniform(0, 6),
            code=codes.get(kind, 1001),
            count=2_000 if kind is FaultKind.HUGE else 3,
            everyone=rng.random() < 0.5,
        )
        if kind is not FaultKind.HUGE or rng.random() < 0.1:
            for sim in world.sims.values():
                sim.inject(fault)
        store.refuses_writes = rng.random() < (0.8 if store.refuses_writes else 0.04)
        store.refuses_reads = rng.random() < (0.8 if store.refuses_reads else 0.04)


@pytest.mark.parametrize("seed", seeds())
async def test_swarm(autojump_clock: object, tmp_path: Path, seed: int) -> None:
    print(f"replay: CANDLEACTORS_SEEDS={seed} pytest {Path(__file__).name}")
    rng, taste = Random(seed), Random(-seed - 1)
    venues, settings, kinds, span_s = plan(rng)
    async with open_world(tmp_path, *venues, **settings) as world:
        store = BadStore(await SqliteStore.open(world.path, threaded=False))
        reader = Dawdler(world, rng, dawdles=rng.random() < 0.6)
        peace = False
        while not peace:
            peace = trio.current_time() >= span_s
            reader.dawdles &= not peace
            done = trio.Event()
            derive(world, taste)
            since_ms = world.now_ms()
            async with world.feed(store=store) as feed:
                world.nursery.start_soon(reader.read, feed, done)
                if not peace:
                    await trouble(world, store, kinds, rng, rng.uniform(30, 400))
                store.refuses_writes = store.refuses_reads = False
                await trio.sleep(PEACE_S if peace else 61)
                until_ms = world.now_ms()
                assert feed.status().healthy or not peace
            await done.wait()
        await store.aclose()
        reader.judge.done.set()
        await reader.judge.verdict(until_ms=until_ms)
        for stream in reader.judge.derived():
            # Who was cut off before it had heard of a stream is not told what had been said of it by then.
            known = [*reader.judge.said.get(stream, ()), *reader.judge.missing.get(stream, ())]
            is_always = stream.timeframe in world.settings.venues[stream.venue].derived[:2]
            await reader.judge.verdict_on(stream, since_ms=min(known, default=since_ms) if is_always else since_ms)
        excused = {"told_to_wait"}  # what was under way when the venue told us
        if FaultKind.PING_STORM in kinds:
            excused.add("message_rate")  # pongs nobody could foresee, after messages that are gone
        assert set(world.violations()) <= excused
