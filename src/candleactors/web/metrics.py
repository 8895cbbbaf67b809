"""Metrics: what a feed has counted, in the words of Prometheus. docs/metrics.md says what each means."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib.metadata import version
from math import isinf
from typing import TypeAlias, TypeVar

from attrs import frozen
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from candleactors.actors.measures import Measures, VenueMeasures
from candleactors.actors.status import VenueStatus
from candleactors.actors.traffic import Outcome, Reason
from candleactors.core.histogram import Histogram
from candleactors.feed import Feed

PREFIX = "candleactors_"


def exposition(feed: Feed, accept: str | None = None) -> tuple[bytes, str]:
    """Return the metrics of `feed` and their content type: OpenMetrics if `accept` names it, else Prometheus text.

    Reads the feed as it is now and keeps nothing, so that any number of feeds and scrapers do not know of each other.
    Does not wait; takes some milliseconds, and some ten microseconds more for each subscribed stream. Raises
    `FeedClosed`.
    """
    return encoded(feed.measures(), accept)


def encoded(now: Measures, accept: str | None = None) -> tuple[bytes, str]:
    """Return what `exposition` does of measures taken before. Touches no feed: for a thread where streams are many."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Moment(now))
    try:
        encode, content_type = choose_encoder(accept or "")
    except (TypeError, ValueError):  # it names a version that is none
        encode, content_type = choose_encoder("")
    return encode(registry), content_type


class _Moment(Collector):
    """Metrics of one moment."""

    def __init__(self, now: Measures) -> None:
        self._now = now

    def describe(self) -> Iterable[Metric]:
        return ()

    def collect(self) -> Iterable[Metric]:
        return _families(self._now)


@frozen
class _Venue:
    """One venue at one moment."""

    status: VenueStatus
    measures: VenueMeasures

    def candles(self, kind: str) -> int:
        return self.status.candles[kind]


_OfVenue: TypeAlias = tuple[str, str, Callable[[_Venue], float]]

_VENUE_COUNTERS: tuple[_OfVenue, ...] = (
    ("received_bytes", "Bytes received on WebSockets, decrypted.", lambda v: v.measures.bytes),
    ("messages", "Messages received on WebSockets.", lambda v: v.measures.messages),
    ("messages_rejected", "Messages that were not valid.", lambda v: v.measures.rejected),
    ("candles_delivered", "Closed candles delivered, derived ones aside.", lambda v: v.candles("delivered")),
    ("candles_from_rest", "Those of them that came over REST: history and repairs.", lambda v: v.candles("from_rest")),
    ("candles_filled", "Those of them filled in where there were no trades.", lambda v: v.candles("filled")),
    ("candles_revised", "Revisions of candles and gaps, derived ones aside.", lambda v: v.candles("revisions")),
    ("holes", "Times candles were found to be missing and asked for.", lambda v: v.candles("holes")),
    ("derived_events", "Derived candles, gaps and revisions.", lambda v: v.measures.derived),
    ("gap_candles_repaired", "Candles that came after they had been told as missing.", lambda v: v.measures.repaired),
    ("rest_requests", "REST requests sent.", lambda v: v.measures.rest.requests),
    ("rest_weight", "Weight of the REST requests sent, as the venue counts it.", lambda v: v.measures.rest.weight),
    ("rest_rows", "Candles received over REST.", lambda v: v.measures.rest.rows),
    ("rotations", "Connections replaced before the venue ended them.", lambda v: v.status.rotations),
)
_VENUE_GAUGES: tuple[_OfVenue, ...] = (
    ("venue_healthy", "1 if every stream that fits is served and none is sick.", lambda v: v.status.healthy),
    ("connections", "WebSockets open.", lambda v: sum(one.connected for one in v.status.connections)),
    ("connections_planned", "WebSockets that should be open.", lambda v: len(v.status.connections)),
    ("streams_desired", "Streams to subscribe.", lambda v: v.status.subscriptions),
    ("streams_confirmed", "Those of them that the venue confirmed.", lambda v: v.status.confirmed),
    ("streams_waiting", "Streams for which the connections have no room.", lambda v: v.status.waiting),
    ("streams_parked", "Streams that the venue refuses or does not know.", lambda v: len(v.status.parked)),
    ("streams_repairing", "Streams that wait for missing candles or their first ones.", lambda v: v.status.repairing),
    ("streams_sick", "Silent streams that should speak.", lambda v: sum(len(c.sick) for c in v.status.connections)),
    ("streams_derived", "Streams made from others.", lambda v: v.status.derived),
    ("rest_budget_used", "REST weight spent in the venue's current window.", lambda v: v.measures.budget.rest_used),
    ("rest_budget_limit", "REST weight the venue allows in its window.", lambda v: v.measures.budget.rest_limit),
    ("rest_budget_waiting", "Requests waiting for REST weight.", lambda v: v.measures.budget.rest_waiting),
    ("rest_blocked_seconds", "How long REST yet rests as the venue said.", lambda v: v.measures.budget.rest_blocked_s),
    ("connect_budget_used", "Connects in the venue's current window.", lambda v: v.measures.budget.connects_used),
    ("connect_budget_limit", "Connects the venue allows in its window.", lambda v: v.measures.budget.connects_limit),
    ("connect_budget_waiting", "Connections waiting to be opened.", lambda v: v.measures.budget.connects_waiting),
)
_IGNORED = {"duplicate": "duplicates", "late": "late", "implausible": "implausible"}


def _families(now: Measures) -> Iterator[Metric]:
    venues = tuple(_Venue(status, of) for status, of in zip(now.status.venues, now.venues, strict=True))
    yield from _feed(now)
    for name, text, value in _VENUE_GAUGES:
        yield _gauge(name, text, ("venue",), {(v.status.venue,): value(v) for v in venues})
    for name, text, value in _VENUE_COUNTERS:
        yield _counter(name, text, ("venue",), {(v.status.venue,): value(v) for v in venues})
    yield from _connects(now)
    yield from _streams(venues)
    yield from _gaps(now)
    yield from _rest(now)
    yield from _actors(now)
    yield from _readers(now)
    yield from _store(now)
    yield from _retention(now)
    yield from _upkeep(now)


def _feed(now: Measures) -> Iterator[Metric]:
    began_s = now.started_ms / 1000
    yield _gauge("build_info", "Always 1; the version is a label.", ("version",), {(version("candleactors"),): 1})
    yield _gauge("start_time_seconds", "When the feed began, in seconds since 1970 UTC.", (), {(): began_s})
    yield _gauge("healthy", "1 if every venue is healthy and the store takes rows.", (), {(): now.status.healthy})


def _connects(now: Measures) -> Iterator[Metric]:
    connects = {
        (v.venue, outcome): sum(n for (_, became), n in v.attempts.items() if became is outcome)
        for v in now.venues
        for outcome in Outcome
    }
    again = {
        (v.venue, reason, outcome): n
        for v in now.venues
        for (reason, outcome), n in v.attempts.items()
        if reason is not Reason.START
    }
    yield _counter("connects", "Attempts to open a WebSocket.", ("venue", "outcome"), connects)
    text = "Attempts to open a WebSocket in place of another one, by what became of that."
    yield _counter("reconnects", text, ("venue", "reason", "outcome"), again)


def _streams(venues: tuple[_Venue, ...]) -> Iterator[Metric]:
    silences = {
        (stream.venue, stream.symbol, str(stream.timeframe)): silent_s
        for v in venues
        for stream, silent_s in v.measures.silences.items()
    }
    text = "Time since the last message of a subscribed stream."
    yield _gauge("stream_staleness_seconds", text, ("venue", "symbol", "timeframe"), silences)
    yield _gauge(
        "clock_offset_seconds",
        "How far the venue's clock is ahead of ours; absent while it is not known.",
        ("venue",),
        {(v.status.venue,): v.status.clock_offset_ms / 1000 for v in venues if v.status.clock_offset_ms is not None},
    )
    yield _counter(
        "candles_ignored",
        "Closed candles from the socket that said nothing new or made no sense.",
        ("venue", "reason"),
        {(v.status.venue, reason): v.candles(kind) for v in venues for reason, kind in _IGNORED.items()},
    )
    text = "From the end of an interval, on the venue's clock, to the fan-out of its closed candle; live closes only."
    latencies = {(v.status.venue,): v.measures.close_to_delivery_s for v in venues}
    yield _histogram("close_to_delivery_seconds", text, ("venue",), latencies)


def _gaps(now: Measures) -> Iterator[Metric]:
    labels = ("venue", "reason")
    gaps = {(v.venue, reason): gap for v in now.venues for reason, gap in v.gaps.items()}
    yield _counter("gaps", "Gaps told, derived ones aside.", labels, {key: gap.told for key, gap in gaps.items()})
    told = {key: gap.told_candles for key, gap in gaps.items()}
    yield _counter("gap_candles", "Candles told as missing, derived ones aside.", labels, told)
    yield _gauge("gaps_open", "Gaps of followed streams.", labels, {key: gap.open for key, gap in gaps.items()})
    missing = {key: gap.open_candles for key, gap in gaps.items()}
    yield _gauge("gap_candles_open", "Candles missing in gaps of followed streams.", labels, missing)


def _rest(now: Measures) -> Iterator[Metric]:
    failures = {
        (v.venue, kind): n
        for v in now.venues
        for kind, n in (("failed", v.rest.failed), ("refused", v.rest.refused), ("rate_limited", v.rest.rate_limited))
    }
    yield _counter("rest_failures", "REST requests without a usable answer.", ("venue", "kind"), failures)
    fetches = {(v.venue, urgency.name.lower()): n for v in now.venues for urgency, n in v.fetches.items()}
    text = "Requests for candles that repairs, history and comparisons wanted."
    yield _counter("rest_fetches", text, ("venue", "reason"), fetches)
    answered = {(v.venue,): v.rest_s for v in now.venues}
    yield _histogram("rest_request_seconds", "How long answers of REST took.", ("venue",), answered)


def _actors(now: Measures) -> Iterator[Metric]:
    labels = ("venue", "actor")
    restarts = {(actor.venue, actor.name): n for actor, n in now.restarts.items()}
    yield _counter("actor_restarts", "Times an actor came up again.", labels, restarts)
    failures = {(actor.venue, actor.name, failure): n for (actor, failure), n in now.failures.items()}
    yield _counter("actor_failures", "Times an actor failed, by how bad that was.", (*labels, "class"), failures)
    boxes = {(box.venue, box.actor): box for box in now.mailboxes}
    waiting = {key: box.waiting for key, box in boxes.items()}
    yield _gauge("mailbox_messages", "Messages waiting in a mailbox.", labels, waiting)
    peaks = {key: box.peak for key, box in boxes.items()}
    yield _gauge("mailbox_peak_messages", "Most messages that ever waited in a mailbox.", labels, peaks)
    capacities = {key: box.capacity for key, box in boxes.items()}
    yield _gauge("mailbox_capacity_messages", "Messages that may wait in a mailbox.", labels, capacities)


def _readers(now: Measures) -> Iterator[Metric]:
    behind, full = now.furthest_behind, now.fullest
    yield _gauge("readers", "Readers subscribed.", (), {(): now.status.subscribers})
    yield _gauge("reader_lag_events", "Events waiting for the reader that is furthest behind.", (), {(): behind})
    text = "Share of what may wait for a reader that waits, of the reader that is nearest to being cut off."
    yield _gauge("reader_lag_ratio", text, (), {(): full})
    yield _counter("readers_cut_off", "Readers cut off because they were too slow.", (), {(): now.status.lagged})


def _store(now: Measures) -> Iterator[Metric]:
    store = now.store
    healthy = now.status.store.error is None
    yield _gauge("store_healthy", "1 unless rows cannot be written, or wait on disk.", (), {(): healthy})
    yield _gauge("store_pending_rows", "Rows waiting to be written.", (), {(): store.pending})
    yield _counter("store_written_rows", "Candles written.", (), {(): store.written})
    yield _counter("store_shed_rows", "Rows given up because too many were waiting.", (), {(): store.shed})
    yield _counter("store_failures", "Transactions that failed.", (), {(): store.failed})
    text = "How long transactions took, those that failed aside."
    yield _histogram("store_write_seconds", text, (), {(): store.write_s})
    yield _gauge("store_buffered_rows", "Rows waiting on disk for the database.", (), {(): store.buffered})
    yield _gauge("store_buffer_limit_rows", "Rows that may wait there.", (), {(): store.buffer_capacity})
    yield _counter("store_drained_rows", "Rows that went on from the disk.", (), {(): store.drained})
    yield _counter("store_outages", "Times the database ceased to take rows.", (), {(): store.outages})
    text = "For how long the database has not had everything, 0 if it has."
    yield _gauge("store_outage_seconds", text, (), {(): store.outage_s})


def _retention(now: Measures) -> Iterator[Metric]:
    found = now.status.retention
    healthy, pruned = ({}, {}) if found is None else ({(): found.error is None}, {(): found.pruned})
    text = "1 unless old candles could not be deleted last time; absent where all are kept."
    yield _gauge("retention_healthy", text, (), healthy)
    yield _counter("retention_pruned_rows", "Candles deleted because they were too old to be kept.", (), pruned)


def _upkeep(now: Measures) -> Iterator[Metric]:
    kinds = {("backfill",): now.status.backfill, ("repair",): now.status.repair}
    labels = ("kind",)
    healthy = {kind: found.error is None for kind, found in kinds.items()}
    yield _gauge("upkeep_healthy", "1 unless the last round for history could not be done.", labels, healthy)
    rounds = {kind: found.rounds for kind, found in kinds.items()}
    yield _counter("upkeep_rounds", "Rounds done for history.", labels, rounds)
    candles = {kind: found.candles for kind, found in kinds.items()}
    yield _counter("upkeep_candles", "Candles that they stored or corrected.", labels, candles)
    outages = {kind: found.outages for kind, found in kinds.items()}
    yield _counter("upkeep_outages", "Intervals for which they found that the venue has nothing.", labels, outages)
    failed = {kind: found.failed for kind, found in kinds.items()}
    yield _counter("upkeep_failures", "Streams that they gave up for the time being.", labels, failed)


_Labels = TypeVar("_Labels", bound=tuple[str, ...])


def _gauge(name: str, text: str, labels: tuple[str, ...], values: Mapping[_Labels, float]) -> Metric:
    family = GaugeMetricFamily(PREFIX + name, text, labels=labels)
    for key, value in values.items():
        family.add_metric(key, float(value))
    return family


def _counter(name: str, text: str, labels: tuple[str, ...], values: Mapping[_Labels, float]) -> Metric:
    family = CounterMetricFamily(PREFIX + name, text, labels=labels)
    for key, value in values.items():
        family.add_metric(key, float(value))
    return family


def _histogram(name: str, text: str, labels: tuple[str, ...], values: Mapping[_Labels, Histogram]) -> Metric:
    family = HistogramMetricFamily(PREFIX + name, text, labels=labels)
    for key, histogram in values.items():
        bounds = histogram.cumulative()
        buckets = [("+Inf" if isinf(bound) else str(float(bound)), float(count)) for bound, count in bounds]
        family.add_metric(key, buckets, histogram.total)
    return family
