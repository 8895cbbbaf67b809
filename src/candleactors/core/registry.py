"""The registry: who wants which streams, and therefore which shard carries them.

Interest is owned. Owners are free texts (``config``, ``sse:17``, ``strategy:reversal``); a stream is desired as long as
one owner watches it, at the highest priority any of them gave. The registry outlives every connection: what it says is
desired is what a new connection subscribes.

A derived stream is not subscribed: its *carrier* is, the stream it is made from. Every other stream carries itself.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from types import MappingProxyType
from typing import TypeAlias

from attrs import define, field, frozen

from candleactors.core.sharding import PlanStatus, ShardLimits, ShardPlan
from candleactors.errors import UnknownVenue
from candleactors.model import Stream

_Key: TypeAlias = tuple[int, int, Stream]
"""Negated priority, order of first watching, stream: sorts as the plan wants its streams."""


@frozen
class VenueInterest:
    """What is wanted of one venue at one moment."""

    venue: str
    desired: int
    """Streams to subscribe."""
    derived: int
    """Streams made from those."""
    symbols: int
    """Symbols among the desired streams."""
    waiting: tuple[Stream, ...]
    """Streams beyond the venue's limits, highest priority first."""
    parked: Mapping[Stream, str]
    """Streams taken out, with the reason."""
    plan: PlanStatus


@frozen
class RegistryStatus:
    """The registry at one moment: every venue by name, and how many streams each owner watches."""

    venues: Mapping[str, VenueInterest]
    owners: Mapping[str, int]


@define
class _Carrier:
    """A stream to subscribe. `key` is its place in the ranking, ``None`` while it is parked.

    `carried` holds the watched streams it serves, with the priority each of their owners gave.
    """

    order: int
    carried: dict[Stream, dict[str, int]] = field(factory=dict)
    reason: str | None = None
    key: _Key | None = None


@define
class _Venue:
    plan: ShardPlan
    ranking: list[_Key] = field(factory=list)

    def desired(self) -> list[Stream]:
        return [stream for _, _, stream in self.ranking]


class Registry:
    """The one owner of the desired streams of a feed and of the plan that shards them.

    `limits` names the feed's venues; `carrier_of` returns the carrier of a stream, always the same. Calls that may
    change a plan return the venues whose plan, or whose derived streams, did change, so that only they need to be
    looked at. Asking about any other venue raises `UnknownVenue` and changes nothing.
    """

    def __init__(
        self, limits: Mapping[str, ShardLimits], carrier_of: Callable[[Stream], Stream] = lambda stream: stream
    ) -> None:
        self._carrier_of = carrier_of
        self._venues = {name: _Venue(ShardPlan(of.capacity, of.max_shards)) for name, of in limits.items()}
        self._carriers: dict[Stream, _Carrier] = {}
        self._by_owner: dict[str, dict[Stream, float | None]] = {}
        self._expiring: dict[tuple[str, Stream], float] = {}
        self._soonest_s: float | None = None
        self._soonest_known = True
        self._parked: dict[Stream, str] = {}
        self._last_order = 0

    def watch(
        self, owner: str, streams: Iterable[Stream], *, priority: int = 0, expires_at_s: float | None = None
    ) -> frozenset[str]:
        """Declare that `owner` wants `streams`; declaring one again replaces its priority and expiry.

        A higher `priority` is served first. At `expires_at_s`, on the clock that `expire` is given, the interest goes
        by itself. Returns the venues that changed. Raises `UnknownVenue` before anything is changed.
        """
        wanted = dict.fromkeys(streams)
        for name in dict.fromkeys(stream.venue for stream in wanted):
            self._venue(name)
        if not wanted:
            return frozenset()
        owned = self._by_owner.setdefault(owner, {})
        touched: dict[Stream, None] = {}
        made: dict[str, None] = {}
        for stream in wanted:
            subscribed = self._carrier_of(stream)
            carrier = self._carriers.get(subscribed)
            if carrier is None:
                self._last_order += 1
                carrier = self._carriers[subscribed] = _Carrier(self._last_order)
            if stream != subscribed and stream not in carrier.carried:
                made[stream.venue] = None
            carrier.carried.setdefault(stream, {})[owner] = priority
            owned[stream] = expires_at_s
            self._schedule(owner, stream, expires_at_s)
            touched[subscribed] = None
        return self._refit(self._rank(touched)) | made.keys()

    def unwatch(self, owner: str, streams: Iterable[Stream] | None = None) -> frozenset[str]:
        """End the interest of `owner` in `streams`, or in everything; what it does not watch is passed over.

        Returns the venues that changed.
        """
        owned = self._by_owner.get(owner, {})
        leaving = list(owned if streams is None else dict.fromkeys(s for s in streams if s in owned))
        return self._forget((owner, stream) for stream in leaving)

    def expire(self, now_s: float) -> frozenset[str]:
        """End every interest whose time has come; returns the venues that changed."""
        soonest = self.next_expiry()
        if soonest is None or now_s < soonest:
            return frozenset()
        return self._forget([which for which, at_s in self._expiring.items() if at_s <= now_s])

    def next_expiry(self) -> float | None:
        """Return when `expire` next has something to do, or ``None``."""
        if not self._soonest_known:
            self._soonest_s = min(self._expiring.values(), default=None)
            self._soonest_known = True
        return self._soonest_s

    def park(self, stream: Stream, reason: str) -> frozenset[str]:
        """Take a stream out of the plan, with a reason for the user, until `release` or until nobody watches it.

        Its owners stay, and those of what is made from it. Parking it again replaces the reason. Does nothing where
        nobody watches it (any more). Returns the venues that changed.
        """
        carrier = self._carriers.get(stream)
        if carrier is None:
            return frozenset()
        carrier.reason = reason
        self._parked[stream] = reason
        return self._refit(self._rank([stream]))

    def release(self, stream: Stream) -> frozenset[str]:
        """Put a parked stream back, at its old place; returns the venues that changed."""
        carrier = self._carriers.get(stream)
        if carrier is None or carrier.reason is None:
            return frozenset()
        carrier.reason = None
        del self._parked[stream]
        return self._refit(self._rank([stream]))

    @property
    def parked(self) -> Mapping[Stream, str]:
        """Every parked stream with its reason: a live, read-only view."""
        return MappingProxyType(self._parked)

    def desired(self, venue: str) -> tuple[Stream, ...]:
        """Return the streams to subscribe, without the parked: by priority, then in order of first watching."""
        return tuple(self._venue(venue).desired())

    def derived(self, venue: str) -> dict[Stream, tuple[Stream, ...]]:
        """Return what is to be made from a venue's streams, by the stream it is made from, without the parked."""
        made = {
            subscribed: tuple(stream for stream in self._carriers[subscribed].carried if stream != subscribed)
            for subscribed in self._venue(venue).desired()
        }
        return {subscribed: streams for subscribed, streams in made.items() if streams}

    def waiting(self, venue: str) -> tuple[Stream, ...]:
        """Return the desired streams beyond the venue's limits, highest priority first."""
        return self._venue(venue).plan.waiting

    def watched(self) -> tuple[Stream, ...]:
        """Return every stream that somebody watches, the parked included, first come first."""
        return tuple(stream for carrier in self._carriers.values() for stream in carrier.carried)

    def owners(self, stream: Stream) -> tuple[str, ...]:
        """Return who watches a stream, first come first."""
        carrier = self._carriers.get(self._carrier_of(stream))
        return tuple(carrier.carried.get(stream, ())) if carrier else ()

    def priority(self, stream: Stream) -> int:
        """Return the highest priority any owner gave what a stream carries, 0 where nobody watches any of it."""
        carrier = self._carriers.get(stream)
        return _highest(carrier) if carrier else 0

    def plan(self, venue: str) -> ShardPlan:
        """Return the venue's live plan, to read; it is changed through the registry only."""
        return self._venue(venue).plan

    def rotate(self, venue: str, shard_id: int) -> int | None:
        """See `ShardPlan.rotate`."""
        return self._venue(venue).plan.rotate(shard_id)

    def consolidate(self, venue: str) -> int | None:
        """See `ShardPlan.consolidate`."""
        return self._venue(venue).plan.consolidate()

    def retired(self, venue: str, shard_id: int) -> None:
        """See `ShardPlan.retired`."""
        self._venue(venue).plan.retired(shard_id)

    def status(self) -> RegistryStatus:
        """Return a snapshot."""
        return RegistryStatus(
            venues={
                name: VenueInterest(
                    venue=name,
                    desired=len(venue.ranking),
                    derived=sum(len(streams) for streams in self.derived(name).values()),
                    symbols=len({stream.symbol for _, _, stream in venue.ranking}),
                    waiting=venue.plan.waiting,
                    parked={stream: reason for stream, reason in self._parked.items() if stream.venue == name},
                    plan=venue.plan.status(),
                )
                for name, venue in self._venues.items()
            },
            owners={owner: len(owned) for owner, owned in self._by_owner.items()},
        )

    def _venue(self, name: str) -> _Venue:
        try:
            return self._venues[name]
        except KeyError:
            near = get_close_matches(name, self._venues, n=1)
            raise UnknownVenue(f'"{name}" is not a venue of this feed', nearest=near[0] if near else None) from None

    def _schedule(self, owner: str, stream: Stream, expires_at_s: float | None) -> None:
        before = self._expiring.pop((owner, stream), None)
        if before is not None and before == self._soonest_s:
            self._soonest_known = False
        if expires_at_s is not None:
            self._expiring[owner, stream] = expires_at_s
            if self._soonest_s is None or expires_at_s < self._soonest_s:
                self._soonest_s = expires_at_s

    def _forget(self, interests: Iterable[tuple[str, Stream]]) -> frozenset[str]:
        touched: dict[Stream, None] = {}
        unmade: dict[str, None] = {}
        for owner, stream in interests:
            self._schedule(owner, stream, None)
            owned = self._by_owner[owner]
            del owned[stream]
            if not owned:
                del self._by_owner[owner]
            subscribed = self._carrier_of(stream)
            carried = self._carriers[subscribed].carried
            del carried[stream][owner]
            if not carried[stream]:
                del carried[stream]
                if stream != subscribed:
                    unmade[stream.venue] = None
            touched[subscribed] = None
        return self._refit(self._rank(touched)) | unmade.keys()

    def _rank(self, streams: Iterable[Stream]) -> dict[str, None]:
        """Bring the places of carriers in their venues' rankings up to date; return the venues that changed."""
        moved: dict[str, None] = {}
        for stream in streams:
            carrier = self._carriers[stream]
            planned = carrier.carried and carrier.reason is None
            key = (-_highest(carrier), carrier.order, stream) if planned else None
            if not carrier.carried:
                del self._carriers[stream]
                self._parked.pop(stream, None)
            if key == carrier.key:
                continue
            ranking = self._venues[stream.venue].ranking
            if carrier.key is not None:
                del ranking[bisect_left(ranking, carrier.key)]
            if key is not None:
                insort(ranking, key)
            carrier.key = key
            moved[stream.venue] = None
        return moved

    def _refit(self, venues: Iterable[str]) -> frozenset[str]:
        return frozenset(name for name in venues if self._venues[name].plan.fit(self._venues[name].desired()))


def _highest(carrier: _Carrier) -> int:
    return max(priority for owners in carrier.carried.values() for priority in owners.values())
