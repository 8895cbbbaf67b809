"""The registry: who wants which streams, and therefore which shard carries them.

Interest is owned. Owners are free texts (``config``, ``sse:17``, ``strategy:reversal``); a stream is desired as long as
one owner watches it, at the highest priority any of them gave. The registry outlives every connection: what it says is
desired is what a new connection subscribes.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable, Mapping
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
class _Watched:
    """A stream with at least one owner. `key` is its place in the ranking, ``None`` while it is parked."""

    order: int
    priorities: dict[str, int] = field(factory=dict)
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

    `limits` names the feed's venues. Calls that may change a plan return the venues whose plan did change, so that
    only their pools need to look. Asking about any other venue raises `UnknownVenue` and changes nothing.
    """

    def __init__(self, limits: Mapping[str, ShardLimits]) -> None:
        self._venues = {name: _Venue(ShardPlan(of.capacity, of.max_shards)) for name, of in limits.items()}
        self._watched: dict[Stream, _Watched] = {}
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
        by itself. Returns the venues whose plan changed. Raises `UnknownVenue` before anything is changed.
        """
        wanted = dict.fromkeys(streams)
        for name in dict.fromkeys(stream.venue for stream in wanted):
            self._venue(name)
        if not wanted:
            return frozenset()
        owned = self._by_owner.setdefault(owner, {})
        moved: dict[str, None] = {}
        for stream in wanted:
            watched = self._watched.get(stream)
            if watched is None:
                self._last_order += 1
                watched = self._watched[stream] = _Watched(self._last_order)
            watched.priorities[owner] = priority
            owned[stream] = expires_at_s
            self._schedule(owner, stream, expires_at_s)
            if self._rank(stream, watched):
                moved[stream.venue] = None
        return self._refit(moved)

    def unwatch(self, owner: str, streams: Iterable[Stream] | None = None) -> frozenset[str]:
        """End the interest of `owner` in `streams`, or in everything; what it does not watch is passed over.

        Returns the venues whose plan changed.
        """
        owned = self._by_owner.get(owner, {})
        leaving = list(owned if streams is None else dict.fromkeys(s for s in streams if s in owned))
        return self._refit(self._forget((owner, stream) for stream in leaving))

    def expire(self, now_s: float) -> frozenset[str]:
        """End every interest whose time has come; returns the venues whose plan changed."""
        soonest = self.next_expiry()
        if soonest is None or now_s < soonest:
            return frozenset()
        return self._refit(self._forget([which for which, at_s in self._expiring.items() if at_s <= now_s]))

    def next_expiry(self) -> float | None:
        """Return when `expire` next has something to do, or ``None``."""
        if not self._soonest_known:
            self._soonest_s = min(self._expiring.values(), default=None)
            self._soonest_known = True
        return self._soonest_s

    def park(self, stream: Stream, reason: str) -> frozenset[str]:
        """Take a stream out of the plan, with a reason for the user, until `release` or until nobody watches it.

        Its owners stay. Parking it again replaces the reason. Does nothing where nobody watches it (any more).
        Returns the venues whose plan changed.
        """
        watched = self._watched.get(stream)
        if watched is None:
            return frozenset()
        watched.reason = reason
        self._parked[stream] = reason
        return self._refit([stream.venue] if self._rank(stream, watched) else [])

    def release(self, stream: Stream) -> frozenset[str]:
        """Put a parked stream back, at its old place; returns the venues whose plan changed."""
        watched = self._watched.get(stream)
        if watched is None or watched.reason is None:
            return frozenset()
        watched.reason = None
        del self._parked[stream]
        return self._refit([stream.venue] if self._rank(stream, watched) else [])

    @property
    def parked(self) -> Mapping[Stream, str]:
        """Every parked stream with its reason: a live, read-only view."""
        return MappingProxyType(self._parked)

    def desired(self, venue: str) -> tuple[Stream, ...]:
        """Return the streams wanted of a venue, without the parked: by priority, then in order of first watching."""
        return tuple(self._venue(venue).desired())

    def waiting(self, venue: str) -> tuple[Stream, ...]:
        """Return the desired streams beyond the venue's limits, highest priority first."""
        return self._venue(venue).plan.waiting

    def owners(self, stream: Stream) -> tuple[str, ...]:
        """Return who watches a stream, first come first."""
        watched = self._watched.get(stream)
        return tuple(watched.priorities) if watched else ()

    def priority(self, stream: Stream) -> int:
        """Return the highest priority any owner gave a stream, 0 where nobody watches it."""
        watched = self._watched.get(stream)
        return max(watched.priorities.values()) if watched else 0

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

    def _forget(self, interests: Iterable[tuple[str, Stream]]) -> dict[str, None]:
        moved: dict[str, None] = {}
        for owner, stream in interests:
            self._schedule(owner, stream, None)
            owned = self._by_owner[owner]
            del owned[stream]
            if not owned:
                del self._by_owner[owner]
            watched = self._watched[stream]
            del watched.priorities[owner]
            if not watched.priorities:
                del self._watched[stream]
                self._parked.pop(stream, None)
            if self._rank(stream, watched):
                moved[stream.venue] = None
        return moved

    def _rank(self, stream: Stream, watched: _Watched) -> bool:
        """Bring the stream's place in its venue's ranking up to date; returns whether it changed."""
        planned = watched.priorities and watched.reason is None
        key = (-max(watched.priorities.values()), watched.order, stream) if planned else None
        if key == watched.key:
            return False
        ranking = self._venues[stream.venue].ranking
        if watched.key is not None:
            del ranking[bisect_left(ranking, watched.key)]
        if key is not None:
            insort(ranking, key)
        watched.key = key
        return True

    def _refit(self, venues: Iterable[str]) -> frozenset[str]:
        return frozenset(name for name in venues if self._venues[name].plan.fit(self._venues[name].desired()))
