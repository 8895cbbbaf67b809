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


STREAMS = [Stream(venue, f"S{i}", M1) for venue in ("spot", "futures") for i in range(6)]
some_streams = st.lists(st.sampled_from(STREAMS), max_size=5)
owner_names = st.sampled_from(["config", "sse", "strategy"])


class RegistryMachine(RuleBasedStateMachine):
    """A registry beside the plainest possible book-keeping of the same interests."""

    def __init__(self) -> None:
        super().__init__()
        self.registry = Registry({"spot": ShardLimits(2, 2), "futures": ShardLimits(3, 1)})
        self.limits = {"spot": 4, "futures": 3}
        self.interests: dict[tuple[str, Stream], tuple[int, float | None]] = {}
        self.first: list[Stream] = []
        self.parked: dict[Stream, str] = {}
        self.now_s = 0.0

    def carried(self) -> dict[str, Any]:
        plans = {name: self.registry.plan(name) for name in self.limits}
        return {n: {i: set(p.streams_of(i)) for i in p.active + p.retiring} for n, p in plans.items()}

    def check(self, before: dict[str, Any], changed: frozenset[str]) -> None:
        after = self.carried()
        assert changed == {name for name in after if before[name] != after[name]}

    def settle_model(self) -> None:
        watched = {stream for _, stream in self.interests}
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
            if stream not in self.first:
                self.first.append(stream)
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
                key=lambda s: -max(p for (_, of), (p, _) in self.interests.items() if of == s),
            )
            assert self.registry.desired(venue) == tuple(ranked)
            assert self.registry.waiting(venue) == tuple(ranked[limit:])
            plan = self.registry.plan(venue)
            assert {s for i in plan.active for s in plan.streams_of(i)} == set(ranked[:limit])

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
