"""A world to live in: a market, its venues, a feed, and a judge who knows the truth; all in virtual time."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import structlog
import trio
from attrs import evolve
from structlog.typing import EventDict, FilteringBoundLogger

from candleactors.errors import SubscriberLagged
from candleactors.feed import Feed, open_feed
from candleactors.model import HOUR_MS, Candle, Cursor, Event, Gap, Revision, Source, Stream, Timeframe
from candleactors.settings import Settings, VenueSettings
from candleactors.sim import RULES
from candleactors.sim.faults import Fault, FaultKind
from candleactors.sim.market import Market
from candleactors.sim.rules import Rules
from candleactors.sim.server import Simulator
from candleactors.sim.websocket import Connection
from candleactors.stores.base import Store
from candleactors.stores.sqlite import SqliteStore
from candleactors.transport.clock import VirtualClock
from candleactors.transport.network import MemoryNetwork

EPOCH = 1_700_000_000_000  # 22:13:20, 20 seconds into a minute
EVE = 1_719_791_990_000  # 2024-06-30 23:59:50, a Sunday: everything from 1m to 1M closes ten seconds later
SPOT = "binance-spot"
USDM = "binance-usdm"
HOSTS = {SPOT: "sim", USDM: "usdm"}
"""Of the venues that most tests live with; others have hosts of their own names."""


def spot(*symbols: str, frames: Iterable[str] = ("1s", "1m"), **more: Any) -> VenueSettings:
    """Return settings that watch `symbols` on the simulator."""
    return VenueSettings(
        symbols=symbols or ("BTCUSDT", "ETHUSDT"),
        timeframes=tuple(map(Timeframe, frames)),
        websocket_url="ws://sim:80",
        rest_url="http://sim:80",
        **more,
    )


def usdm(*symbols: str, frames: Iterable[str] = ("1m",), **more: Any) -> VenueSettings:
    """The same for the futures' simulator."""
    return evolve(spot(*symbols, frames=frames), websocket_url="ws://usdm:80", rest_url="http://usdm:80", **more)


def other(venue: str, *symbols: str, frames: Iterable[str] = ("1m",), **more: Any) -> dict[str, VenueSettings]:
    """The same for the simulator of any venue, under its name."""
    host = HOSTS.get(venue, venue)
    settings = spot(*symbols, frames=frames, **more)
    return {venue: evolve(settings, websocket_url=f"ws://{host}:80", rest_url=f"http://{host}:80")}


class Log:
    """Keeps what a feed logs."""

    def __init__(self) -> None:
        self.lines: list[EventDict] = []
        wrapper = structlog.make_filtering_bound_logger(0)
        self.logger: FilteringBoundLogger = structlog.wrap_logger(None, [self._keep], wrapper_class=wrapper)

    def _keep(self, _: object, level: str, line: Any) -> Any:
        self.lines.append({"level": level, **line})
        raise structlog.DropEvent

    def named(self, event: str) -> list[EventDict]:
        """Return the lines of this event."""
        return [line for line in self.lines if line["event"] == event]


class World:
    """Simulated venues and everything a feed needs to live among them."""

    def __init__(
        self,
        nursery: trio.Nursery,
        epoch_ms: int,
        path: Path,
        settings: Settings,
        rules: dict[str, Rules],
        market: Market,
    ) -> None:
        self.nursery = nursery
        self.path = path
        self.settings = settings
        self.clock = VirtualClock(epoch_ms)
        self.market = market
        self.venue_ahead_ms = 0
        self.sims = {
            name: Simulator(market, rules[name], now_ms=lambda: self.clock.wall_ms() + self.venue_ahead_ms, seed=1)
            for name in settings.venues
        }
        self.network = MemoryNetwork(nursery)
        self.log = Log()
        self._rng = random.Random(1)

    @property
    def sim(self) -> Simulator:
        """The first venue's simulator."""
        return next(iter(self.sims.values()))

    def now_ms(self) -> int:
        """Return the venues' time."""
        return self.clock.wall_ms() + self.venue_ahead_ms

    def listen(self) -> None:
        """Have every simulator accept connections."""
        for name, sim in self.sims.items():
            self.network.listen(sim.serve_stream, HOSTS.get(name, name), 80)

    def unlisten(self) -> None:
        """Have every simulator refuse connections, as a host that is down."""
        for name in self.sims:
            self.network.unlisten(HOSTS.get(name, name), 80)

    def inject(self, kind: FaultKind, **more: Any) -> None:
        """Let a fault happen now, on every venue."""
        for sim in self.sims.values():
            sim.inject(Fault(kind, **more))

    @asynccontextmanager
    async def feed(self, settings: Settings | None = None, *, store: Store | None = None) -> AsyncIterator[Feed]:
        """Run a feed around the body, with a SQLite store at the world's path unless another is given."""
        used = store or await SqliteStore.open(self.path, threaded=False)
        try:
            async with open_feed(
                settings or self.settings,
                store=used,
                network=self.network,
                clock=self.clock,
                rng=self._rng,
                log=self.log.logger,
            ) as feed:
                yield feed
        finally:
            if store is None:
                await used.aclose()

    def judge(
        self,
        feed: Feed,
        streams: Iterable[Stream | str] | None = None,
        *,
        forming: bool = True,
        after: Cursor | None = None,
    ) -> Judge:
        """Return a judge who reads the feed from now on."""
        judge = Judge(self)
        self.nursery.start_soon(judge.read, feed, streams, forming, after)
        return judge

    def violations(self) -> dict[str, int]:
        """Return the venues' rules that the feed broke."""
        return {kind: n for sim in self.sims.values() for kind, n in sim.counters.violations.items()}

    def connections(self) -> list[Connection]:
        """Return the live WebSockets, as the first venue sees them."""
        return self.sim.connections

    def subscribed(self) -> list[str]:
        """Return every name subscribed on any connection of the first venue, sorted, repetitions included."""
        return sorted(name for connection in self.connections() for name in connection.names)

    async def stored(self, stream: Stream) -> tuple[list[Candle], list[Gap]]:
        """Return what the file holds of a stream; the feed must have ended."""
        store = await SqliteStore.open(self.path, threaded=False, read_only=True)
        try:
            return await store.candles(stream), await store.gaps(stream)
        finally:
            await store.aclose()


@asynccontextmanager
async def open_world(
    tmp_path: Path,
    *venues: VenueSettings,
    epoch_ms: int = EPOCH,
    rules: Mapping[str, Rules] | None = None,
    market: Market | None = None,
    others: Mapping[str, VenueSettings] | None = None,
    **settings: Any,
) -> AsyncIterator[World]:
    """Run simulators for `venues`, Binance's, and `others` around the body.

    `settings` go to `Settings`, `rules` replace the venues' own.
    """
    chosen = venues if venues or others else (spot(),)
    named = {USDM if venue.websocket_url == "ws://usdm:80" else SPOT: venue for venue in chosen}
    named |= others or {}
    async with trio.open_nursery() as nursery:
        world = World(
            nursery,
            epoch_ms,
            tmp_path / "candles.sqlite",
            Settings(venues=named, **settings),
            {**RULES, **(rules or {})},
            market or Market(seed=7, start_ms=epoch_ms, history_ms=HOUR_MS),
        )
        for sim in world.sims.values():
            await nursery.start(sim.run)
        world.listen()
        yield world
        nursery.cancel_scope.cancel()


class Judge:
    """A subscriber who compares all it is given with the candle contract and, in the end, with the truth."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.said: dict[Stream, dict[int, Candle]] = {}
        self.missing: dict[Stream, dict[int, Gap]] = {}
        self.next_ms: dict[Stream, int] = {}
        self.gaps: list[Gap] = []
        self.revisions: list[Revision] = []
        self.forming = 0
        self.complaints: list[str] = []
        self.lagged: SubscriberLagged | None = None
        self.done = trio.Event()
        self.last_seen_s: dict[Stream, float] = {}
        self.latest_delay_ms = 0
        """The longest that a candle came after the end of its interval; history does not count."""
        self.subscription: Any = None
        self._forming: dict[Stream, Candle] = {}
        self._since_ms = world.now_ms()
        self._resumed = False  # then what comes from the store may have been revised before

    async def read(
        self,
        feed: Feed,
        streams: Iterable[Stream | str] | None = None,
        forming: bool = True,
        after: Cursor | None = None,
    ) -> None:
        """Read until the feed ends or cuts us off."""
        if after is not None:
            self.resume(after)
        try:
            async with feed.candles(streams, forming=forming, after=after) as self.subscription:
                async for event in self.subscription:
                    self.take(event)
        except SubscriberLagged as lagged:
            self.lagged = lagged
        self.done.set()

    def resume(self, cursor: Cursor) -> None:
        """Expect what comes after `cursor`."""
        self._resumed = True
        self._forming.clear()
        self.next_ms = {stream: stream.timeframe.next_open(ms) for stream, ms in cursor.after.items()}

    def take(self, event: Event) -> None:
        """Judge one event."""
        if isinstance(event, Revision):
            self._revise(event)
        elif isinstance(event, Gap):
            self._pass_over(event)
        elif event.closed:
            self._close(event)
        else:
            self._form(event)

    def opens(self, stream: Stream) -> list[int]:
        """Return the open times of what was said, ascending."""
        return sorted(self.said.get(stream, {}))

    @property
    def streams(self) -> list[Stream]:
        return list(self.next_ms)

    @property
    def from_rest(self) -> int:
        return sum(c.source == "rest" for candles in self.said.values() for c in candles.values())

    def sources(self, stream: Stream | str, since_ms: int = 0) -> list[str]:
        """Return where the closed candles of a stream that opened from `since_ms` on came from."""
        parsed = Stream.parse(stream) if isinstance(stream, str) else stream
        return [str(self.said[parsed][ms].source) for ms in self.opens(parsed) if ms >= since_ms]

    async def verdict(
        self,
        *,
        slack_s: float = 6.0,
        streams: Iterable[Stream] | None = None,
        until_ms: int | None = None,
        gaps: bool = False,
        store: bool = True,
    ) -> None:
        """Wait until the feed has ended, then compare everything with the truth.

        What was over `slack_s` seconds before `until_ms`, by default now, must be there. Only with `gaps` may intervals
        be missing that the venue has.
        """
        now_ms = until_ms or self.world.now_ms()
        await self.done.wait()
        assert not self.complaints, "\n".join(self.complaints[:10])
        expected = list(streams) if streams is not None else self.configured()
        for stream in expected:
            self._compare(stream, now_ms - round(slack_s * 1000), gaps=gaps)
            if store:
                await self.compare_store(stream)

    def configured(self) -> list[Stream]:
        return [
            Stream(name, symbol, frame)
            for name, venue in self.world.settings.venues.items()
            for symbol in venue.symbols
            for frame in venue.timeframes
        ]

    async def compare_store(self, stream: Stream) -> None:
        """Compare what the store holds from our first candle on with what was said."""
        candles, gaps = await self.world.stored(stream)
        said = self.said.get(stream, {})
        first_ms = min([*said, *self.missing.get(stream, {})], default=0)
        stored = {candle.open_time_ms: candle for candle in candles if candle.open_time_ms >= first_ms}
        assert stored.keys() == said.keys(), f"{stream}: stored and delivered differ: {_diff(stored, said)}"
        for open_ms, candle in stored.items():
            assert candle.closed
            assert candle.values() == said[open_ms].values(), f"{stream} {open_ms}: stored another content"
        missing = {ms for gap in gaps for ms in stream.timeframe.opens(gap.first_open_ms, gap.last_open_ms + 1)}
        assert {ms for ms in missing if ms >= first_ms} == set(self.missing.get(stream, {})), f"{stream}: stored gaps"

    def _compare(self, stream: Stream, over_ms: int, *, gaps: bool) -> None:
        sim = self.world.sims[stream.venue]
        until_ms = self.next_ms.get(stream, 0)
        due = sim.truth(stream.symbol, stream.timeframe, until_ms, over_ms)
        assert not due, f"{stream}: {len(due)} candles never came, from {until_ms} on (now {over_ms})"
        said, missing = self.said.get(stream, {}), self.missing.get(stream, {})
        first_ms = min([*said, *missing], default=until_ms)
        truth = {c.open_time_ms: c for c in sim.truth(stream.symbol, stream.timeframe, first_ms, until_ms)}
        if not gaps:
            assert not missing.keys() & truth.keys(), f"{stream}: false gaps {sorted(missing.keys() & truth.keys())}"
        lost = truth.keys() - said.keys() - missing.keys()
        assert not lost, f"{stream}: lost {sorted(lost)}"
        invented = said.keys() - truth.keys()
        assert not invented, f"{stream}: invented {sorted(invented)}"
        for open_ms, candle in said.items():
            true = truth[open_ms]
            assert candle.values() == true.values(), f"{stream} {open_ms}: said {candle.values()}, is {true.values()}"
            assert candle.close_time_ms == true.close_time_ms

    def _complain(self, text: str) -> None:
        self.complaints.append(f"at {self.world.clock.wall_ms() - self.world.clock.epoch_ms} ms: {text}")

    def _expect(self, stream: Stream, open_ms: int, what: str) -> None:
        expected = self.next_ms.get(stream)
        if expected is not None and open_ms != expected:
            kind = "repeated or out of order" if open_ms < expected else "leaves a hole"
            self._complain(f"{what} {stream} {open_ms} {kind}, expected {expected}")

    def _close(self, candle: Candle) -> None:
        stream, open_ms = candle.stream, candle.open_time_ms
        self._expect(stream, open_ms, "candle")
        if candle.close_time_ms >= self.world.now_ms():
            self._complain(f"{stream} {open_ms} is not over yet")
        if candle.revision != 0 and not self._resumed:
            self._complain(f"{stream} {open_ms} is revision {candle.revision}")
        if candle.complete != (candle.missing == 0) or not (candle.complete or candle.source is Source.DERIVED):
            self._complain(f"{stream} {open_ms} misses {candle.missing}, complete={candle.complete}")
        self.said.setdefault(stream, {})[open_ms] = candle
        self.next_ms[stream] = candle.next_open_time_ms
        self.last_seen_s[stream] = trio.current_time()
        if candle.close_time_ms > self._since_ms:
            self.latest_delay_ms = max(self.latest_delay_ms, self.world.now_ms() - candle.close_time_ms)
        self._forming.pop(stream, None)

    def _pass_over(self, gap: Gap) -> None:
        stream = gap.stream
        self._expect(stream, gap.first_open_ms, "gap")
        self.gaps.append(gap)
        after_ms = stream.timeframe.next_open(gap.last_open_ms)
        self.missing.setdefault(stream, {}).update(
            dict.fromkeys(stream.timeframe.opens(gap.first_open_ms, after_ms), gap)
        )
        self.next_ms[stream] = after_ms
        # What was forming and then got lost takes its volume with it, out of all that are derived from it.
        for forming in [each for each in self._forming if (each.venue, each.symbol) == (stream.venue, stream.symbol)]:
            del self._forming[forming]

    def _revise(self, revision: Revision) -> None:
        candle = revision.candle
        stream, open_ms = candle.stream, candle.open_time_ms
        before = self.said.get(stream, {}).get(open_ms)
        was_missing = self.missing.get(stream, {}).pop(open_ms, None)
        if open_ms >= self.next_ms.get(stream, 0):
            self._complain(f"revision of {stream} {open_ms} comes before its candle")
        if not candle.closed or candle.revision < 1:
            self._complain(f"revision of {stream} {open_ms} is closed={candle.closed} revision={candle.revision}")
        changed = before is None or (before.values(), before.missing) != (candle.values(), candle.missing)
        if was_missing is None and not changed:
            self._complain(f"revision of {stream} {open_ms} says nothing new")
        self.revisions.append(revision)
        self.said.setdefault(stream, {})[open_ms] = candle

    def _form(self, candle: Candle) -> None:
        stream = candle.stream
        self._expect(stream, candle.open_time_ms, "forming candle")
        before = self._forming.get(stream)
        if before is not None and before.open_time_ms == candle.open_time_ms and before.volume > candle.volume:
            self._complain(f"forming candle of {stream} {candle.open_time_ms} goes back in time")
        self.forming += 1
        self.next_ms.setdefault(stream, candle.open_time_ms)
        self._forming[stream] = candle


def _diff(one: dict[int, Candle], other: dict[int, Candle]) -> str:
    return f"only stored {sorted(one.keys() - other.keys())[:5]}, only said {sorted(other.keys() - one.keys())[:5]}"
