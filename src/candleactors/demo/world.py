"""The simulated world: one market and one listening simulator for each venue, on one clock."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

import trio
from attrs import frozen

from candleactors.demo import plan
from candleactors.demo.plan import Endpoint, Options
from candleactors.model import HOUR_MS, Stream
from candleactors.sim import RULES, Market, Simulator, TruthCandle, default_symbols
from candleactors.transport.network import MemoryNetwork


@frozen
class VenueTime:
    """The venues' clock: `epoch_ms` at Trio's time `epoch_s`, and on at Trio's pace."""

    epoch_ms: int
    epoch_s: float

    def now_ms(self) -> int:
        """Return UTC milliseconds."""
        return self.epoch_ms + int((trio.current_time() - self.epoch_s) * 1000)


@frozen
class World:
    """Running simulators by venue. `network` leads to them where they do not listen on real sockets."""

    time: VenueTime
    simulators: dict[str, Simulator]
    endpoints: dict[str, Endpoint]
    streams: tuple[Stream, ...]
    network: MemoryNetwork | None

    def truth(self, stream: Stream, first_open_ms: int, until_ms: int) -> Iterable[TruthCandle]:
        """Return the true candles of `stream`; see `Simulator.truth`."""
        return self.simulators[stream.venue].truth(stream.symbol, stream.timeframe, first_open_ms, until_ms)


@asynccontextmanager
async def open_world(options: Options, wall_ms: int, *, in_memory: bool = False) -> AsyncIterator[World]:
    """Run the simulators around the body of an ``async with``, on loopback sockets or in memory.

    They live in the same event loop as the feed: its tests under a virtual clock are then the same program.
    """
    async with trio.open_nursery() as nursery:
        # Time must not pass while the markets come into being, or the first hour would end before anybody watches.
        hour_ms = (wall_ms + HOUR_MS // 2) // HOUR_MS * HOUR_MS
        start_ms = hour_ms - plan.FIRST_HOUR_MS
        chosen = [RULES[name] for name in options.venues]
        markets = {}
        for index, rules in enumerate(chosen):
            market = Market(
                options.seed + index,
                start_ms,
                default_symbols(options.symbols),
                history_ms=plan.MARKET_HISTORY_MS,
            )
            for symbol in market.specs:
                market.tape(symbol).bar(start_ms // 60_000)
            markets[rules.name] = market
        time = VenueTime(start_ms, trio.current_time())
        network = MemoryNetwork(nursery) if in_memory else None
        simulators, endpoints = {}, {}
        streams: list[Stream] = []
        for index, rules in enumerate(chosen):
            simulator = Simulator(markets[rules.name], rules, time.now_ms, seed=options.seed + index)
            await nursery.start(simulator.run)
            place = rules.name
            if network is not None:
                network.listen(simulator.serve_stream, place, 80)
            else:
                host, port = await nursery.start(simulator.serve_tcp)
                place = f"{host}:{port}"
            simulators[rules.name] = simulator
            endpoints[rules.name] = Endpoint(f"ws://{place}", f"http://{place}")
            streams += plan.streams(rules, simulator.dialect.symbols)
        yield World(time, simulators, endpoints, tuple(streams), network)
        nursery.cancel_scope.cancel()
