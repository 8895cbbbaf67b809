"""The run: one plan from the beginning to the end, everything real but time, sockets and the venues."""

from __future__ import annotations

import math
import random
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import structlog
import trio
from attrs import evolve

from candleactors.errors import FeedClosed, StoreUnavailable
from candleactors.feed import Feed, open_feed
from candleactors.model import HOUR_MS, MINUTE_MS, Stream
from candleactors.sim import FaultKind, Market, Simulator
from candleactors.simulation.acts import (
    Act,
    ClockStep,
    Crash,
    Dawdle,
    Kill,
    Restart,
    Stall,
    StoreTrouble,
    Strike,
    Unwatch,
    Use,
    Watch,
)
from candleactors.simulation.crash import crash
from candleactors.simulation.disk import Disk, ProcessStore
from candleactors.simulation.growth import Growth
from candleactors.simulation.judge import Judge, Weather
from candleactors.simulation.lifeline import Lifeline
from candleactors.simulation.losses import Losses
from candleactors.simulation.monitor import Monitor
from candleactors.simulation.outcome import Breach, Outcome
from candleactors.simulation.peace import unsettled
from candleactors.simulation.plan import Audience, Plan
from candleactors.simulation.reader import Reader
from candleactors.simulation.scheduler import Standstill, SteppedClock, run_virtual, virtual_clock, wait_for
from candleactors.simulation.trace import Trace
from candleactors.simulation.truth import Truth
from candleactors.transport.network import MemoryNetwork

SETTLE_S: Final = 45.0
"""Of each peace, so long passes before anything is compared."""
_LOOK_EVERY_S: Final = 60.0
_IN_TIME_MS: Final = 12_000
"""What was over so long ago has to be there, in peace."""
_MOMENT_S: Final = 1.0
_LATEST_S: Final = 60.0
"""What cannot happen so long after its time does not happen."""
_STALE_FOR_MS: Final = 180_000
_LOSSY: Final = frozenset(
    (
        FaultKind.SILENCE,
        FaultKind.MAINTENANCE,
        FaultKind.STREAM_SILENCE,
        FaultKind.LOST_CLOSE,
        FaultKind.LATE_CLOSE,
        FaultKind.DELAY,
        FaultKind.REORDER,
    )
)
_OWNER: Final = "host"


def run(plan: Plan, *, keep: bool = False) -> Outcome:
    """Run `plan` in virtual time and return what became of it; `keep` keeps the whole trace. Blocks.

    Equal plans give equal outcomes, down to the digest of the trace.
    """

    async def main() -> Outcome:
        with TemporaryDirectory(prefix="candleactors-") as folder:
            async with trio.open_nursery() as nursery:
                simulation = Simulation(plan, nursery, Path(folder), keep=keep)
                standstill = Standstill(simulation.on_standstill)
                trio.lowlevel.add_instrument(standstill)
                await simulation.run()
                trio.lowlevel.remove_instrument(standstill)
                nursery.cancel_scope.cancel()
        return simulation.outcome

    return run_virtual(main, plan.seed)


class Simulation:
    """A plan while it runs."""

    def __init__(self, plan: Plan, nursery: trio.Nursery, folder: Path, *, keep: bool = False) -> None:
        self.outcome = Outcome(plan.seed, start_ms=plan.start_ms)
        self._plan = plan
        self._nursery = nursery
        self._clock = SteppedClock(plan.start_ms)
        self._trace = Trace(keep=keep)
        self._market = Market(plan.seed, plan.start_ms, plan.symbols, history_ms=3 * HOUR_MS)
        self._simulators = {
            name: Simulator(
                self._market,
                plan.rules[name],
                self._clock.true_ms,
                seed=plan.seed + number,
                observe=self._observer(name),
            )
            for number, name in enumerate(plan.settings.venues)
        }
        self._network = MemoryNetwork(nursery)
        self._disk = Disk(folder / "candles.sqlite")
        self._rng = random.Random(plan.seed)
        self._log = _log_into(self._trace)
        self._truth = Truth(self._simulators)
        self._weather = Weather()
        self._frames = sorted({stream.timeframe for stream in plan.streams}, key=lambda frame: frame.nominal_ms)
        self._readers = [self._reader(number, audience) for number, audience in enumerate(plan.readers)]
        self._growth = Growth()
        self._monitor = Monitor(self._simulators, self._breach)
        self._wanted: dict[str, None] = {}  # what watches declared, and unwatches did not take back
        self._losses = Losses()
        self._due = list(plan.acts)
        self._in_effect: dict[tuple[str, str], bool] = {}  # venues' faults that nobody has felt yet
        self._scope = trio.CancelScope()
        # Of the current life.
        self._feed: Feed | None = None
        self._store: ProcessStore | None = None
        self._lifeline = Lifeline(self._network)
        self._ending: Kill | Restart | None = None
        self._end = trio.Event()

    async def run(self) -> None:
        """Run to the end, or until something is wrong."""
        for name, simulator in self._simulators.items():
            await self._nursery.start(simulator.run)
            self._network.listen(simulator.serve_stream, name, 80)
        tasks_before = trio.lowlevel.current_statistics().tasks_living
        with self._scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._act)
                nursery.start_soon(self._compare)
                while True:
                    await self._live()
        self._close_books(tasks_before)

    def on_standstill(self) -> None:
        """End the run, because some task never waits."""
        self._breach("scheduler", "tasks run on and on, and time stands still")

    # -- lives ------------------------------------------------------------------------------------------------------

    async def _live(self) -> None:
        """Live one life of the feed, from its start to its end by kill or restart, and the time until the next."""
        self.outcome.lives += 1
        self._ending, self._end = None, trio.Event()
        self._lifeline = Lifeline(self._network)
        self._store = await self._disk.open()
        try:
            await self._live_until_the_end(self._store)
        finally:
            self._feed = None
            if self._store.dead or self._store.refused:
                self._losses.add(self._readers[0].judge.streams, self._watched())
            with trio.CancelScope(shield=True):
                await self._store.aclose()
        ending: Kill | Restart | None = self._ending
        if ending is not None:
            await trio.sleep_until(max(ending.at_s + ending.down_s, trio.current_time()))

    async def _live_until_the_end(self, store: ProcessStore) -> None:
        try:
            async with (
                trio.open_nursery() as nursery,
                open_feed(
                    self._plan.settings,
                    store=store,
                    network=self._lifeline,
                    clock=self._clock,
                    rng=self._rng,
                    log=self._log,
                ) as feed,
            ):
                self._feed = feed
                for reader in self._readers:
                    nursery.start_soon(reader.read, feed)
                feed.watch(list(self._wanted), owner=_OWNER)
                async with trio.open_nursery() as watching:
                    watching.start_soon(self._monitor.watch, feed)
                    await self._end.wait()
                    watching.cancel_scope.cancel()
                self._feed = None
        except Exception as error:
            # A dead process cannot fail any more, whatever its remains still do.
            if not store.dead:
                self._breach("feed", f"gave up: {error!r}")
                self.outcome.failure = "".join(traceback.format_exception(error))

    def _kill(self, act: Kill) -> None:
        assert self._store is not None, "killed between two lives"
        self._store.dead = True
        self._weather.killed = True
        self._lifeline.cut()
        for reader in self._readers:
            reader.die()
        self._ending = act
        self._end.set()

    # -- acts -------------------------------------------------------------------------------------------------------

    async def _act(self) -> None:
        """Let everything happen at its time."""
        while self._due:
            act = self._due.pop(0)
            await trio.sleep_until(act.at_s)
            if trio.current_time() > act.at_s + _LATEST_S:
                continue  # stalls have put it off, and peace must not be disturbed
            if isinstance(act, Kill | Crash):
                if act.rounds:
                    before = self._closes()
                    await wait_for(partial(self._closed_since, before), _MOMENT_S)
                for _ in range(act.rounds):
                    await trio.lowlevel.checkpoint()
            if self._happens(act):
                self._trace.note("act", str(act))
                if isinstance(act, Use):
                    self.outcome.uses[act.name] += 1
                elif not isinstance(act, Strike):
                    self.outcome.faults[act.name] += 1

    def _closes(self) -> int:
        return sum(simulator.counters.closes_pushed for simulator in self._simulators.values())

    def _closed_since(self, before: int) -> bool:
        return self._closes() > before

    def _happens(self, act: Act) -> bool:
        """Let `act` happen; say whether it could."""
        match act:
            case Strike():
                self._strike(act)
            case Kill() | Restart():
                if self._feed is None or self._ending is not None:
                    return False
                if isinstance(act, Kill):
                    self._kill(act)
                else:
                    self._ending = act
                    self._end.set()
            case Crash():
                return self._feed is not None and crash(self._feed, act.actor)
            case StoreTrouble():
                self._disk.trouble(act.kind, act.duration_s)
            case ClockStep():
                self._clock.step_ms += round(act.by_s * 1000)
            case Stall():
                virtual_clock().jump(act.duration_s)
                self._monitor.stalled()
            case Watch():
                self._wanted.update(dict.fromkeys(act.streams))
                if self._feed is not None:
                    self._feed.watch(act.streams, owner=_OWNER)
            case Unwatch():
                for stream in act.streams:
                    self._wanted.pop(stream, None)
                self._losses.watch(self._watched())
                if self._feed is not None:
                    self._feed.unwatch(act.streams, owner=_OWNER)
            case Dawdle():
                self._readers[act.reader].dawdle(act.duration_s)
        return True

    def _strike(self, act: Strike) -> None:
        fault, now_ms = act.fault, self._clock.true_ms()
        if fault.kind is FaultKind.REST_STALE:
            over_ms = now_ms + round((fault.duration_s + fault.delay_s) * 1000)
            self._weather.stale_until_ms = max(self._weather.stale_until_ms, over_ms + _STALE_FOR_MS)
        if fault.kind in _LOSSY and not self._plan.rules[act.venue].closing_push:
            over_ms = now_ms + round((fault.duration_s + fault.delay_s) * 1000) + _STALE_FOR_MS
            known_ms = self._weather.lossy_until_ms.get(act.venue, 0)
            self._weather.lossy_until_ms[act.venue] = max(known_ms, over_ms)
        if fault.kind is FaultKind.CORRECTION:
            symbol = self._simulators[act.venue].dialect.market_symbol(fault.symbol or self._plan.symbols[0].symbol)
            fault = evolve(fault, symbol=symbol)
            at_ms = now_ms - fault.count * MINUTE_MS
            self._truth.note_correction(self._market, symbol, at_ms, self._frames, now_ms)
            self._weather.corrected_ms[symbol] = now_ms
        self._in_effect[act.venue, fault.kind.value] = True
        self._simulators[act.venue].inject(fault)

    # -- peace ------------------------------------------------------------------------------------------------------

    async def _compare(self) -> None:
        """After each time of trouble, wait for everything to be right again, and stop once all is over."""
        for _, until_s in self._plan.troubles:
            await trio.sleep_until(until_s)
            self._clock.step_ms = 0
            for reader in self._readers:
                reader.wake()
            self._trace.note("peace", "")
            problems: list[str] = []
            # Only what is still wrong when time is up is a breach.
            for looked_s in _looks(until_s, self._plan.peace_s):
                await trio.sleep_until(looked_s)
                problems = await self._problems()
                if not problems:
                    self.outcome.converged_s.append(looked_s - until_s)
                    break
            for problem in problems:
                self._breach("peace", problem)
            if self._feed is not None and (growth := self._growth.problem(self._feed, self.outcome.lives)):
                self._breach("memory", growth)
            self._weather.killed = False
            for reader in self._readers:
                reader.judge.forget()
            await trio.sleep_until(until_s + self._plan.peace_s)
        self._scope.cancel()

    async def _problems(self) -> list[str]:
        if self._feed is None or self._store is None:
            return ["the feed does not run"]
        over_ms = self._clock.true_ms() - _IN_TIME_MS
        try:
            problems = await unsettled(self._feed, self._store, self._readers, self._watched(), over_ms, self._losses)
        except FeedClosed:
            return ["the feed does not run"]
        except StoreUnavailable:
            return ["the store cannot be read"]  # a stall may have put this trouble off
        if not problems:
            self._losses.settle()
        return problems

    def _watched(self) -> list[Stream]:
        return [*self._plan.streams, *map(Stream.parse, self._wanted)]

    # -- records ----------------------------------------------------------------------------------------------------

    def _reader(self, number: int, audience: Audience) -> Reader:
        name = f"reader-{number}"
        judge = Judge(
            self._truth,
            self._clock.true_ms,
            self._weather,
            lambda problem: self._breach(name, problem),
            self._is_native,
        )
        return Reader(name, judge, self._trace, audience)

    def _is_native(self, stream: Stream) -> bool:
        venue = self._plan.settings.venues[stream.venue]
        return stream.timeframe not in venue.derived and stream.timeframe in self._plan.rules[stream.venue].timeframes

    def _breach(self, where: str, problem: str) -> None:
        """Take in that something is wrong, and end the run."""
        at_s = trio.current_time()
        self._trace.note("BREACH", f"{where}: {problem}")
        self.outcome.breaches.append(Breach(at_s, where, problem, self._trace.events))
        self._scope.cancel()

    def _observer(self, venue: str) -> Callable[[str, str], None]:
        def observe(kind: str, text: str) -> None:
            self._trace.note(kind, f"{venue}: {text}")
            if kind == "fault" and self._in_effect.pop((venue, text.partition(" ")[0]), False):
                self.outcome.faults[text.partition(" ")[0]] += 1

        return observe

    def _close_books(self, tasks_before: int) -> None:
        outcome = self.outcome
        outcome.seconds = trio.current_time()
        hours, streams = outcome.seconds / 3_600, self._plan.streams
        outcome.stream_hours = len(streams) * hours
        outcome.native_stream_hours = sum(map(self._is_native, streams)) * hours
        outcome.candles = sum(reader.judge.candles for reader in self._readers)
        for simulator in self._simulators.values():
            outcome.messages += simulator.counters.pushed
        tasks = trio.lowlevel.current_statistics().tasks_living
        live = sum(simulator.counters.live for simulator in self._simulators.values())
        if outcome.ok and tasks > tasks_before + live:
            self._breach("tasks", f"{tasks - tasks_before} tasks outlive the feed")
        outcome.digest, outcome.events = self._trace.digest, self._trace.events
        outcome.lines = tuple(self._trace.lines)


def _looks(since_s: float, for_s: float) -> list[float]:
    """Return when to look whether everything is right again."""
    count = max(1, math.floor((for_s - SETTLE_S) / _LOOK_EVERY_S))
    return [since_s + SETTLE_S + number * _LOOK_EVERY_S for number in range(count)]


def _log_into(trace: Trace) -> Any:
    """Return a logger whose lines become part of `trace`."""

    def keep(_: object, level: str, line: Any) -> Any:
        event = line.pop("event")
        line.pop("exception", None)  # names memory addresses
        trace.note("log", f"{level} {event} " + " ".join(f"{key}={value}" for key, value in line.items()))
        raise structlog.DropEvent

    wrapper = structlog.make_filtering_bound_logger(0)
    return structlog.wrap_logger(None, [keep], wrapper_class=wrapper)
