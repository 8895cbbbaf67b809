"""Stream status: how one watched stream is served at one moment, as plain values for people and programs."""

from __future__ import annotations

from enum import StrEnum

from attrs import frozen

from candleactors.actors.hub import Hub
from candleactors.actors.interest import Interest
from candleactors.actors.shard import Shard
from candleactors.actors.venue import Venue
from candleactors.model import Stream


class StreamState(StrEnum):
    """How a watched stream is served."""

    LIVE = "live"
    STARTING = "starting"
    """The venue has not confirmed it yet."""
    REPAIRING = "repairing"
    """Candles are missing and being fetched."""
    STALE = "stale"
    """It is silent, and REST is asked why."""
    WAITING = "waiting"
    """There is no room for it on the connections, or the venue's list of symbols is being read."""
    PARKED = "parked"
    """The venue does not serve it."""


@frozen
class StreamStatus:
    """One watched stream. `made_from` is the timeframe it is derived from, if it is.

    `last_closed_open_ms` is the open time of the last closed candle or gap delivered in this life of the feed, and
    `silent_s` how long ago the venue last said something of what carries it; ``None`` where there was none yet.
    """

    venue: str
    symbol: str
    timeframe: str
    state: StreamState
    reason: str | None
    """Why it is parked."""
    owners: tuple[str, ...]
    made_from: str | None
    last_closed_open_ms: int | None
    silent_s: float | None


class StreamStatuses:
    """Answers how streams are served, all at one moment: what they have in common is looked up once. Does not block."""

    def __init__(self, interest: Interest, hub: Hub, now_s: float) -> None:
        self._interest = interest
        self._hub = hub
        self._now_s = now_s
        self._parked = {
            carrier: reason for venue in interest.status().venues.values() for carrier, reason in venue.parked.items()
        }
        self._repairing: dict[str, frozenset[Stream]] = {}
        self._heard: dict[tuple[str, int], dict[str, float | None]] = {}

    def of(self, stream: Stream, venue: Venue) -> StreamStatus:
        """Return how `stream` is served, in the venue's own spelling; whether anybody watches it or not."""
        carrier = self._interest.carrier_of(stream)
        state, reason, silent_s = self._served(carrier, venue)
        return StreamStatus(
            venue=stream.venue,
            symbol=stream.symbol,
            timeframe=str(stream.timeframe),
            state=state,
            reason=reason,
            owners=self._interest.owners(stream),
            made_from=None if carrier == stream else str(carrier.timeframe),
            last_closed_open_ms=self._hub.position(stream),
            silent_s=None if silent_s is None else round(silent_s, 1),
        )

    def _served(self, carrier: Stream, venue: Venue) -> tuple[StreamState, str | None, float | None]:
        if (reason := self._parked.get(carrier)) is not None:
            return StreamState.PARKED, reason, None
        plan = self._interest.plan(venue.name)
        place = plan.shard_of(carrier)
        if place is None:
            return StreamState.WAITING, None, None
        name = venue.codec.stream_name(carrier)
        # While one connection replaces another, the old one serves.
        shards = [venue.pool.shards[one] for one in (place, *plan.retiring) if one in venue.pool.shards]
        serving = [(shard, heard) for shard in shards if name in (heard := self._words(venue, shard))]
        if not serving:
            return StreamState.STARTING, None, None
        words = [heard[name] for _, heard in serving]
        last_s = max((word for word in words if word is not None), default=None)
        silent_s = None if last_s is None else max(0.0, self._now_s - last_s)
        if carrier in self._repairs(venue):
            return StreamState.REPAIRING, None, silent_s
        if all(name in shard.health.sick or name in shard.health.suspect for shard, _ in serving):
            return StreamState.STALE, None, silent_s
        return StreamState.LIVE, None, silent_s

    def _words(self, venue: Venue, shard: Shard) -> dict[str, float | None]:
        key = venue.name, shard.id
        if key not in self._heard:
            self._heard[key] = {} if shard.connection is None else shard.connection.heard()
        return self._heard[key]

    def _repairs(self, venue: Venue) -> frozenset[Stream]:
        if venue.name not in self._repairing:
            self._repairing[venue.name] = frozenset(venue.sequencer.repairing)
        return self._repairing[venue.name]
