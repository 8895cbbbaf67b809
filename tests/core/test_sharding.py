"""Sharding: capacity, least movement, and make-before-break, by example and against a model of live connections."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from candleactors.core.sharding import ShardPlan
from candleactors.errors import LocalProtocolError
from candleactors.model import Stream, Timeframe

M1 = Timeframe("1m")


def streams(*names: str) -> list[Stream]:
    return [Stream("v", name, M1) for name in names]


def held(plan: ShardPlan) -> dict[int, str]:
    return {shard: "".join(s.symbol for s in plan.streams_of(shard)) for shard in plan.active + plan.retiring}


def test_fills_one_shard_after_the_other() -> None:
    plan = ShardPlan(capacity=3, max_shards=10)
    assert plan.fit(streams(*"abcdefg")) == (1, 2, 3)
    assert held(plan) == {1: "abc", 2: "def", 3: "g"}


def test_nothing_changes_nothing() -> None:
    plan = ShardPlan(3, 10)
    plan.fit(streams(*"abcd"))
    assert plan.fit(streams(*"abcd")) == ()
    assert plan.fit(streams(*"dcba")) == ()
    assert held(plan) == {1: "cba", 2: "d"}, "another priority reorders a shard, it moves nothing"


def test_a_symbol_that_comes_or_goes_moves_no_other() -> None:
    plan = ShardPlan(3, 10)
    plan.fit(streams(*"abcdefg"))
    assert plan.fit(streams(*"acdefg")) == (1,)
    assert held(plan) == {1: "ac", 2: "def", 3: "g"}
    assert plan.fit(streams(*"acdefgh")) == (1,), "the fullest shard with room takes it"
    assert held(plan) == {1: "ach", 2: "def", 3: "g"}


def test_an_empty_shard_disappears_and_its_id_is_never_used_again() -> None:
    plan = ShardPlan(1, 10)
    plan.fit(streams(*"ab"))
    assert plan.fit(streams("a")) == (2,)
    assert plan.active == (1,)
    plan.fit(streams(*"ac"))
    assert held(plan) == {1: "a", 3: "c"}


def test_what_finds_no_room_waits_lowest_priority_last() -> None:
    plan = ShardPlan(2, 2)
    plan.fit(streams(*"abcdef"))
    assert plan.waiting == tuple(streams(*"ef"))
    assert plan.shard_of(streams("e")[0]) is None
    plan.fit(streams(*"zabcdef"))
    assert plan.waiting == tuple(streams(*"def"))
    assert held(plan) == {1: "ab", 2: "zc"}
    plan.fit(streams(*"zbcdef"))
    assert plan.waiting == tuple(streams(*"ef"))


def test_the_same_stream_twice_is_a_bug_of_the_caller() -> None:
    with pytest.raises(LocalProtocolError):
        ShardPlan(3, 3).fit(streams("a", "a"))


def test_consolidation_makes_before_it_breaks() -> None:
    plan = ShardPlan(4, 10)
    plan.fit(streams(*"abcdefgh"))
    plan.fit(streams(*"abefg"))
    assert held(plan) == {1: "ab", 2: "efg"}
    assert plan.consolidate() is None, "five streams need two shards of four"
    plan.fit(streams(*"abe"))
    assert plan.consolidate() == 2
    assert (plan.active, plan.retiring, plan.successors(2)) == ((1,), (2,), (1,))
    assert held(plan) == {1: "abe", 2: "e"}
    plan.retired(2)
    assert held(plan) == {1: "abe"}


def test_consolidation_leaves_a_reserve_so_that_one_symbol_does_not_flap() -> None:
    plan = ShardPlan(10, 10)
    eleven = streams(*"abcdefghijk")
    plan.fit(eleven)
    for _ in range(3):
        plan.fit(eleven[1:])
        assert plan.consolidate() is None, "ten would fit one shard, and leave no room for the one that comes back"
        assert plan.fit(eleven) == (1,)
    plan.fit(eleven[2:])
    assert plan.consolidate() == 2


def test_rotation_keeps_both_until_the_old_one_is_closed() -> None:
    plan = ShardPlan(2, 1)
    plan.fit(streams(*"abc"))
    assert plan.rotate(1) == 2
    assert held(plan) == {2: "ab", 1: "ab"}
    assert plan.waiting == tuple(streams("c")), "a retiring shard takes no room, but gives none either"
    plan.fit(streams(*"acd"))
    assert held(plan) == {2: "ac", 1: "a"}, "what goes leaves both; what comes joins the new one"
    assert plan.successors(1) == (2,)
    assert plan.rotate(1) is None, "retiring already"
    plan.retired(1)
    plan.retired(1)
    assert held(plan) == {2: "ac"}


def test_a_retiring_shard_that_nobody_needs_disappears() -> None:
    plan = ShardPlan(2, 2)
    plan.fit(streams(*"ab"))
    plan.rotate(1)
    assert plan.fit([]) == (1, 2)
    assert held(plan) == {}


def test_an_active_shard_cannot_be_retired() -> None:
    plan = ShardPlan(2, 2)
    plan.fit(streams("a"))
    with pytest.raises(LocalProtocolError):
        plan.retired(1)


def test_status_tells_the_share_in_use() -> None:
    plan = ShardPlan(4, 1)
    plan.fit(streams(*"abc"))
    plan.rotate(1)
    old, new = plan.status().shards
    assert (old.id, old.retiring, old.successors, old.used) == (1, True, (2,), 0.75)
    assert (new.id, new.retiring, new.successors) == (2, False, ())


SYMBOLS = streams(*(f"S{i}" for i in range(14)))


class PlanMachine(RuleBasedStateMachine):
    """A plan beside connections that open late, flow later, and close exactly when the plan allows it."""

    @initialize(capacity=st.integers(1, 4), max_shards=st.integers(1, 4))
    def start(self, capacity: int, max_shards: int) -> None:
        self.capacity, self.max_shards = capacity, max_shards
        self.plan = ShardPlan(capacity, max_shards)
        self.wanted: list[Stream] = []
        self.flowing: dict[int, set[Stream]] = {}
        self.spoken: set[Stream] = set()
        self.known_ids: set[int] = set()
        self.dead_ids: set[int] = set()

    def homes(self) -> dict[Stream, int]:
        return {s: shard for shard in self.plan.active for s in self.plan.streams_of(shard)}

    @rule(data=st.data())
    def fit(self, data: Any) -> None:
        self.wanted = data.draw(st.lists(st.sampled_from(SYMBOLS), unique=True))
        self._fit()

    @precondition(lambda self: self.wanted)
    @rule(data=st.data())
    def drop_one(self, data: Any) -> None:
        self.wanted.remove(data.draw(st.sampled_from(self.wanted)))
        self._fit()

    @rule(data=st.data(), first=st.booleans())
    def add_one(self, data: Any, first: bool) -> None:
        new = data.draw(st.sampled_from(SYMBOLS))
        if new not in self.wanted:
            self.wanted.insert(0 if first else len(self.wanted), new)
        self._fit()

    def _fit(self) -> None:
        homes, before, ids = self.homes(), held(self.plan), self.plan.active
        touched = self.plan.fit(self.wanted)
        stayed = {s: shard for s, shard in self.homes().items() if s in homes}
        assert stayed == {s: homes[s] for s in stayed}, "a stream that stayed was moved"
        after = {shard: set(self.plan.streams_of(shard)) for shard in held(self.plan)}
        was = {shard: {s for s in SYMBOLS if s.symbol in _symbols(text)} for shard, text in before.items()}
        assert touched == tuple(sorted(i for i in was | after if was.get(i) != after.get(i)))
        opened = [shard for shard in self.plan.active if shard not in ids]
        if opened:
            assert all(len(after[i]) == self.capacity for i in self.plan.active if i != opened[-1])

    @rule()
    def consolidate(self) -> None:
        homes, active, retiring = self.homes(), self.plan.active, self.plan.retiring
        emptied = self.plan.consolidate()
        reserve = -(-self.capacity // 10)
        if emptied is None:
            assert self.homes() == homes
            assert not active or (len(active) - 1) * self.capacity - len(homes) < reserve
            return
        assert len(self.plan.active) * self.capacity - len(homes) >= reserve
        assert self.plan.active == tuple(i for i in active if i != emptied)
        assert self.plan.retiring == (*retiring, emptied)
        moved = [s for s, shard in homes.items() if self.plan.shard_of(s) != shard]
        assert set(moved) == set(self.plan.streams_of(emptied))
        assert len(moved) == min(list(homes.values()).count(i) for i in active)

    @precondition(lambda self: self.plan.active)
    @rule(data=st.data())
    def rotate(self, data: Any) -> None:
        old = data.draw(st.sampled_from(self.plan.active))
        before = self.plan.streams_of(old)
        new = self.plan.rotate(old)
        assert new is not None
        assert self.plan.streams_of(new) == self.plan.streams_of(old) == before
        assert self.plan.successors(old) == (new,)

    @rule(data=st.data())
    def connection_flows(self, data: Any) -> None:
        shards = self.plan.active + self.plan.retiring
        if shards:
            shard = data.draw(st.sampled_from(shards))
            self.flowing[shard] = set(self.plan.streams_of(shard))
            self.spoken |= self.flowing[shard]

    @rule()
    def close_what_may_be_closed(self) -> None:
        for shard in self.plan.retiring:
            ready = set().union(*(self.flowing.get(i, set()) for i in self.plan.successors(shard)))
            if ready >= set(self.plan.streams_of(shard)):
                self.plan.retired(shard)

    @invariant()
    def carries_what_is_wanted(self) -> None:
        limit = self.capacity * self.max_shards
        assert set(self.homes()) == set(self.wanted[:limit])
        assert self.plan.waiting == tuple(self.wanted[limit:])
        assert all(self.plan.shard_of(s) == self.homes().get(s) for s in SYMBOLS)
        assert sum(len(self.plan.streams_of(i)) for i in self.plan.active) == len(self.wanted[:limit])

    @invariant()
    def keeps_to_the_limits(self) -> None:
        assert len(self.plan.active) <= self.max_shards
        ids = self.plan.active + self.plan.retiring
        assert len(set(ids)) == len(ids)
        for shard in ids:
            held_streams = self.plan.streams_of(shard)
            assert 0 < len(held_streams) <= self.capacity
            assert list(held_streams) == [s for s in self.wanted if s in held_streams]

    @invariant()
    def never_uses_an_id_again(self) -> None:
        ids = set(self.plan.active + self.plan.retiring)
        assert not ids & self.dead_ids
        assert all(i > max(self.known_ids, default=0) for i in ids - self.known_ids)
        self.dead_ids |= self.known_ids - ids
        self.known_ids |= ids

    @invariant()
    def successors_carry_everything(self) -> None:
        for shard in self.plan.retiring:
            carried = {s for i in self.plan.successors(shard) for s in self.plan.streams_of(i)}
            assert carried >= set(self.plan.streams_of(shard))

    @invariant()
    def what_once_flowed_never_stops_while_it_is_carried(self) -> None:
        ids = self.plan.active + self.plan.retiring
        self.flowing = {i: self.flowing[i] & set(self.plan.streams_of(i)) for i in ids if i in self.flowing}
        self.spoken &= set(self.homes())
        assert set().union(*self.flowing.values()) == self.spoken


def _symbols(text: str) -> list[str]:
    return [f"S{number}" for number in text.split("S")[1:]]


TestPlan = PlanMachine.TestCase
TestPlan.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
