"""One run over the history of several venues, which work side by side."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from functools import partial

import trio
from attrs import evolve, frozen

from candleactors import venues
from candleactors.actors.venue import endpoints, rest_base
from candleactors.errors import CandleactorsError, InvalidSymbol, InvalidTimeframe, RemoteProtocolError, TransientError
from candleactors.history.report import StreamReport
from candleactors.history.venue import Task, VenueHistory
from candleactors.model import Source, Stream, Timeframe
from candleactors.settings import Settings, VenueSettings
from candleactors.stores.base import Archive
from candleactors.transport.clock import Clock, SystemClock
from candleactors.transport.network import Network, TcpNetwork
from candleactors.transport.rest import RestClient
from candleactors.venues.sources import source_of


@frozen
class Wanted:
    """Streams of one venue: every symbol, in either spelling, in every timeframe, native or derived ones."""

    venue: str
    symbols: tuple[str, ...]
    timeframes: tuple[Timeframe, ...]


class History:
    """One run. It never raises for what one venue or one stream cannot do: that is in `reports` and `errors`.

    `share` is how much of each venue's REST weight may be spent, since a feed may spend as well. `told` is called
    whenever something has changed here.
    """

    def __init__(
        self,
        settings: Settings,
        store: Archive,
        *,
        share: float = 0.5,
        told: Callable[[], None] = lambda: None,
        network: Network | None = None,
        clock: Clock | None = None,
        rng: random.Random | None = None,
    ) -> None:
        self.reports: dict[Stream, StreamReport] = {}
        """By stream, in the order in which they were asked for; derived ones behind what they are made from."""
        self.errors: list[str] = []
        """What concerns no stream: unknown symbols, venues that cannot be asked."""
        self.waiting: dict[str, str] = {}
        """Venues that are asked again after a moment, and why."""
        self._settings = settings
        self._store = store
        self._share = share
        self._told = told
        self._network = network or TcpNetwork()
        self._clock = clock or SystemClock()
        self._rng = rng or random.Random()

    async def backfill(self, wanted: Iterable[Wanted], start_ms: int, until_ms: int | None = None) -> None:
        """Fetch what the store lacks in [`start_ms`, `until_ms`), without `until_ms` up to now; make what derives.

        Raises `InvalidTimeframe` where a venue neither has a timeframe nor one that it can be made from, and what the
        store raises before anything is asked for.
        """
        orders = [(each, _sources(each, self._venue_settings(each.venue))) for each in wanted]
        stored = await self._store.streams()

        async def work(venue: VenueHistory, of: Wanted, sources: dict[Timeframe, list[Timeframe]]) -> None:
            tasks = []
            for symbol in await self._spelled(venue, of.symbols):
                for frame, made in sources.items():
                    source = Stream(of.venue, symbol, frame)
                    tasks.append(await self._task(venue, source, made, stored))
            self._told()
            await venue.backfill(tasks, start_ms, until_ms)

        await self._side_by_side([(of.venue, partial(work, of=of, sources=sources)) for of, sources in orders])

    async def repair(
        self,
        streams: Iterable[Stream],
        start_ms: int | None = None,
        end_ms: int | None = None,
        *,
        again: bool = False,
        compare: bool = False,
    ) -> None:
        """Mend holes of stored `streams` that open in [`start_ms`, `end_ms`]; derived ones by way of their sources.

        `again` asks for known outages as well; `compare` compares all that is stored there with the venue.
        """
        stored = await self._store.streams()
        by_venue: dict[str, list[Stream]] = {}
        for stream in streams:
            by_venue.setdefault(stream.venue, []).append(stream)

        async def work(venue: VenueHistory, wanted: Sequence[Stream]) -> None:
            made: dict[Stream, list[Timeframe]] = {}
            for stream in wanted:
                source = await self._source(venue, stream)
                if source is None:
                    self._report(stream).error = f"{venue.rules.title} has nothing that it could be made from"
                    continue
                frames = made.setdefault(source, [])
                if source != stream:
                    frames.append(stream.timeframe)
            tasks = [await self._task(venue, source, frames, stored) for source, frames in made.items()]
            self._told()
            await venue.repair(tasks, start_ms, end_ms, again=again, compare=compare)

        await self._side_by_side([(name, partial(work, wanted=of)) for name, of in by_venue.items()])

    # -- venues -----------------------------------------------------------------------------------------------------

    async def _side_by_side(self, works: Sequence[tuple[str, Callable[[VenueHistory], Awaitable[None]]]]) -> None:
        async with trio.open_nursery() as nursery:
            for name, work in works:
                nursery.start_soon(self._of_venue, name, work)

    async def _of_venue(self, name: str, work: Callable[[VenueHistory], Awaitable[None]]) -> None:
        try:
            async with self._open(name) as venue:
                await venue.begin()
                await work(venue)
        except CandleactorsError as error:
            self.errors.append(f"{name}: {error}")
        self._note_trouble(name, None)

    @asynccontextmanager
    async def _open(self, name: str) -> AsyncIterator[VenueHistory]:
        codec = venues.codec(name)
        settings = evolve(self._settings, venues={**self._settings.venues, name: self._venue_settings(name)})
        client = RestClient(
            rest_base(codec, settings),
            network=self._network,
            timeout_s=settings.repair.request_timeout_s,
            headers=endpoints(codec.rules, settings.venues[name]).rest_headers,
        )
        async with client:
            yield VenueHistory(
                codec,
                client,
                self._store,
                settings,
                share=self._share,
                clock=self._clock,
                rng=self._rng,
                on_trouble=partial(self._note_trouble, name),
                on_progress=self._told,
            )

    def _venue_settings(self, name: str) -> VenueSettings:
        return self._settings.venues.get(name, VenueSettings())

    def _note_trouble(self, name: str, trouble: str | None) -> None:
        before = self.waiting.pop(name, None)
        if trouble is not None:
            self.waiting[name] = trouble
        if before != trouble:
            self._told()

    # -- streams ----------------------------------------------------------------------------------------------------

    async def _spelled(self, venue: VenueHistory, symbols: Iterable[str]) -> list[str]:
        found: dict[str, None] = {}
        for symbol in symbols:
            try:
                found[await venue.spelled(symbol)] = None
            except (InvalidSymbol, TransientError, RemoteProtocolError) as error:
                self.errors.append(f"{venue.name}: {error}")
        return list(found)

    async def _task(
        self, venue: VenueHistory, source: Stream, made: Iterable[Timeframe], stored: Iterable[Stream]
    ) -> Task:
        """Return what is to be done for `source`: with `made`, what the settings derive, and what was made before."""
        frames = dict.fromkeys(made)
        known = [Stream(source.venue, source.symbol, frame) for frame in venue.derived]
        known += [each for each in stored if (each.venue, each.symbol) == (source.venue, source.symbol)]
        for stream in known:
            if stream != source and await self._source(venue, stream) == source:
                frames[stream.timeframe] = None
        report = self._report(source)
        derived = tuple(self._report(Stream(source.venue, source.symbol, frame)) for frame in frames)
        return Task(report, derived)

    def _report(self, stream: Stream) -> StreamReport:
        return self.reports.setdefault(stream, StreamReport(stream))

    async def _source(self, venue: VenueHistory, stream: Stream) -> Stream | None:
        """Return what `stream` is made from: itself if the venue gave it; ``None`` where nobody could make it."""
        derived = venue.derived
        oldest = await self._store.candles(stream, limit=1)
        if oldest and oldest[0].source is Source.DERIVED:
            derived = (*derived, stream.timeframe)
        try:
            return source_of(stream, venue.rules, derived)
        except InvalidTimeframe:
            return None


def _sources(wanted: Wanted, settings: VenueSettings) -> dict[Timeframe, list[Timeframe]]:
    """Return the timeframes to fetch, and what is wanted that is made from each."""
    rules = venues.codec(wanted.venue).rules
    found: dict[Timeframe, list[Timeframe]] = {}
    for frame in wanted.timeframes:
        source = source_of(Stream(wanted.venue, "", frame), rules, settings.derived).timeframe
        made = found.setdefault(source, [])
        if source != frame:
            made.append(frame)
    return found
