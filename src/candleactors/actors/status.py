"""Status: how a feed is at one moment, as plain values for people and programs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from attrs import frozen

from candleactors.actors.budget import BudgetStatus
from candleactors.actors.census import Actor
from candleactors.actors.latency import CloseLatency
from candleactors.actors.periodic import Periodic
from candleactors.actors.retention import Retention
from candleactors.actors.store_writer import StoreWriter
from candleactors.actors.venue import Venue
from candleactors.core.lifecycle import ChildStatus
from candleactors.core.registry import RegistryStatus
from candleactors.core.subscriptions import SubscriptionStatus
from candleactors.core.upkeep import UpkeepCounters
from candleactors.stores.base import Store
from candleactors.stores.buffered import BufferedStore


@frozen
class ConnectionStatus:
    """One place in the pool. Ages are seconds; ``None`` where there is nothing to tell."""

    index: int
    connected: bool
    retiring: bool
    streams: int
    capacity: int
    capacity_used_pct: float
    uptime_s: float | None
    last_message_age_s: float | None
    messages: int
    bytes: int
    generation: int
    subscriptions: SubscriptionStatus | None
    quiet: int
    suspect: int
    sick: tuple[str, ...]
    last_disconnect: str | None


@frozen
class LatencyStatus:
    """How long live closes of the last five to ten minutes took from the end of the interval to the readers.

    The percentiles are estimates; ``None`` where there was no candle.
    """

    candles: int
    p50_ms: float | None
    p99_ms: float | None


@frozen
class VenueStatus:
    """One venue. `healthy` means: every stream that fits is confirmed on some connection, and none is sick."""

    venue: str
    healthy: bool
    active_symbols: int
    subscriptions: int
    """Desired streams."""
    confirmed: int
    """Streams the venue acknowledged or that speak."""
    connections: tuple[ConnectionStatus, ...]
    waiting: int
    parked: dict[str, str]
    followed: int
    repairing: int
    derived: int
    """Streams made from others."""
    cold: int
    """Sources whose derived candles are yet to be built from the store."""
    clock_offset_ms: int | None
    latency: LatencyStatus
    messages: int
    bytes: int
    """Received on WebSockets."""
    rejected: int
    candles: dict[str, int]
    """Counters of the candle contract, over all streams."""
    rest_requests: int
    rest_rate_limited: int
    budget: BudgetStatus
    rotations: int
    reconnects: dict[str, int]
    """Connections that took the place of another one, by what became of that; see `traffic.Reason`."""


@frozen
class ActorStatus:
    """A child of the feed's topmost supervisor. `up_s` is ``None`` while it is down."""

    id: str
    state: str
    restarts: int
    up_s: float | None
    last_failure: str | None


@frozen
class StoreStatus:
    """How what is delivered is stored."""

    written: int
    """Candles written, to the store or to disk."""
    pending: int
    """Rows waiting in memory."""
    shed: int
    """Rows given up."""
    buffered: int
    """Rows waiting on disk for the database."""
    outage_s: float | None
    """For how long the database has not had everything; ``None`` if it has."""
    error: str | None
    """What is wrong with writing; ``None`` if nothing is."""


@frozen
class RetentionStatus:
    """What was deleted because it was too old to be kept."""

    pruned: int
    """Candles deleted since the feed began."""
    done_age_s: float | None
    """How long ago old candles were last looked for; ``None`` before the first time."""
    left: int
    """Streams that were in use then, and left to the next time."""
    error: str | None
    """Why that could not be done last time; ``None`` if it could."""


@frozen
class UpkeepStatus:
    """What is done at intervals for history. `error` says why the last round failed; ``None`` if it did not."""

    rounds: int
    candles: int
    """Stored or corrected."""
    outages: int
    """Intervals that the venues were found to have nothing for."""
    failed: int
    """Streams given up, of all rounds together."""
    done_age_s: float | None
    error: str | None


@frozen
class FeedStatus:
    """A feed at one moment. `healthy` means: every venue is, and the store has or takes everything."""

    healthy: bool
    uptime_s: float
    venues: tuple[VenueStatus, ...]
    owners: dict[str, int]
    subscribers: int
    lagged: int
    store: StoreStatus
    retention: RetentionStatus | None
    """``None`` where everything is kept for ever."""
    backfill: UpkeepStatus
    repair: UpkeepStatus
    actors: tuple[ActorStatus, ...]
    restarts: dict[str, int]
    """How often an actor anywhere in the tree came up again, as ``venue/actor``; those that never did are left out."""
    mailbox_peaks: dict[str, int]
    """Most messages that ever waited, by the mailbox's actor; mailboxes in which none ever did are left out."""


def venue_status(
    venue: Venue, registry: RegistryStatus, latency: CloseLatency, now_s: float, wall_ms: int
) -> VenueStatus:
    """Return how a venue is. Does not block."""
    interest = registry.venues[venue.name]
    connections = []
    for planned in interest.plan.shards:
        shard = venue.pool.shards.get(planned.id)
        report = shard.connection.report() if shard is not None and shard.connection is not None else None
        health = shard.health if shard is not None else None
        last_s = report.last_message_s if report is not None else None
        connections.append(
            ConnectionStatus(
                index=planned.id,
                connected=report is not None,
                retiring=planned.retiring,
                streams=planned.streams,
                capacity=planned.capacity,
                capacity_used_pct=round(planned.used * 100, 1),
                uptime_s=None if report is None else round(now_s - report.connected_at_s, 1),
                last_message_age_s=None if last_s is None else round(now_s - last_s, 3),
                messages=0 if report is None else report.messages,
                bytes=0 if report is None else report.bytes,
                generation=0 if shard is None else shard.generation,
                subscriptions=None if report is None else report.subscriptions,
                quiet=0 if health is None else len(health.quiet),
                suspect=0 if health is None else len(health.suspect),
                sick=() if health is None else health.sick,
                last_disconnect=None if shard is None else shard.last_disconnect,
            )
        )
    counters = venue.sequencer.counters
    confirmed = sum(c.subscriptions.confirmed for c in connections if c.subscriptions and not c.retiring)
    # While one connection replaces another, the old one serves until the new one does.
    served = {c.index for c in connections if c.subscriptions and c.subscriptions.confirmed >= c.streams}
    served |= {successor for shard in interest.plan.shards if shard.id in served for successor in shard.successors}
    healthy = all(c.index in served or c.retiring for c in connections) and not any(c.sick for c in connections)
    return VenueStatus(
        venue=venue.name,
        healthy=healthy,
        active_symbols=interest.symbols,
        subscriptions=interest.desired,
        confirmed=confirmed,
        connections=tuple(connections),
        waiting=len(interest.waiting),
        parked={str(stream): reason for stream, reason in interest.parked.items()},
        followed=venue.sequencer.followed,
        repairing=len(venue.sequencer.repairing),
        derived=interest.derived,
        cold=venue.aggregator.cold,
        clock_offset_ms=venue.clock.offset_ms(now_s, wall_ms),
        latency=_latency_status(latency, venue.name),
        messages=counters.messages,
        bytes=venue.traffic.bytes,
        rejected=counters.rejected,
        candles=dict(venue.sequencer.totals()),
        rest_requests=venue.rest.counters.requests,
        rest_rate_limited=venue.rest.counters.rate_limited,
        budget=venue.budget.status(),
        rotations=venue.pool.rotations,
        reconnects=venue.traffic.reconnects(),
    )


def store_status(writer: StoreWriter, store: Store) -> StoreStatus:
    """Return how `writer` and its store are. Does not block."""
    buffered = store if isinstance(store, BufferedStore) else None
    outage_s = None if buffered is None else buffered.outage_s()
    return StoreStatus(
        written=writer.written,
        pending=writer.pending,
        shed=writer.shed,
        buffered=0 if buffered is None else buffered.buffered,
        outage_s=None if outage_s is None else round(outage_s, 1),
        error=writer.trouble or (None if buffered is None else buffered.error),
    )


def retention_status(retention: Retention, pruning: Periodic, wall_ms: int) -> RetentionStatus:
    """Return what retention does. Does not block."""
    done_ms = pruning.done_ms
    return RetentionStatus(
        pruned=retention.pruned,
        done_age_s=None if done_ms is None else round(max(0, wall_ms - done_ms) / 1000, 1),
        left=retention.left,
        error=pruning.error,
    )


def upkeep_status(counters: UpkeepCounters, rounds: Periodic, wall_ms: int) -> UpkeepStatus:
    """Return what rounds of one kind did for history. Does not block."""
    done_ms = rounds.done_ms
    return UpkeepStatus(
        rounds=rounds.done,
        candles=counters.candles,
        outages=counters.outages,
        failed=counters.failed,
        done_age_s=None if done_ms is None else round(max(0, wall_ms - done_ms) / 1000, 1),
        error=rounds.error,
    )


def restart_counts(restarts: Mapping[Actor, int]) -> dict[str, int]:
    """Return how often actors came up again, by name, without those that never did."""
    return {in_venue(actor.venue, actor.name): times for actor, times in restarts.items() if times}


def in_venue(venue: str, actor: str) -> str:
    """Return the name of an actor among those of all venues; `venue` is empty for those that belong to none."""
    return f"{venue}/{actor}" if venue else actor


def actor_statuses(children: Iterable[ChildStatus], now_s: float) -> tuple[ActorStatus, ...]:
    """Return how supervised children are."""
    return tuple(
        ActorStatus(
            id=child.id,
            state=child.state,
            restarts=child.restarts,
            up_s=None if child.up_since_s is None else round(now_s - child.up_since_s, 1),
            last_failure=child.last_failure,
        )
        for child in children
    )


def _latency_status(latency: CloseLatency, venue: str) -> LatencyStatus:
    recent = latency.recent(venue)
    return LatencyStatus(recent.count, _ms(recent.quantile(0.5)), _ms(recent.quantile(0.99)))


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 1)
