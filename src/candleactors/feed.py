"""The feed: what an embedding program holds in its hands."""

from __future__ import annotations

import math
import os
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import cache, partial
from pathlib import Path
from typing import Protocol

import trio
from structlog.typing import FilteringBoundLogger

from candleactors import config, venues
from candleactors.actors.census import Census
from candleactors.actors.child import ChildContext, ChildSpec, Strategy
from candleactors.actors.hub import Hub
from candleactors.actors.interest import Interest
from candleactors.actors.journal import Journal
from candleactors.actors.latency import CloseLatency
from candleactors.actors.measures import Measures, mailboxes, measures
from candleactors.actors.periodic import Periodic
from candleactors.actors.replay import StoredReplay
from candleactors.actors.retention import FIRST_S, Retention
from candleactors.actors.root import open_root
from candleactors.actors.status import (
    FeedStatus,
    actor_statuses,
    in_venue,
    restart_counts,
    retention_status,
    store_status,
    upkeep_status,
    venue_status,
)
from candleactors.actors.store_drain import StoreDrain
from candleactors.actors.store_writer import StoreWriter
from candleactors.actors.stream_status import StreamStatus, StreamStatuses
from candleactors.actors.subscription import Subscription
from candleactors.actors.upkeep import FIRST_BACKFILL_S, FIRST_REPAIR_S, Upkeep
from candleactors.actors.venue import FeedParts, Venue, endpoints, rest_base, streams_per_connection
from candleactors.core.backoff import Backoff
from candleactors.core.sharding import ShardLimits
from candleactors.core.sync_jobs import SyncJobs
from candleactors.errors import FeedClosed, UnknownVenue
from candleactors.logs import default_logger
from candleactors.model import DAY_MS, Candle, Cursor, Gap, GapSummary, Stream, SyncStatus, Timeframe
from candleactors.settings import Settings, SubscriberSettings
from candleactors.stores import open_feed_store
from candleactors.stores.base import Store
from candleactors.stores.buffered import BufferedStore
from candleactors.transport.clock import Clock, SystemClock
from candleactors.transport.network import Network, TcpNetwork
from candleactors.transport.rest import RestClient
from candleactors.venues.sources import source_of
from candleactors.venues.unified import check_unified, is_unified

CONFIG_OWNER = "config"
"""Owner of the interest that the settings declare."""


class Service(Protocol):
    """What serves a running feed to others, such as a web server: an actor under the feed's supervision."""

    @property
    def name(self) -> str:
        """What it is called in the status and in logs."""
        ...

    async def run(self, feed: Feed, context: ChildContext) -> None:
        """Serve until ``context.stopping``; call ``context.started()`` once serving."""
        ...


class Feed:
    """A running feed. Made by `open_feed` and `run_feed`; every method raises `FeedClosed` once it has ended."""

    def __init__(self, parts: FeedParts, rest_clients: dict[str, RestClient], services: Iterable[Service] = ()) -> None:
        settings = parts.settings
        self._parts = parts
        self._venues = {name: Venue(venues.codec(name), rest_clients[name], parts) for name in settings.venues}
        self._started_s = parts.clock.monotonic_s()
        self._started_ms = parts.clock.wall_ms()
        self._closed = False
        self._syncs = SyncJobs()
        self._retention = Retention(parts, self._venues, parts.journal.pruned)
        self._pruning = self._periodic("retention", self._retention.prune, settings.retention.interval_s, FIRST_S)
        self._upkeep = Upkeep(parts, self._venues, parts.journal.upheld)
        self._backfilling = self._periodic(
            "history-backfill", self._upkeep.backfill, settings.history.backfill_interval_s, FIRST_BACKFILL_S
        )
        self._repairing = self._periodic(
            "history-repair", self._upkeep.repair, settings.history.repair_interval_s, FIRST_REPAIR_S
        )
        self.stopping = trio.Event()
        """Set by `stop`."""
        venue_tree = parts.supervisor("venues", Strategy.ONE_FOR_ONE, *(v.spec() for v in self._venues.values()))
        serving = [ChildSpec(service.name, partial(service.run, self)) for service in services]
        service_tree = parts.supervisor("services", Strategy.ONE_FOR_ONE, *serving)
        storing = [ChildSpec("store-writer", parts.store_writer.run, shutdown_s=settings.supervision.drain_s)]
        if isinstance(parts.store, BufferedStore):
            backoff = Backoff(settings.backoff, parts.rng.random)
            drain = StoreDrain(
                parts.store,
                settings.store,
                backoff,
                # What began without the database may have left a hole, and know nothing of earlier corrections.
                on_drained=self._repairing.ask,
                on_left=parts.journal.left_on_disk,
            )
            # Before the writer, so that it stops after it.
            storing.insert(0, ChildSpec("store-drain", drain.run, shutdown_s=settings.supervision.drain_s))
        self.tree = parts.supervisor(
            "feed",
            Strategy.REST_FOR_ONE,
            *storing,
            ChildSpec("hub", parts.hub.run),
            ChildSpec("registry", parts.interest.run),
            venue_tree.spec("venues"),
            *([service_tree.spec("services")] if serving else []),
            *([ChildSpec("history-backfill", self._backfilling.run)] if settings.history.backfill_interval_s else []),
            *([ChildSpec("history-repair", self._repairing.run)] if settings.history.repair_interval_s else []),
            *([ChildSpec("retention", self._pruning.run)] if settings.retention.days else []),
        )

    def _periodic(
        self, name: str, job: Callable[[], Awaitable[None]], interval_s: float | None, first_s: float
    ) -> Periodic:
        parts = self._parts
        if interval_s is None:
            interval_s = math.inf
        return Periodic(
            job,
            interval_s=interval_s,
            first_s=min(first_s, interval_s),
            backoff=Backoff(parts.settings.backoff, parts.rng.random),
            clock=parts.clock,
            on_trouble=partial(parts.journal.trouble, name),
        )

    def watch(
        self,
        streams: Iterable[Stream | str],
        *,
        owner: str = "host",
        priority: int = 0,
        expires_after_s: float | None = None,
    ) -> tuple[Stream, ...]:
        """Declare that `owner` wants `streams`, given as values or written ``venue:symbol:timeframe``; return them.

        Symbols are in the venue's own spelling or in the unified one (``okx:BTC/USDT:USDT:1m``). The first unified one
        of a venue has its list read: the stream is returned as it was given, and watched once the list is there. From
        then on it is returned, as it is always delivered and stored, in the venue's own spelling.

        A timeframe that the venue does not have, or that the settings list under ``derived``, is made from the symbol's
        1m candles. Several owners may want the same stream; it goes when the last one has let go. Higher `priority` is
        served first where a limit bites. The interest ends by itself after `expires_after_s`. Does not block: the
        streams start to flow as soon as the venue allows.

        Raises `InvalidSymbol`, `InvalidTimeframe` or `UnknownVenue` where a venue can have no such stream, and then
        changes nothing. A symbol that looks right and does not exist is parked, see `status`.
        """
        self._check_open()
        wanted = tuple(self._stream(stream) for stream in streams)
        spelled = tuple(stream for stream in wanted if not is_unified(stream.symbol))
        self._parts.interest.watch(owner, spelled, priority=priority, expires_after_s=expires_after_s)
        for name, venue in self._venues.items():
            if later := [s for s in wanted if s.venue == name and is_unified(s.symbol)]:
                venue.directory.watch(owner, later, priority, expires_after_s)
        return wanted

    def unwatch(self, streams: Iterable[Stream | str] | None = None, *, owner: str = "host") -> None:
        """End the interest of `owner` in `streams`, or in everything it watches. Does not block."""
        self._check_open()
        leaving = None if streams is None else tuple(self._stream(stream) for stream in streams)
        self._parts.interest.unwatch(owner, leaving)
        for venue in self._venues.values():
            venue.directory.unwatch(owner, leaving)

    def candles(
        self,
        streams: Iterable[Stream | str] | None = None,
        *,
        forming: bool = False,
        after: Cursor | None = None,
        limits: SubscriberSettings | None = None,
    ) -> Subscription:
        """Return a subscription to `streams`, or to everything: closed candles, gaps and revisions, once, in order.

        `forming` adds forming candles, conflated. `after` resumes where an earlier subscription stood: what was missed
        comes from the store first, without a seam; with an earlier feed's cursor, some revisions come again. Watching
        is separate: this delivers what somebody watches. What is delivered from this call on is not missed, whenever
        the reading begins. `limits` replace those of the settings. Does not block.
        """
        self._check_open()
        chosen = None if streams is None else tuple(self._stream(stream) for stream in streams)
        parts = self._parts
        for stream in chosen or ():
            if is_unified(stream.symbol):
                self._venues[stream.venue].directory.ask(stream)
        replay = None
        if after is not None:
            known = parts.hub.missed(after)
            again = dict(after.again)
            if known is None:
                again = dict.fromkeys(after.after, after.taken_ms or self._started_ms) | again
            flush = parts.store_writer.flush
            # Our clock may have been set back since.
            again = {stream: min(since_ms, self._started_ms) for stream, since_ms in again.items()}
            replay = StoredReplay(parts.store, known or after, chosen, flush, again=again)
        return parts.hub.subscribe(chosen, forming=forming, replay=replay, limits=limits)

    def streams(self, chosen: Iterable[Stream] | None = None) -> tuple[StreamStatus, ...]:
        """Return how every watched stream is served, or each of `chosen` ones, in the venue's spelling. Does not block.

        Streams in the unified spelling are there once it is known what the venue calls them.
        """
        self._check_open()
        parts = self._parts
        statuses = StreamStatuses(parts.interest, parts.hub, parts.clock.monotonic_s())
        wanted = parts.interest.watched() if chosen is None else tuple(chosen)
        return tuple(statuses.of(stream, self._venues[stream.venue]) for stream in wanted)

    async def spelled(self, stream: Stream | str) -> Stream:
        """Return `stream` in the venue's own spelling, waiting for the venue's list where that is needed.

        Raises `InvalidSymbol`, `InvalidTimeframe` or `UnknownVenue` where there can be no such stream.
        """
        self._check_open()
        known = self._stream(stream)
        if is_unified(known.symbol):
            return await self._venues[known.venue].directory.learn(known)
        await trio.lowlevel.checkpoint()
        return known

    async def history(
        self,
        stream: Stream | str,
        start_ms: int | None = None,
        end_ms: int | None = None,
        limit: int | None = None,
        *,
        newest: bool = False,
    ) -> list[Candle]:
        """Return stored closed candles opening in [`start_ms`, `end_ms`], ascending, everything delivered included.

        At most `limit`: the oldest ones, or the newest ones if `newest`. A symbol in the unified spelling may have to
        wait for the venue's list. Raises `StoreUnavailable`.
        """
        spelled = await self.spelled(stream)
        await self._parts.store_writer.flush()
        return await self._parts.store.candles(spelled, start_ms, end_ms, limit, newest=newest)

    async def gaps(self, stream: Stream | str) -> list[Gap]:
        """Return the gaps of a stream that no candle has filled, ascending, everything delivered included.

        A symbol in the unified spelling may have to wait for the venue's list. Raises `StoreUnavailable`.
        """
        spelled = await self.spelled(stream)
        await self._parts.store_writer.flush()
        return await self._parts.store.gaps(spelled)

    async def gap_summary(self, *, within_ms: int = DAY_MS) -> GapSummary:
        """Return how many gaps are open in the whole store, and what was repaired in the last `within_ms`.

        Everything delivered is included, and so is what earlier feeds repaired, up to a week back. Raises
        `StoreUnavailable`.
        """
        self._check_open()
        await self._parts.store_writer.flush()
        return await self._parts.store.gap_summary(self._parts.clock.wall_ms() - within_ms)

    def sync(self, streams: Iterable[Stream | str] | None = None, *, start_ms: int | None = None) -> SyncStatus:
        """Have `streams`, or all that are watched, compared with their venues over REST; return how that stands.

        Everything from `start_ms` on is compared; without it, each stream's most recent candles, and older gaps. What
        is missing is filled and what differs is corrected, by revisions where subscribers had been told; what is older
        than everything stored is added to the store. A derived stream stands for what it is made from. Streams that are
        parked, that nobody watches, or whose unified spelling is not known yet, fail with the reason. Does not block:
        the work is done with what more urgent requests leave of the venue's budget, see `sync_status`.

        Raises `InvalidSymbol`, `InvalidTimeframe` or `UnknownVenue` where a venue can have no such stream.
        """
        self._check_open()
        interest, now_ms = self._parts.interest, self._parts.clock.wall_ms()
        if streams is None:
            wanted = [stream for name in self._venues for stream in interest.desired(name)]
        else:
            wanted = [interest.carrier_of(self._stream(stream)) for stream in streams]
        errands = [self._venues[stream.venue].sync.ask(stream, start_ms) for stream in dict.fromkeys(wanted)]
        return self._syncs.open(errands, now_ms)

    def syncs(self) -> tuple[SyncStatus, ...]:
        """Return how the last hundred syncs stand, the oldest first. Does not block."""
        self._check_open()
        return self._syncs.statuses()

    def sync_status(self, id: str) -> SyncStatus | None:
        """Return how a sync stands; ``None`` where it is not known, or was too long ago. Does not block."""
        self._check_open()
        return self._syncs.status(id)

    def status(self) -> FeedStatus:
        """Return how the feed is now. Does not block."""
        self._check_open()
        parts = self._parts
        registry, now_s, wall_ms = parts.interest.status(), parts.clock.monotonic_s(), parts.clock.wall_ms()
        venues_now = self._venues.values()
        statuses = tuple(venue_status(venue, registry, parts.latency, now_s, wall_ms) for venue in venues_now)
        store = store_status(parts.store_writer, parts.store)
        return FeedStatus(
            healthy=all(status.healthy for status in statuses) and store.error is None,
            uptime_s=round(now_s - self._started_s, 1),
            venues=statuses,
            owners=dict(registry.owners),
            subscribers=parts.hub.subscribers,
            lagged=parts.hub.lagged,
            store=store,
            retention=retention_status(self._retention, self._pruning, wall_ms)
            if parts.settings.retention.days
            else None,
            backfill=upkeep_status(self._upkeep.backfilled, self._backfilling, wall_ms),
            repair=upkeep_status(self._upkeep.repaired, self._repairing, wall_ms),
            actors=actor_statuses(self.tree.children(), now_s),
            restarts=restart_counts(parts.census.restarts),
            mailbox_peaks={in_venue(m.venue, m.actor): m.peak for m in mailboxes(parts, venues_now) if m.peak},
        )

    def measures(self) -> Measures:
        """Return what the feed has counted and measured since it began, its status included. Does not block."""
        return measures(self._parts, self._venues.values(), self.status(), self._started_ms)

    @property
    def settings(self) -> Settings:
        """What the feed was opened with."""
        return self._parts.settings

    def now_ms(self) -> int:
        """Return UTC milliseconds by our own clock."""
        return self._parts.clock.wall_ms()

    @property
    def messages(self) -> int:
        """How many WebSocket messages of its venues the feed has dealt with."""
        return sum(venue.sequencer.counters.messages for venue in self._venues.values())

    def stop(self) -> None:
        """Ask the task running this feed in `run_feed` to end in order. Does not wait."""
        self.stopping.set()

    def close(self) -> None:
        """Refuse further calls: the feed is ending."""
        self._closed = True

    def _stream(self, stream: Stream | str) -> Stream:
        """Return `stream` as a value that its venue can have, in the venue's own spelling as soon as that is known."""
        parsed = Stream.parse(stream) if isinstance(stream, str) else stream
        venue = self._venues.get(parsed.venue)
        if venue is None:
            raise UnknownVenue(f'"{parsed.venue}" is not a venue of this feed', nearest=next(iter(self._venues), None))
        if is_unified(parsed.symbol):
            check_unified(parsed.symbol)
        spelled = venue.directory.spelled(parsed)
        if spelled is None:
            self._parts.interest.carrier_of(parsed)
            return parsed
        venue.codec.stream_name(self._parts.interest.carrier_of(spelled))
        return spelled

    def _check_open(self) -> None:
        if self._closed:
            raise FeedClosed("the feed has ended")


def carriers(settings: Settings) -> Callable[[Stream], Stream]:
    """Return what says which stream a venue is asked for to deliver another; it raises `InvalidTimeframe`."""

    @cache
    def source(venue: str, timeframe: Timeframe) -> Timeframe:
        any_symbol = Stream(venue, "", timeframe)
        return source_of(any_symbol, venues.codec(venue).rules, settings.venues[venue].derived).timeframe

    def carrier_of(stream: Stream) -> Stream:
        timeframe = source(stream.venue, stream.timeframe)
        return stream if timeframe == stream.timeframe else Stream(stream.venue, stream.symbol, timeframe)

    return carrier_of


@asynccontextmanager
async def open_feed(
    settings: Settings | str | Path,
    *,
    services: Iterable[Service] = (),
    store: Store | None = None,
    network: Network | None = None,
    clock: Clock | None = None,
    rng: random.Random | None = None,
    log: FilteringBoundLogger | None = None,
) -> AsyncIterator[Feed]:
    """Run a feed around the body of an ``async with``, which begins once the actors have started.

    `settings` may be the path of a configuration file. What they declare is watched from the start. However the body
    ends, by returning, raising or the host's cancellation, the feed stops in order, within ``supervision.drain_s``
    seconds before what remains is cancelled. `services` run with the feed, under its supervision. `store` remains the
    caller's; without it the one that the settings name is opened and closed. `network`, `clock` and `rng` are for
    tests and simulations.

    Raises `ConfigError` for wrong settings, `StoreUnavailable` where the store cannot be opened, and what made the feed
    give up, after cancelling the body. A database that cannot be reached is no reason not to begin: what is to be
    stored waits on disk then.
    """
    chosen = settings if isinstance(settings, Settings) else config.load(Path(settings), os.environ)
    config.check_venues(chosen)
    config.check_retention(chosen)
    used_clock = clock or SystemClock()
    used_network = network or TcpNetwork()
    used_rng = rng or random.Random()
    journal = Journal(log or default_logger(), used_clock)
    latency = CloseLatency(used_clock)
    async with AsyncExitStack() as stack:
        if store is None:
            store = await stack.enter_async_context(open_feed_store(chosen.store, on_outage=journal.outage))
        limits, clients = {}, {}
        for name, venue in chosen.venues.items():
            codec = venues.codec(name)
            limits[name] = ShardLimits(streams_per_connection(codec.rules, venue), venue.max_connections)
            client = RestClient(
                rest_base(codec, chosen),
                network=used_network,
                timeout_s=chosen.repair.request_timeout_s,
                headers=endpoints(codec.rules, venue).rest_headers,
            )
            clients[name] = await stack.enter_async_context(client)
        writer = StoreWriter(
            store,
            chosen.store,
            Backoff(chosen.backoff, used_rng.random),
            journal.store,
            used_clock.wall_ms,
        )
        parts = FeedParts(
            settings=chosen,
            network=used_network,
            clock=used_clock,
            rng=used_rng,
            interest=Interest(limits, used_clock, journal.parked, carriers(chosen)),
            store=store,
            store_writer=writer,
            hub=Hub(
                chosen.subscriber,
                life=used_rng.getrandbits(48),
                now_ms=used_clock.wall_ms,
                on_fanned_out=latency.on_fanned_out,
            ),
            latency=latency,
            census=Census(chosen.venues),
            journal=journal,
        )
        feed = Feed(parts, clients, services)
        for name, venue in chosen.venues.items():
            frames = (*venue.timeframes, *venue.derived)
            streams = [Stream(name, symbol, frame) for symbol in venue.symbols for frame in frames]
            feed.watch(streams, owner=CONFIG_OWNER)
        stack.callback(parts.hub.end)
        stack.callback(writer.close)
        async with open_root(feed.tree, drain_s=chosen.supervision.drain_s):
            try:
                yield feed
            finally:
                feed.close()


async def run_feed(
    settings: Settings | str | Path,
    *,
    services: Iterable[Service] = (),
    store: Store | None = None,
    network: Network | None = None,
    clock: Clock | None = None,
    rng: random.Random | None = None,
    log: FilteringBoundLogger | None = None,
    task_status: trio.TaskStatus[Feed] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Run a feed as a task: ``feed = await nursery.start(run_feed, settings)``.

    Ends after `Feed.stop`, or by cancellation, both in order; see `open_feed`.
    """
    opened = open_feed(settings, services=services, store=store, network=network, clock=clock, rng=rng, log=log)
    async with opened as feed:
        task_status.started(feed)
        await feed.stopping.wait()
