"""The registry: owned interest, expiry, parking and limits, by example and against a dictionary."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from candleactors.core.registry import Registry
from candleactors.core.sharding import ShardLimits
from candleactors.errors import UnknownVenue
from candleactors.model import Stream, Timeframe

M1 = Timeframe("1m")
A, B, C, D, E = (Stream("spot", name, M1) for name in "ABCDE")
F = Stream("futures", "F", M1)


def registry(capacity: int = 2, max_shards: int = 2) -> Registry:
    limits = ShardLimits(capacity, max_shards)
    return Registry({"spot": limits, "futures": limits})


def test_a_stream_goes_with_its_last_owner() -> None:
    interests = registry()
    assert interests.watch("config", [A, F]) == {"spot", "futures"}
    assert interests.watch("sse", [A]) == frozenset(), "it is carried already"
    assert interests.owners(A) == ("config", "sse")
    assert interests.unwatch("config") == {"futures"}
    assert interests.desired("spot") == (A,)
    assert interests.unwatch("sse", [A, B]) == {"spot"}
    assert interests.desired("spot") == ()
    assert interests.unwatch("nobody") == frozenset()


def test_the_highest_priority_of_any_owner_counts() -> None:
    interests = registry()
    interests.watch("config", [A, B, C])
    interests.watch("positions", [C], priority=10)
    assert interests.desired("spot") == (C, A, B)
    interests.unwatch("positions")
    assert interests.desired("spot") == (A, B, C), "back to the order of first watching"
    interests.watch("config", [B], priority=1)
    assert interests.desired("spot") == (B, A, C)


def test_where_a_limit_bites_the_lowest_priority_waits() -> None:
    interests = registry(capacity=1, max_shards=2)
    interests.watch("config", [A, B, C])
    assert interests.waiting("spot") == (C,)
    assert interests.watch("config", [D]) == frozenset(), "no connection has to change for one that waits"
    assert interests.watch("position", [D], priority=1) == {"spot"}
    assert interests.waiting("spot") == (B, C)
    assert interests.unwatch("config", [A]) == {"spot"}
    assert interests.waiting("spot") == (C,)


def test_interests_expire_one_by_one() -> None:
    interests = registry()
    interests.watch("recent", [A], expires_at_s=10.0)
    interests.watch("recent", [B], expires_at_s=5.0)
    interests.watch("config", [A])
    assert interests.next_expiry() == 5.0
    assert interests.expire(4.9) == frozenset()
    assert interests.expire(5.0) == {"spot"}
    assert interests.desired("spot") == (A,)
    interests.watch("recent", [A], expires_at_s=20.0)
    assert interests.next_expiry() == 20.0, "watching again puts it off"
    interests.watch("recent", [A])
    assert interests.next_expiry() is None, "and may make it permanent"


def test_a_parked_stream_keeps_its_owners_and_blocks_nobody() -> None:
    interests = registry(capacity=1, max_shards=2)
    interests.watch("config", [A, B, C])
    assert interests.park(A, "unknown symbol") == {"spot"}
    assert interests.desired("spot") == (B, C)
    assert interests.waiting("spot") == ()
    assert dict(interests.parked) == {A: "unknown symbol"}
    assert interests.owners(A) == ("config",)
    assert interests.watch("sse", [A], priority=9) == frozenset(), "new interest does not bring it back"
    assert interests.release(A) == {"spot"}
    assert interests.desired("spot") == (A, B, C)
    assert interests.release(A) == frozenset()


def test_parking_is_forgotten_with_the_last_owner() -> None:
    interests = registry()
    interests.watch("config", [A])
    interests.park(A, "unknown symbol")
    assert interests.unwatch("config") == frozenset()
    assert not interests.parked
    interests.watch("config", [A])
    assert interests.desired("spot") == (A,)
    assert interests.park(B, "nobody watches it") == frozenset()
    assert not interests.parked


def test_an_unknown_venue_changes_nothing() -> None:
    interests = registry()
    with pytest.raises(UnknownVenue, match="spto") as caught:
        interests.watch("config", [A, Stream("spto", "X", M1)])
    assert caught.value.nearest == "spot"
    assert interests.desired("spot") == ()
    assert interests.status().owners == {}
    with pytest.raises(UnknownVenue):
        interests.desired("spto")


def test_status_is_a_snapshot() -> None:
    interests = registry(capacity=1, max_shards=1)
    interests.watch("config", [A, B, C])
    interests.park(C, "why not")
    before = interests.status()
    interests.unwatch("config")
    assert before.owners == {"config": 3}
    spot = before.venues["spot"]
    assert (spot.desired, spot.waiting, spot.parked) == (2, (B,), {C: "why not"})
    assert [shard.streams for shard in spot.plan.shards] == [1]


def test_ten_thousand_streams_come_and_go() -> None:
    many = [Stream("spot", f"S{i}", M1) for i in range(10_000)]
    interests = registry(capacity=500, max_shards=20)
    interests.watch("config", many)
    assert interests.desired("spot") == tuple(many)
    assert len(interests.plan("spot").active) == 20
    interests.unwatch("config")
    assert interests.plan("spot").active == ()


def carrier(stream: Stream) -> Stream:
    return Stream(stream.venue, stream.symbol, M1)


def derived(stream: Stream, frame: str) -> Stream:
    return Stream(stream.venue, stream.symbol, Timeframe(frame))


A5, A7, B5 = derived(A, "5m"), derived(A, "7m"), derived(B, "5m")


def deriving(capacity: int = 2, max_shards: int = 2) -> Registry:
    limits = ShardLimits(capacity, max_shards)
    return Registry({"spot": limits, "futures": limits}, carrier)


def test_derived_streams_have_their_source_subscribed() -> None:
    interests = deriving()
    assert interests.watch("config", [A5, A7, B]) == {"spot"}
    assert interests.desired("spot") == (A, B)
    assert interests.derived("spot") == {A: (A5, A7)}
    assert interests.watch("sse", [A7, A]) == frozenset(), "both are there already"
    assert interests.watch("sse", [B5]) == {"spot"}, "no connection changes, but what is made does"
    assert interests.derived("spot") == {A: (A5, A7), B: (B5,)}
    assert interests.unwatch("config", [A5, A7]) == {"spot"}
    assert interests.derived("spot") == {A: (A7,), B: (B5,)}
    assert interests.unwatch("sse") == {"spot"}
    assert interests.desired("spot") == (B,)
    assert interests.derived("spot") == {}
    assert interests.owners(A7) == ()
    assert interests.owners(B) == ("config",)


def test_owners_watch_what_they_named() -> None:
    """Not its source."""
    interests = deriving()
    interests.watch("config", [A5])
    interests.watch("sse", [A7], priority=3)
    assert interests.owners(A) == ()
    assert interests.owners(A5) == ("config",)
    assert interests.priority(A) == 3
    status = interests.status()
    assert status.owners == {"config": 1, "sse": 1}
    assert (status.venues["spot"].desired, status.venues["spot"].derived, status.venues["spot"].symbols) == (1, 2, 1)


def test_the_most_important_of_what_it_carries_ranks_a_source() -> None:
    interests = deriving(capacity=1, max_shards=1)
    interests.watch("config", [A, B5])
    assert interests.waiting("spot") == (B,)
    assert interests.watch("position", [derived(B, "7m")], priority=1) == {"spot"}
    assert interests.waiting("spot") == (A,)
    assert interests.unwatch("position") == {"spot"}
    assert interests.waiting("spot") == (B,)


def test_a_parked_source_makes_nothing() -> None:
    interests = deriving()
    interests.watch("config", [A5, B5])
    assert interests.park(A5, "is no source") == frozenset()
    assert interests.park(A, "unknown symbol") == {"spot"}
    assert interests.derived("spot") == {B: (B5,)}
    assert interests.watch("sse", [A7]) == {"spot"}
    assert interests.desired("spot") == (B,)
    assert interests.release(A) == {"spot"}
    assert interests.derived("spot") == {A: (A5, A7), B: (B5,)}


def test_interest_in_what_is_derived_expires() -> None:
    interests = deriving()
    interests.watch("recent", [A5], expires_at_s=5.0)
    interests.watch("recent", [A7], expires_at_s=9.0)
    assert interests.expire(5.0) == {"spot"}
    assert interests.derived("spot") == {A: (A7,)}
    assert interests.expire(9.0) == {"spot"}
    assert interests.desired("spot") == ()


STREAMS = [
    Stream(venue, f"S{i}", Timeframe(frame))
    for venue in ("spot", "futures")
    for i, frames in enumerate((["1m"], ["1m"], ["1m", "5m"], ["1m", "5m", "7m"], ["5m", "7m", "1h"], ["5m"]))
    for frame in frames
]
some_streams = st.lists(st.sampled_from(STREAMS), max_size=5)
owner_names = st.sampled_from(["config", "sse", "strategy"])


class RegistryMachine(RuleBasedStateMachine):
    """A registry beside the plainest possible book-keeping of the same interests.

    `first` and `parked` are of sources, all else is of what is watched.
    """

    def __init__(self) -> None:
        super().__init__()
        self.registry = Registry({"spot": ShardLimits(2, 2), "futures": ShardLimits(3, 1)}, carrier)
        self.limits = {"spot": 4, "futures": 3}
        self.interests: dict[tuple[str, Stream], tuple[int, float | None]] = {}
        self.first: list[Stream] = []
        self.parked: dict[Stream, str] = {}
        self.now_s = 0.0

    def carried(self) -> dict[str, Any]:
        plans = {name: self.registry.plan(name) for name in self.limits}
        made = {name: {s for _, s in self.interests if s.venue == name and s != carrier(s)} for name in self.limits}
        return {n: (made[n], {i: set(p.streams_of(i)) for i in p.active + p.retiring}) for n, p in plans.items()}

    def check(self, before: dict[str, Any], changed: frozenset[str]) -> None:
        after = self.carried()
        assert changed == {name for name in after if before[name] != after[name]}

    def settle_model(self) -> None:
        watched = {carrier(stream) for _, stream in self.interests}
        self.first = [s for s in self.first if s in watched]
        self.parked = {s: reason for s, reason in self.parked.items() if s in watched}

    @rule(
        owner=owner_names,
        streams=some_streams,
        priority=st.integers(0, 2),
        lifetime=st.none() | st.integers(0, 9),
    )
    def watch(self, owner: str, streams: list[Stream], priority: int, lifetime: int | None) -> None:
        before = self.carried()
        expires = None if lifetime is None else self.now_s + lifetime
        changed = self.registry.watch(owner, streams, priority=priority, expires_at_s=expires)
        for stream in streams:
            self.interests[owner, stream] = (priority, expires)
            if carrier(stream) not in self.first:
                self.first.append(carrier(stream))
        self.check(before, changed)

    @rule(owner=owner_names, streams=st.none() | some_streams)
    def unwatch(self, owner: str, streams: list[Stream] | None) -> None:
        before = self.carried()
        changed = self.registry.unwatch(owner, streams)
        for who, stream in list(self.interests):
            if who == owner and (streams is None or stream in streams):
                del self.interests[who, stream]
        self.settle_model()
        self.check(before, changed)

    @rule(seconds=st.integers(0, 6))
    def time_passes(self, seconds: int) -> None:
        self.now_s += seconds
        before = self.carried()
        changed = self.registry.expire(self.now_s)
        for which, (_, expires) in list(self.interests.items()):
            if expires is not None and expires <= self.now_s:
                del self.interests[which]
        self.settle_model()
        self.check(before, changed)

    @rule(stream=st.sampled_from(STREAMS), reason=st.sampled_from(["unknown symbol", "refused"]))
    def park(self, stream: Stream, reason: str) -> None:
        before = self.carried()
        changed = self.registry.park(stream, reason)
        self.parked[stream] = reason
        self.settle_model()
        self.check(before, changed)

    @precondition(lambda self: self.parked)
    @rule(data=st.data())
    def release(self, data: Any) -> None:
        stream = data.draw(st.sampled_from(list(self.parked)))
        before = self.carried()
        changed = self.registry.release(stream)
        del self.parked[stream]
        self.check(before, changed)

    @rule(venue=st.sampled_from(["spot", "futures"]), streams=some_streams)
    def unknown_venue(self, venue: str, streams: list[Stream]) -> None:
        with pytest.raises(UnknownVenue):
            self.registry.watch("config", [*streams, Stream("nowhere", "X", M1)])

    @rule(venue=st.sampled_from(["spot", "futures"]))
    def pool_works(self, venue: str) -> None:
        plan = self.registry.plan(venue)
        for shard_id in plan.retiring:
            self.registry.retired(venue, shard_id)
        if self.registry.consolidate(venue) is None and plan.active:
            self.registry.rotate(venue, plan.active[0])

    @invariant()
    def desires_what_the_model_desires(self) -> None:
        for venue, limit in self.limits.items():
            ranked = sorted(
                (s for s in self.first if s.venue == venue and s not in self.parked),
                key=lambda s: -max(p for (_, of), (p, _) in self.interests.items() if carrier(of) == s),
            )
            assert self.registry.desired(venue) == tuple(ranked)
            assert self.registry.waiting(venue) == tuple(ranked[limit:])
            plan = self.registry.plan(venue)
            assert {s for i in plan.active for s in plan.streams_of(i)} == set(ranked[:limit])

    @invariant()
    def makes_what_is_watched_and_not_its_own_source(self) -> None:
        for venue in self.limits:
            made: dict[Stream, set[Stream]] = {}
            for _, stream in self.interests:
                source = carrier(stream)
                if stream.venue == venue and stream != source and source not in self.parked:
                    made.setdefault(source, set()).add(stream)
            found = self.registry.derived(venue)
            assert {source: set(streams) for source, streams in found.items()} == made
            assert all(len(streams) == len(set(streams)) for streams in found.values())
            assert self.registry.status().venues[venue].derived == sum(map(len, made.values()))

    @invariant()
    def knows_owners_expiry_and_parking(self) -> None:
        assert dict(self.registry.parked) == self.parked
        for stream in STREAMS:
            assert set(self.registry.owners(stream)) == {who for who, of in self.interests if of == stream}
        times = [expires for _, expires in self.interests.values() if expires is not None]
        assert self.registry.next_expiry() == min(times, default=None)
        owners = [who for who, _ in self.interests]
        assert self.registry.status().owners == {who: owners.count(who) for who in owners}


TestRegistry = RegistryMachine.TestCase
TestRegistry.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
