"""The run: simulators, the real feed, a subscriber, the judge, and faults, from the start to the report."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from enum import StrEnum
from itertools import count
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Final, TypeAlias

import trio
from attrs import define, field

from candleactors import venues
from candleactors.actors.status import FeedStatus
from candleactors.actors.subscription import Subscription
from candleactors.demo import plan
from candleactors.demo.judge import Judge, Verdict
from candleactors.demo.plan import Options
from candleactors.demo.report import Report
from candleactors.demo.tally import Note, Tally
from candleactors.demo.world import World, open_world
from candleactors.errors import ConfigError, FeedClosed
from candleactors.feed import Feed, open_feed
from candleactors.model import MINUTE_MS
from candleactors.settings import WebSettings
from candleactors.sim import Fault, Simulator
from candleactors.sim.faults import CONNECTION_WINDOWS, VENUE_WINDOWS
from candleactors.stores.base import Store
from candleactors.transport.clock import Clock, SystemClock
from candleactors.web.server import WebServer

SETTLE_S: Final = 15.0
"""Most seconds to wait at the end for what is still under repair, more where a venue says less of its closes."""
_LOOK_EVERY_S: Final = 0.25
_IN_TIME_MS: Final = 1_000
"""What is later than so long, after its interval was over, counts as awaited while the run goes on."""
_OPEN_BOOKS_MS: Final = MINUTE_MS
_HOUR_S: Final = 3_600.0


class Phase(StrEnum):
    """How far a run has come."""

    RUNNING = "running"
    SETTLING = "settling"
    STOPPING = "stopping"


@define
class Stop:
    """How the user ends a run."""

    asked: trio.Event = field(factory=trio.Event)
    """End in order."""
    hurried: trio.Event = field(factory=trio.Event)
    """Do not wait for what is still under repair."""

    def press(self) -> None:
        """Ask for the end; the second time, for a hurried one."""
        (self.hurried if self.asked.is_set() else self.asked).set()


@define
class Demo:
    """A run in progress, for whoever shows it or ends it."""

    options: Options
    world: World
    tally: Tally
    judge: Judge
    feed: Feed
    stop: Stop
    started_s: float
    address: str | None = None
    """Of the dashboard."""
    phase: Phase = Phase.RUNNING
    verdict: Verdict = field(factory=Verdict)
    """The latest one; final once the run is over."""
    read_to_end: trio.Event = field(factory=trio.Event)
    """Set once the subscriber has read everything, after the feed's end."""
    _status: FeedStatus | None = None

    @property
    def elapsed_s(self) -> float:
        """Seconds since the feed started."""
        return trio.current_time() - self.started_s

    @property
    def messages(self) -> int:
        """WebSocket messages that the simulators pushed."""
        return sum(simulator.counters.pushed for simulator in self.world.simulators.values())

    @property
    def connections(self) -> int:
        """Connections that the feed needs for its streams."""
        per_venue = [sum(s.venue == name for s in self.world.streams) for name in self.world.simulators]
        return sum(-(-streams // plan.STREAMS_PER_CONNECTION) for streams in per_venue)

    @property
    def reconnects(self) -> int:
        """Connections that the simulators accepted beyond those."""
        accepted = sum(simulator.counters.connections for simulator in self.world.simulators.values())
        return max(0, accepted - self.connections)

    def status(self) -> FeedStatus:
        """Return how the feed is, or how it was when it began to stop."""
        try:
            self._status = self.feed.status()
        except FeedClosed:
            assert self._status is not None, "the run asks before it stops the feed"
        return self._status

    def note(self, level: str, text: str) -> None:
        """Remember that something happened."""
        self.tally.notes.append(Note(self.elapsed_s, level, text))


Show: TypeAlias = Callable[[Demo], Awaitable[None]]


async def run_demo(
    options: Options,
    stop: Stop,
    show: Show | None = None,
    *,
    store: Store | None = None,
    clock: Clock | None = None,
    in_memory: bool = False,
) -> Report:
    """Run from the start to the end and return what became of it.

    Ends after ``options.seconds``, or when `stop` is pressed. `show` runs meanwhile and is cancelled once all is over.
    `store`, `clock` and `in_memory` are for tests in virtual time. Raises `ConfigError` if the file to store in exists.
    """
    used_clock = clock or SystemClock()
    async with _place(options) as path, open_world(options, used_clock.wall_ms(), in_memory=in_memory) as world:
        settings = plan.settings(world.endpoints, path)
        web = None if options.port is None else WebServer(WebSettings(port=options.port))
        # The reader and the view see the feed's end, so they outlast it.
        async with trio.open_nursery() as outlasting:
            async with open_feed(
                settings,
                services=[] if web is None else [web],
                store=store,
                network=world.network,
                clock=used_clock,
                rng=Random(options.seed),
            ) as feed:
                judge = Judge(world.streams, world.truth, world.time.now_ms())
                address = None if web is None else web.address
                demo = Demo(options, world, Tally(world.streams), judge, feed, stop, trio.current_time(), address)
                # Who looks at the dashboard may watch more; that is not judged.
                outlasting.start_soon(_read, demo, feed.candles(world.streams))
                feed.watch(world.streams, owner="demo")
                if show is not None:
                    outlasting.start_soon(show, demo)
                await _endure(demo)
                seconds, horizon_ms = demo.elapsed_s, world.time.now_ms()
                await _settle(demo, horizon_ms)
                settle_s = demo.elapsed_s - seconds
                demo.status()
                demo.phase = Phase.STOPPING
            stop_s = demo.elapsed_s - seconds - settle_s
            await demo.read_to_end.wait()
            outlasting.cancel_scope.cancel()
        hurried = stop.hurried.is_set()
        demo.verdict = judge.verdict(horizon_ms, world.time.now_ms(), as_far_as_delivered=hurried)
        return Report(
            verdict=demo.verdict,
            seed=options.seed,
            chaos=options.chaos,
            seconds=round(seconds, 3),
            settle_s=round(settle_s, 3),
            stop_s=round(stop_s, 3),
            orderly=stop_s < settings.supervision.drain_s,
            messages=demo.messages,
            connections=demo.connections,
            reconnects=demo.reconnects,
            history=demo.tally.history,
            rest_repairs=demo.tally.rest_repairs,
            faults=dict(demo.tally.faults),
            hurried=hurried,
        )


async def _read(demo: Demo, subscription: Subscription) -> None:
    """Be the subscriber whose events are judged."""
    async for event in subscription:
        demo.judge.take(event)
        demo.tally.take(event)
    demo.read_to_end.set()


async def _endure(demo: Demo) -> None:
    """Let time pass, and with chaos things go wrong, until the run's time is over or the user ends it."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_look_on, demo)
        if demo.options.chaos:
            for index, simulator in enumerate(demo.world.simulators.values()):
                nursery.start_soon(_break, demo, simulator, demo.options.seed * len(demo.options.venues) + index)
        with trio.move_on_after(math.inf if demo.options.seconds is None else demo.options.seconds):
            await demo.stop.asked.wait()
        nursery.cancel_scope.cancel()


async def _look_on(demo: Demo) -> None:
    """Keep the verdict fresh and the books short."""
    while True:
        await trio.sleep(1.0)
        now_ms = demo.world.time.now_ms()
        demo.judge.close_books(now_ms - _OPEN_BOOKS_MS)
        demo.verdict = demo.judge.verdict(now_ms - _IN_TIME_MS, now_ms)


async def _break(demo: Demo, simulator: Simulator, seed: int) -> None:
    """Let everything that the plan has for one venue go wrong, hour by hour without end."""
    for hour in count():
        start_s = trio.current_time()
        for fault in plan.faults(seed + (hour << 32), _HOUR_S).timeline():
            await trio.sleep_until(start_s + fault.at_s)
            simulator.inject(fault)
            demo.tally.faults[fault.kind.value] += 1
            demo.note("fault", f"{simulator.rules.name}: {_described(fault)}")
        await trio.sleep_until(start_s + _HOUR_S)


async def _settle(demo: Demo, horizon_ms: int) -> None:
    """Wait until everything that was over at `horizon_ms` has come, or for long enough."""
    demo.phase = Phase.SETTLING
    lags_s = [venues.codec(name).rules.close_lag_s for name in demo.options.venues]
    with trio.move_on_after(SETTLE_S + max(lags_s)):
        while not demo.stop.hurried.is_set():
            demo.verdict = demo.judge.verdict(horizon_ms, demo.world.time.now_ms())
            if demo.verdict.settled:
                return
            with trio.move_on_after(_LOOK_EVERY_S):
                await demo.stop.hurried.wait()


@asynccontextmanager
async def _place(options: Options) -> AsyncIterator[Path]:
    """Yield the path of the store: the user's, or one that goes afterwards."""
    if options.store is None:
        with TemporaryDirectory(prefix="candleactors-demo-") as folder:
            yield Path(folder) / "candles.sqlite"
    elif options.store.exists():
        raise ConfigError(f'"{options.store}" exists; simulated candles go into a new file only', key="--store")
    else:
        yield options.store


def _described(fault: Fault) -> str:
    whom = (
        ""
        if fault.kind.value.startswith("rest")
        else " on every connection"
        if fault.everyone
        else " on one connection"
    )
    code = f" {fault.code}" if fault.code else ""
    lasting = f" for {fault.duration_s:.1f} s" if fault.kind in CONNECTION_WINDOWS | VENUE_WINDOWS else ""
    return f"{fault.kind.value}{code}{whom}{lasting}"
