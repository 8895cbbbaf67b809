"""Measures: what a feed has counted and measured, for whoever watches it from outside, as values of one moment."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from attrs import frozen

from candleactors.actors.budget import BudgetStatus
from candleactors.actors.census import Actor
from candleactors.actors.latency import CloseLatency
from candleactors.actors.mailbox import Mailbox
from candleactors.actors.rest import RestCounters
from candleactors.actors.status import FeedStatus
from candleactors.actors.store_writer import StoreWriter
from candleactors.actors.traffic import Outcome, Reason
from candleactors.actors.venue import FeedParts, Venue
from candleactors.core.failure import FailureClass
from candleactors.core.fetch import Urgency
from candleactors.core.histogram import Histogram
from candleactors.model import GapReason, Stream
from candleactors.stores.base import Store
from candleactors.stores.buffered import BufferedStore


@frozen
class GapMeasures:
    """Gaps of one reason on one venue: how many, and how many candles are missing in them."""

    told: int
    told_candles: int
    open: int
    open_candles: int


@frozen
class VenueMeasures:
    """One venue. Everything but `silences`, `gaps` in part, and `budget` only ever grows."""

    venue: str
    bytes: int
    messages: int
    rejected: int
    attempts: Mapping[tuple[Reason, Outcome], int]
    """Attempts to connect."""
    silences: Mapping[Stream, float]
    """See `Sequencer.silences`."""
    close_to_delivery_s: Histogram
    rest: RestCounters
    rest_s: Histogram
    budget: BudgetStatus
    fetches: Mapping[Urgency, int]
    """Requests for rows that the candle contract wanted, by why."""
    gaps: Mapping[GapReason, GapMeasures]
    repaired: int
    """Candles that came after they had been told as missing."""
    derived: int
    """Derived candles, gaps and revisions handed on."""


@frozen
class MailboxMeasures:
    """A mailbox, or those of all shards together, of which the fullest counts."""

    venue: str
    actor: str
    waiting: int
    peak: int
    """Most messages that ever waited."""
    capacity: int


@frozen
class StoreMeasures:
    """The store writer."""

    written: int
    pending: int
    shed: int
    failed: int
    """Transactions that failed."""
    write_s: Histogram
    """Of transactions that did not."""
    buffered: int
    """Rows waiting on disk."""
    buffer_capacity: int
    """Rows that may; 0 where there is no buffer."""
    drained: int
    """Rows that went on from the disk to the database."""
    outages: int
    """Times the database ceased to take rows."""
    outage_s: float
    """For how long it has not had everything; 0 if it has."""


@frozen
class Measures:
    """A feed at one moment."""

    started_ms: int
    status: FeedStatus
    venues: tuple[VenueMeasures, ...]
    mailboxes: tuple[MailboxMeasures, ...]
    restarts: Mapping[Actor, int]
    failures: Mapping[tuple[Actor, FailureClass], int]
    store: StoreMeasures
    furthest_behind: int
    """Events waiting for the reader that has left most of them lying."""
    fullest: float
    """Share of what may wait for a reader that waits, of the reader that is nearest to being cut off."""


def measures(parts: FeedParts, venues: Iterable[Venue], status: FeedStatus, started_ms: int) -> Measures:
    """Return what the feed has counted. Does not block; costs about a microsecond for each stream."""
    all_venues = tuple(venues)
    return Measures(
        started_ms=started_ms,
        status=status,
        venues=tuple(_venue(venue, parts.latency) for venue in all_venues),
        mailboxes=mailboxes(parts, all_venues),
        restarts=dict(parts.census.restarts),
        failures=dict(parts.census.failures),
        store=_store(parts.store_writer, parts.store),
        furthest_behind=parts.hub.furthest_behind,
        fullest=parts.hub.fullest,
    )


def mailboxes(parts: FeedParts, venues: Iterable[Venue]) -> tuple[MailboxMeasures, ...]:
    """Return how full the mailboxes of a feed are, and were."""
    found = [_mailbox("", "store-writer", (parts.store_writer.mailbox,)), _mailbox("", "hub", (parts.hub.mailbox,))]
    found += [_mailbox(venue.name, actor, boxes) for venue in venues for actor, boxes in venue.mailboxes().items()]
    return tuple(found)


def _mailbox(venue: str, actor: str, boxes: Iterable[Mailbox[Any]]) -> MailboxMeasures:
    found = tuple(boxes)
    return MailboxMeasures(
        venue,
        actor,
        waiting=max((len(box) for box in found), default=0),
        peak=max((box.peak for box in found), default=0),
        capacity=max((box.capacity for box in found), default=0),
    )


def _venue(venue: Venue, latency: CloseLatency) -> VenueMeasures:
    counters, gaps = venue.sequencer.counters, venue.sequencer.gaps
    return VenueMeasures(
        venue=venue.name,
        bytes=venue.traffic.bytes,
        messages=venue.traffic.messages,
        rejected=counters.rejected,
        attempts=dict(venue.traffic.attempts),
        silences=venue.sequencer.silences(),
        close_to_delivery_s=latency.total(venue.name),
        rest=venue.rest.counters.copy(),
        rest_s=venue.rest.answered_s.copy(),
        budget=venue.budget.status(),
        fetches={urgency: counters.fetches[urgency] for urgency in Urgency},
        gaps={
            reason: GapMeasures(gaps.gaps[reason], gaps.candles[reason], *still)
            for reason, still in gaps.open().items()
        },
        repaired=gaps.repaired,
        derived=venue.aggregator.counters.derived,
    )


def _store(writer: StoreWriter, store: Store) -> StoreMeasures:
    buffered = store if isinstance(store, BufferedStore) else None
    return StoreMeasures(
        written=writer.written,
        pending=writer.pending,
        shed=writer.shed,
        failed=writer.failed,
        write_s=writer.write_s.copy(),
        buffered=0 if buffered is None else buffered.buffered,
        buffer_capacity=0 if buffered is None else buffered.capacity,
        drained=0 if buffered is None else buffered.drained,
        outages=0 if buffered is None else buffered.outages,
        outage_s=0.0 if buffered is None else buffered.outage_s() or 0.0,
    )
