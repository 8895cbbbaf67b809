"""A feed in a simulated world: the real feed, simulated venues, no sockets, and time that passes as fast as it can."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, TypedDict, TypeVar, Unpack

import trio
from attrs import evolve, frozen

from candleactors.errors import UnknownVenue
from candleactors.feed import Feed, open_feed
from candleactors.model import Stream, Timeframe
from candleactors.settings import Settings, VenueSettings
from candleactors.sim import (
    RULES,
    SPOT_RULES,
    Fault,
    FaultKind,
    FaultScript,
    Market,
    Simulator,
    TruthCandle,
)
from candleactors.simulation.scheduler import run_virtual, seed_scheduler, virtual_clock
from candleactors.stores.base import Store
from candleactors.stores.sqlite import open_sqlite
from candleactors.transport.clock import VirtualClock
from candleactors.transport.network import MemoryNetwork

T = TypeVar("T")

START_MS: Final = 1_709_163_030_000
"""2024-02-28T23:30:30Z: a leap day begins half an hour later."""


class Options(TypedDict, total=False):
    """What `open_simulated_feed` takes."""

    settings: Settings | None
    symbols: Iterable[str]
    timeframes: Iterable[str | Timeframe]
    seed: int
    start_ms: int
    faults: FaultScript | Iterable[Fault]
    market: Market | None
    store: Store | None


@frozen
class SimulatedFeed:
    """A running `feed` and the world it lives in."""

    feed: Feed
    simulators: dict[str, Simulator]
    """By venue name."""
    market: Market
    clock: VirtualClock
    seed: int

    def now_ms(self) -> int:
        """Return the world's time in UTC milliseconds."""
        return self.clock.wall_ms()

    def inject(self, kind: FaultKind | str, **more: Any) -> None:
        """Let a fault happen now on every venue; `more` are the fields of `candleactors.sim.Fault`."""
        for simulator in self.simulators.values():
            simulator.inject(Fault(FaultKind(kind), **more))

    def truth(self, stream: Stream | str, since_ms: int = 0) -> list[TruthCandle]:
        """Return every candle of `stream` that opened from `since_ms` on and is over by now, as it really was."""
        parsed = Stream.parse(stream) if isinstance(stream, str) else stream
        return self.simulators[parsed.venue].truth(parsed.symbol, parsed.timeframe, since_ms, self.now_ms())


@asynccontextmanager
async def open_simulated_feed(
    *,
    settings: Settings | None = None,
    symbols: Iterable[str] = ("BTCUSDT",),
    timeframes: Iterable[str | Timeframe] = ("1m",),
    seed: int = 0,
    start_ms: int = START_MS,
    faults: FaultScript | Iterable[Fault] = (),
    market: Market | None = None,
    store: Store | None = None,
) -> AsyncIterator[SimulatedFeed]:
    """Run a feed in a simulated world around the body of an ``async with``.

    - `settings`: the feed's, its venues' URLs led to the simulators. Without them it watches `symbols` of
      ``binance-spot`` in `timeframes`, derived ones where the venue does not have them.
    - `seed`: of everything random. The same seed and the same program give the same run, event for event.
    - `start_ms`: when it begins, UTC milliseconds.
    - `faults`: what goes wrong when, in seconds from the start. `SimulatedFeed.inject` lets more happen.
    - `market`: the market to trade on, starting at `start_ms`; by default that of `candleactors.sim.default_symbols`.
    - `store`: the caller's; by default a file that is deleted in the end.

    Needs Trio under a `trio.testing.MockClock` with ``autojump_threshold=0``: pytest-trio's fixture ``autojump_clock``,
    or `run_simulated`. An exception that the body raises gets a note with the seed. Raises `UnknownVenue` for a venue
    that there is no simulator of, and `RuntimeError` where time is real.
    """
    virtual_clock()
    chosen = _led_to_simulators(settings or _watching(symbols, timeframes))
    script = faults if isinstance(faults, FaultScript) else FaultScript(tuple(faults), seed=seed)
    used_market = market or Market(seed, start_ms)
    clock = VirtualClock(start_ms - round(trio.current_time() * 1000))
    failure: BaseException | None = None
    seed_scheduler(seed)
    with TemporaryDirectory(prefix="candleactors-") as directory:
        async with trio.open_nursery() as nursery:
            network = MemoryNetwork(nursery)
            simulators = {
                name: Simulator(used_market, RULES[name], clock.wall_ms, script, seed) for name in chosen.venues
            }
            for name, simulator in simulators.items():
                await nursery.start(simulator.run)
                network.listen(simulator.serve_stream, name, 80)
            try:
                async with open_sqlite(Path(directory) / "candles.sqlite", threaded=False) as own_store:
                    used_store: Store = own_store if store is None else store
                    rng = random.Random(seed)
                    async with open_feed(chosen, store=used_store, network=network, clock=clock, rng=rng) as feed:
                        yield SimulatedFeed(feed, simulators, used_market, clock, seed)
            except trio.Cancelled:
                raise
            # Carried past the nursery, which would wrap it in a group: then pytest.raises and pytest.skip fail.
            except BaseException as error:
                error.add_note(f"simulated feed: seed {seed}")
                failure = error
            nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure


def run_simulated(body: Callable[[SimulatedFeed], Awaitable[T]], **options: Unpack[Options]) -> T:
    """Run a feed in a simulated world around `body` and return what `body` does, from code that is not async.

    `options` are those of `open_simulated_feed`. Blocks for as long as the simulation takes: about a second for an
    hour of one symbol.
    """

    async def main() -> T:
        async with open_simulated_feed(**options) as world:
            return await body(world)

    return run_virtual(main, options.get("seed", 0))


def _watching(symbols: Iterable[str], timeframes: Iterable[str | Timeframe]) -> Settings:
    frames = [each if isinstance(each, Timeframe) else Timeframe(each) for each in timeframes]
    native = tuple(frame for frame in frames if frame in SPOT_RULES.timeframes)
    derived = tuple(frame for frame in frames if frame not in native)
    venue = VenueSettings(symbols=tuple(symbols), timeframes=native or (Timeframe("1m"),), derived=derived)
    return Settings(venues={SPOT_RULES.name: venue})


def _led_to_simulators(settings: Settings) -> Settings:
    venues = {}
    for name, venue in settings.venues.items():
        if name not in RULES:
            raise UnknownVenue(f'there is no simulator of "{name}"', nearest=next(iter(RULES)))
        venues[name] = evolve(venue, websocket_url=f"ws://{name}:80", rest_url=f"http://{name}:80", testnet=False)
    return evolve(settings, venues=venues)
