"""The history of one venue's streams, within a share of its REST budget."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TypeVar

import trio
from attrs import frozen

from candleactors.actors.budget import VenueBudget
from candleactors.actors.comparing import Comparer
from candleactors.actors.persistence import persistently
from candleactors.actors.rest import VenueRest
from candleactors.actors.venue import continuity_rules
from candleactors.core.backoff import Backoff
from candleactors.core.fetch import Urgency
from candleactors.core.venue_clock import VenueClock
from candleactors.errors import CandleactorsError, InvalidSymbol, RemoteProtocolError, TransientError
from candleactors.history.derived import extend_derived
from candleactors.history.report import StreamReport
from candleactors.history.stream import StreamDeps, StreamHistory
from candleactors.settings import Settings
from candleactors.stores.base import Archive
from candleactors.symbols import unknown
from candleactors.transport.clock import Clock
from candleactors.transport.rest import RestClient
from candleactors.venues.base import Codec
from candleactors.venues.listing import Listing
from candleactors.venues.unified import is_unified

T = TypeVar("T")

_MOST_ROWS = 1_000
"""Futures of Binance give more for twice the weight, which is no gain."""
_MOST_ROWS_FILLED = 10_000
"""Where every request also covers what is before it, to know the last close, short ones would be mostly that."""
_MOST_GIVEN_UP = 3


@frozen
class Task:
    """One stream to fetch and what is to be made of it."""

    report: StreamReport
    derived: tuple[StreamReport, ...]


class VenueHistory:
    """Works on streams of one venue, several at a time. `client` must be open while it does.

    Streams are given up one by one, with the reason in their reports; after three in a row for which the venue did not
    answer, all that are left.
    """

    def __init__(
        self,
        codec: Codec,
        client: RestClient,
        store: Archive,
        settings: Settings,
        *,
        share: float,
        clock: Clock,
        rng: random.Random,
        on_trouble: Callable[[str | None], None],
        on_progress: Callable[[], None],
    ) -> None:
        """`share` is how much of the venue's REST weight may be spent; `on_trouble` is told what is waited for."""
        self.name = codec.rules.venue
        self.rules = codec.rules
        self.derived = settings.venues[self.name].derived
        self.store = store
        self._settings = settings
        self._clock = clock
        self._rng = rng
        self._venue_clock = VenueClock()
        self._rest = VenueRest(codec, client, _budget(codec, settings, share), clock, self._venue_clock)
        self._on_trouble = on_trouble
        self._listing: Listing | None = None
        self._given_up = 0
        rules = continuity_rules(codec.rules, settings)
        most_rows = _MOST_ROWS_FILLED if rules.fills else _MOST_ROWS
        comparer = Comparer(self._rest, store, rules, _nothing, urgency=Urgency.GAP, most_rows=most_rows)
        self._deps = StreamDeps(
            comparer=comparer,
            store=store,
            backoff=self._backoff,
            now_ms=clock.wall_ms,
            venue_now_ms=self._now_ms,
            drifts=lambda stream: stream.timeframe in codec.rules.drifting,
            on_trouble=self._note,
            on_progress=on_progress,
        )

    async def begin(self) -> None:
        """Read the venue's clock. Raises what a minute of trying does not cure."""
        await self._persistently(self._rest.read_clock)

    async def spelled(self, symbol: str) -> str:
        """Return `symbol` in the venue's own spelling; raises `InvalidSymbol`, or why its list cannot be read."""
        if not is_unified(symbol):
            return symbol
        listing = await self._read_listing()
        instrument = listing.find(symbol)
        if instrument is None:
            raise unknown(self.name, symbol, listing)
        return instrument.symbol

    async def backfill(self, tasks: Sequence[Task], start_ms: int, until_ms: int | None) -> None:
        """Do `StreamHistory.backfill` for each of `tasks`, and make what derives from it."""

        async def work(task: Task, stream: StreamHistory) -> None:
            wanted = await stream.backfill(start_ms, until_ms)
            if wanted is not None:
                await self._derive(task, stream, wanted.start_ms, wanted.until_ms - 1)

        await self._work(tasks, work)

    async def repair(
        self, tasks: Sequence[Task], start_ms: int | None, end_ms: int | None, *, again: bool, compare: bool
    ) -> None:
        """Do `StreamHistory.repair` for each of `tasks`, and make anew what derives from it."""

        async def work(task: Task, stream: StreamHistory) -> None:
            await stream.repair(start_ms, end_ms, again=again, compare=compare)
            await self._derive(task, stream, start_ms, end_ms)

        await self._work(tasks, work)

    async def _derive(self, task: Task, stream: StreamHistory, start_ms: int | None, end_ms: int | None) -> None:
        source, now_ms = task.report.stream, self._clock.wall_ms()
        make = partial(
            extend_derived, self.store, source, task.derived, stream.changed, start_ms, end_ms, repaired_ms=now_ms
        )
        await self._persistently(make)

    async def _work(self, tasks: Sequence[Task], work: Callable[[Task, StreamHistory], Awaitable[None]]) -> None:
        left = iter(tasks)
        workers = min(self._settings.repair.workers, len(tasks))
        abreast = max(1, self._settings.repair.workers // max(1, len(tasks)))

        async def take() -> None:
            for task in left:
                stream = StreamHistory(task.report.stream, self._deps, task.report, abreast)
                await self._do(task, partial(work, task, stream))

        async with trio.open_nursery() as nursery:
            for _ in range(workers):
                nursery.start_soon(take)

    async def _do(self, task: Task, work: Callable[[], Awaitable[None]]) -> None:
        reports = (task.report, *task.derived)
        if self._given_up >= _MOST_GIVEN_UP:
            error: str | None = f"{self.rules.title} does not answer"
        else:
            error = None
            try:
                await work()
            except InvalidSymbol as refusal:
                error = await self._unknown(task.report.stream.symbol, refusal)
            except (TransientError, RemoteProtocolError) as trouble:
                error = str(trouble)
                self._given_up += isinstance(trouble, TransientError)
            except CandleactorsError as trouble:
                error = str(trouble)
            else:
                self._given_up = 0
        for report in reports:
            report.error, report.done = error, error is None
        self._deps.on_progress()

    async def _unknown(self, symbol: str, refusal: InvalidSymbol) -> str:
        """Return why a symbol was refused, with the nearest one where the venue's list tells."""
        try:
            listing = await self._read_listing()
        except CandleactorsError:
            return str(refusal)
        return str(unknown(self.name, symbol, listing)) if listing.find(symbol) is None else str(refusal)

    async def _read_listing(self) -> Listing:
        if self._listing is None:
            self._listing = await self._persistently(self._rest.listing)
        return self._listing

    def _now_ms(self) -> int:
        now_ms = self._venue_clock.now_ms(self._clock.monotonic_s())
        assert now_ms is not None, "the clock was read"
        return now_ms

    def _backoff(self) -> Backoff:
        return Backoff(self._settings.backoff, self._rng.random)

    def _note(self, error: TransientError | RemoteProtocolError | None) -> None:
        self._on_trouble(None if error is None else str(error))

    async def _persistently(self, attempt: Callable[[], Awaitable[T]]) -> T:
        done = await persistently(attempt, self._backoff(), self._note)
        self._note(None)
        return done


def _budget(codec: Codec, settings: Settings, share: float) -> VenueBudget:
    """Return `share` of the venue's REST budget, enough for the heaviest request at least."""
    rules, venue = codec.rules, settings.venues[codec.rules.venue]
    heaviest = max(codec.server_time().weight, codec.instruments().weight)
    return VenueBudget(
        connects=1,
        connects_window_s=1.0,
        rest_weight=max(heaviest, round(share * (venue.rest_weight or rules.rest_weight))),
        rest_window_s=venue.rest_window_s or rules.rest_window_s,
    )


async def _nothing() -> None:
    """Nobody else has delivered anything that the store would have to take first."""
    await trio.lowlevel.checkpoint()
