"""A venue's subtree: its rest_for_one supervisor and everything below."""

from __future__ import annotations

import random
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Any

from attrs import frozen

from candleactors.actors.aggregator import Aggregator
from candleactors.actors.backfill import CAPACITY as WISHES
from candleactors.actors.backfill import Backfill, RestTrouble
from candleactors.actors.budget import VenueBudget
from candleactors.actors.census import Census
from candleactors.actors.child import ChildSpec, Strategy
from candleactors.actors.connection import ConnectionDeps, Rejections, run_connection
from candleactors.actors.directory import Directory
from candleactors.actors.health_monitor import MonitorDeps, run_monitor
from candleactors.actors.hub import Hub
from candleactors.actors.interest import Interest
from candleactors.actors.journal import Journal
from candleactors.actors.latency import CloseLatency
from candleactors.actors.mailbox import Mailbox
from candleactors.actors.messages import Wish
from candleactors.actors.pool import ClosingSoon, Pool
from candleactors.actors.rest import VenueRest
from candleactors.actors.sequencer import Sequencer
from candleactors.actors.shard import Shard
from candleactors.actors.store_writer import StoreWriter
from candleactors.actors.supervisor import Supervisor
from candleactors.actors.sync import Sync, SyncDeps
from candleactors.actors.traffic import Traffic
from candleactors.core.backoff import Backoff
from candleactors.core.continuity_rules import ContinuityRules
from candleactors.core.lifecycle import SupervisorEvent
from candleactors.core.venue_clock import VenueClock
from candleactors.errors import StoreUnavailable
from candleactors.model import DAY_MS, MINUTE_MS
from candleactors.settings import Settings, VenueSettings
from candleactors.stores.base import Store
from candleactors.transport.clock import Clock
from candleactors.transport.network import Network
from candleactors.transport.rest import RestClient
from candleactors.transport.websocket import WebSocket, open_websocket
from candleactors.venues.base import Closes, Codec, Endpoints, VenueRules

STREAMS_PER_CONNECTION = 500
"""Unless the settings say otherwise, and where the venue allows so many."""


@frozen
class FeedParts:
    """What the venues of a feed share."""

    settings: Settings
    network: Network
    clock: Clock
    rng: random.Random
    interest: Interest
    store: Store
    store_writer: StoreWriter
    hub: Hub
    latency: CloseLatency
    journal: Journal
    census: Census

    def supervisor(self, name: str, strategy: Strategy, *children: ChildSpec) -> Supervisor:
        """Return a supervisor with the feed's settings, clock, journal and census."""
        self.census.expect(name, (child.id for child in children))
        return Supervisor(
            strategy,
            children,
            name=name,
            supervision=self.settings.supervision,
            backoff=self.settings.backoff,
            clock=self.clock,
            rng=self.rng,
            on_event=self._on_event,
        )

    def _on_event(self, event: SupervisorEvent) -> None:
        self.journal.supervision(event)
        self.census.note(event)


class Venue:
    """One venue's actors, put together. The tree is ``rest_for_one`` over aggregator, sequencer and ``sources``.

    `rest_client` belongs to the caller and must be open while the venue runs.
    """

    def __init__(self, codec: Codec, rest_client: RestClient, parts: FeedParts) -> None:
        rules, settings = codec.rules, parts.settings
        venue_settings = settings.venues[rules.venue]
        wishes: Mailbox[Wish] = Mailbox(WISHES)
        self.name = rules.venue
        self.codec = codec
        self.clock = VenueClock()
        self.traffic = Traffic()
        self.budget = VenueBudget(
            connects=venue_settings.connects or rules.connects,
            connects_window_s=venue_settings.connects_window_s or rules.connects_window_s,
            rest_weight=venue_settings.rest_weight or rules.rest_weight,
            rest_window_s=venue_settings.rest_window_s or rules.rest_window_s,
        )
        self.rest = VenueRest(codec, rest_client, self.budget, parts.clock, self.clock)
        parts.latency.follow(self.name, self.clock)
        self.aggregator = Aggregator(
            self.name,
            settings.aggregation,
            interest=parts.interest,
            store=parts.store,
            writer=parts.store_writer,
            hub=parts.hub,
            on_trouble=self._note_store_trouble,
        )
        continuity = continuity_rules(rules, settings)
        self.sequencer = Sequencer(
            codec,
            continuity,
            clock=parts.clock,
            venue_clock=self.clock,
            interest=parts.interest,
            deliveries=self.aggregator.mailbox,
            wishes=wishes,
        )
        backfill = Backfill(
            self.rest,
            parts.store,
            parts.interest,
            settings.repair,
            wishes=wishes,
            answers=self.sequencer.mailbox,
            backoff=Backoff(settings.backoff, parts.rng.random),
            on_trouble=self._note_trouble,
        )
        self.sync = Sync(
            self.name,
            SyncDeps(
                rest=self.rest,
                store=parts.store,
                writer=parts.store_writer,
                interest=parts.interest,
                rules=continuity,
                clock=parts.clock,
                venue_clock=self.clock,
                sequencer=self.sequencer.mailbox,
                expected_ms=self.sequencer.expected_ms,
                backoff=Backoff(settings.backoff, parts.rng.random),
                on_trouble=self._note_trouble,
            ),
        )
        self.directory = Directory(
            self.name,
            rest=self.rest,
            interest=parts.interest,
            clock=parts.clock,
            backoff=Backoff(settings.backoff, parts.rng.random),
            on_trouble=lambda error: self._note_trouble(RestTrouble(None, error)),
            on_unknown=parts.journal.parked,
            on_spelled=parts.hub.spell,
        )
        self.pool = Pool(
            self.name,
            venue_settings,
            clock=parts.clock,
            rng=parts.rng,
            interest=parts.interest,
            sources=lambda: self._sources,
            shard_spec=self._shard_spec,
        )
        self._parts = parts
        self._wishes = wishes
        self._endpoint = codec.websocket_url(websocket_base(codec, settings))
        self._connection_deps = ConnectionDeps(
            codec=codec,
            venue=venue_settings,
            health=settings.health,
            clock=parts.clock,
            interest=parts.interest,
            budget=self.budget,
            sequencer=self.sequencer.mailbox,
            traffic=self.traffic,
            open_websocket=self._open_websocket,
            on_closing_soon=self._note_closing_soon,
            on_rejections=self._note_rejections,
        )
        self._monitor_deps = MonitorDeps(codec, settings.health, parts.clock, parts.interest, wishes)
        self._sources = self._supervisor(
            "sources",
            Strategy.ONE_FOR_ONE,
            ChildSpec("backfill", backfill.run),
            ChildSpec("sync", self.sync.run),
            ChildSpec("directory", self.directory.run),
            ChildSpec("pool", self.pool.run),
        )
        self._tree = self._supervisor(
            self.name,
            Strategy.REST_FOR_ONE,
            ChildSpec("aggregator", self.aggregator.run),
            ChildSpec("sequencer", self.sequencer.run),
            self._sources.spec("sources"),
        )

    def spec(self) -> ChildSpec:
        """Return the venue as a child of the feed's ``venues``."""
        return self._tree.spec(self.name)

    def mailboxes(self) -> Mapping[str, tuple[Mailbox[Any], ...]]:
        """Return the mailboxes of the venue's actors by the names of these; those of shards share one."""
        return {
            "aggregator": (self.aggregator.mailbox,),
            "sequencer": (self.sequencer.mailbox,),
            "backfill": (self._wishes,),
            "pool": (self.pool.mailbox,),
            "health": tuple(shard.readings for shard in self.pool.shards.values()),
        }

    def _shard_spec(self, shard: Shard) -> ChildSpec:
        """A connection and its monitor live and die together: what is known of silence belongs to one connection."""
        supervisor = self._supervisor(
            f"shard-{shard.id}",
            Strategy.ONE_FOR_ALL,
            ChildSpec(
                "connection",
                partial(run_connection, shard, self._connection_deps),
                start_timeout_s=float("inf"),  # it waits for the venue's connect budget; the handshake has its own
            ),
            ChildSpec("health", partial(run_monitor, shard, self._monitor_deps)),
        )
        spec = supervisor.spec(f"shard-{shard.id}")
        self._parts.census.expect(f"{self.name}/sources", [spec.id])
        return spec

    def _open_websocket(self) -> AbstractAsyncContextManager[WebSocket]:
        settings = self._parts.settings.venues[self.name]
        return open_websocket(
            self._endpoint,
            network=self._parts.network,
            coalesce_s=settings.coalesce_s,
            handshake_timeout_s=settings.handshake_timeout_s,
            max_message_bytes=settings.max_message_bytes,
        )

    def _supervisor(self, name: str, strategy: Strategy, *children: ChildSpec) -> Supervisor:
        return self._parts.supervisor(name if name == self.name else f"{self.name}/{name}", strategy, *children)

    def _note_closing_soon(self, shard_id: int) -> None:
        self._parts.journal.note("info", "venue closes a connection soon", f"{self.name}/shard-{shard_id}")
        self.pool.mailbox.offer(ClosingSoon(shard_id))

    def _note_rejections(self, rejections: Rejections) -> None:
        self._parts.journal.note(
            "warning",
            "messages rejected",
            f"{self.name}/shard-{rejections.shard_id}",
            count=rejections.count,
            problem=rejections.first.problem,
            excerpt=rejections.first.excerpt,
        )

    def _note_store_trouble(self, error: StoreUnavailable) -> None:
        self._parts.journal.note("warning", "derived candles wait for the store", self.name, error=str(error))

    def _note_trouble(self, trouble: RestTrouble) -> None:
        self._parts.journal.note(
            "warning",
            "REST trouble",
            self.name,
            stream=None if trouble.stream is None else str(trouble.stream),
            error=str(trouble.error),
        )


def continuity_rules(rules: VenueRules, settings: Settings) -> ContinuityRules:
    """Return what the candle contract goes by at a venue."""
    return ContinuityRules(
        history=history(rules, settings),
        close_grace_s=settings.health.close_grace_s + rules.close_lag_s,
        deadline_s=settings.repair.deadline_s,
        verify_interval_s=settings.repair.verify_interval_s or None,
        max_rows=rules.klines_limit,
        max_first_rows=rules.newest_limit or rules.klines_limit,
        windowed=rules.windowed_klines,
        fills=rules.skips_empty,
        heartbeats=rules.heartbeat_s is not None,
        confirms=rules.closes is Closes.INFERRED,
    )


def history(rules: VenueRules, settings: Settings) -> int:
    """Return how many candles a stream begins with: enough for the warm start of what is derived from it."""
    derived = settings.venues[rules.venue].derived
    if not derived:
        return settings.repair.history
    # Beyond a day only the running interval counts, which is for the store or an import to know.
    longest_ms = max(min(timeframe.nominal_ms, DAY_MS) for timeframe in derived)
    warm = settings.aggregation.warm_start_minutes + longest_ms // MINUTE_MS
    return min(max(settings.repair.history, warm), (rules.newest_limit or rules.klines_limit) - 1)


def streams_per_connection(rules: VenueRules, venue: VenueSettings) -> int:
    """Return how many streams share a connection."""
    return venue.streams_per_connection or min(STREAMS_PER_CONNECTION, rules.max_streams_per_connection)


def websocket_base(codec: Codec, settings: Settings) -> str:
    """Return the WebSocket base URL of a venue: the user's own, the test network's, or the venue's."""
    venue = settings.venues[codec.rules.venue]
    return venue.websocket_url or endpoints(codec.rules, venue).websocket


def rest_base(codec: Codec, settings: Settings) -> str:
    """Return the REST base URL of a venue, likewise."""
    venue = settings.venues[codec.rules.venue]
    return venue.rest_url or endpoints(codec.rules, venue).rest


def endpoints(rules: VenueRules, venue: VenueSettings) -> Endpoints:
    """Return the venue's own addresses, those of its test network where the settings want that."""
    return rules.testnet if venue.testnet and rules.testnet else rules.endpoints
