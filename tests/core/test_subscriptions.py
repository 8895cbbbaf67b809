"""Subscriptions: desired names against acknowledged ones, by example and against a venue that misbehaves."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from math import ceil, log2
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from candleactors.core.subscriptions import Refusal, Request, RequestKind, SubscriptionBook

SUBSCRIBE, UNSUBSCRIBE, LIST = RequestKind.SUBSCRIBE, RequestKind.UNSUBSCRIBE, RequestKind.LIST
ACK_TIMEOUT_S = 10.0


def book(names: Sequence[str] = (), *, at_most: int = 100, confirmed: bool = False) -> SubscriptionBook:
    made = SubscriptionBook(at_most, ACK_TIMEOUT_S)
    made.aim(names)
    if confirmed:
        for request in drain(made):
            made.on_acked(request.id, 0.0)
    return made


def drain(of: SubscriptionBook, now_s: float = 0.0) -> list[Request]:
    requests = []
    while request := of.next_request(now_s):
        requests.append(request)
    return requests


def said(requests: list[Request]) -> list[tuple[RequestKind, str]]:
    return [(request.kind, "".join(request.names)) for request in requests]


def test_subscribes_in_batches_highest_priority_first() -> None:
    subscriptions = book("cabed", at_most=2)
    requests = drain(subscriptions)
    assert [request.id for request in requests] == [1, 2, 3]
    assert said(requests) == [(SUBSCRIBE, "ca"), (SUBSCRIBE, "be"), (SUBSCRIBE, "d")]
    for request in requests:
        subscriptions.on_acked(request.id, 1.0)
    assert subscriptions.settled
    assert subscriptions.confirmed == tuple("cabed")
    assert drain(subscriptions) == []


def test_a_new_aim_reorders_what_is_still_to_be_sent() -> None:
    subscriptions = book("abcd", at_most=1)
    assert said([request for request in [subscriptions.next_request(0.0)] if request]) == [(SUBSCRIBE, "a")]
    subscriptions.aim("dcba")
    assert said(drain(subscriptions)) == [(SUBSCRIBE, "d"), (SUBSCRIBE, "c"), (SUBSCRIBE, "b")]


def test_only_differences_are_sent_and_room_is_made_first() -> None:
    subscriptions = book("abc", confirmed=True)
    subscriptions.aim("bcd")
    assert said(drain(subscriptions)) == [(UNSUBSCRIBE, "a"), (SUBSCRIBE, "d")]


def test_a_name_wanted_again_in_time_is_not_unsubscribed() -> None:
    subscriptions = book("ab", confirmed=True)
    subscriptions.aim("a")
    subscriptions.aim("ab")
    assert drain(subscriptions) == []
    assert subscriptions.settled


def test_a_change_of_mind_waits_for_the_answer() -> None:
    subscriptions = book("a")
    drain(subscriptions)
    subscriptions.aim("")
    assert drain(subscriptions) == []
    subscriptions.on_acked(1, 0.0)
    assert said(drain(subscriptions)) == [(UNSUBSCRIBE, "a")]
    subscriptions.aim("a")
    assert drain(subscriptions) == []
    subscriptions.on_data("a", 0.1)
    assert subscriptions.flowing == 0, "data of a name being left is fine, and proves nothing"
    subscriptions.on_acked(2, 0.2)
    assert said(drain(subscriptions)) == [(SUBSCRIBE, "a")]
    assert subscriptions.last_data_s("a") is None


def test_data_confirms_where_the_ack_got_lost() -> None:
    subscriptions = book("ab")
    drain(subscriptions)
    subscriptions.on_data(["a", "b"], 1.0)
    assert subscriptions.settled
    assert subscriptions.flowing_share == 1.0
    assert subscriptions.on_tick(ACK_TIMEOUT_S) is False
    assert drain(subscriptions, ACK_TIMEOUT_S) == []
    assert subscriptions.status().timeouts == 0


def test_a_lost_ack_is_asked_again_on_time() -> None:
    subscriptions = book("abc")
    drain(subscriptions, 5.0)
    assert subscriptions.next_deadline() == 15.0
    subscriptions.on_data("c", 6.0)
    subscriptions.on_tick(14.9)
    assert drain(subscriptions, 14.9) == []
    subscriptions.on_tick(15.0)
    assert subscriptions.next_deadline() is None
    assert said(drain(subscriptions, 15.0)) == [(SUBSCRIBE, "a"), (SUBSCRIBE, "b")], "in halves, without c"


@given(st.floats(0, 100), st.floats(0.01, 10))
def test_the_deadline_itself_is_late_enough(sent_s: float, timeout_s: float) -> None:
    subscriptions = SubscriptionBook(100, timeout_s)
    subscriptions.aim("a")
    drain(subscriptions, sent_s)
    deadline_s = subscriptions.next_deadline()
    assert deadline_s is not None
    subscriptions.on_tick(deadline_s)
    assert subscriptions.next_deadline() is None


def test_a_late_ack_still_counts() -> None:
    subscriptions = book("ab")
    drain(subscriptions)
    subscriptions.on_tick(10.0)
    drain(subscriptions, 10.0)
    subscriptions.on_acked(1, 11.0)
    assert subscriptions.settled
    subscriptions.aim("a")
    assert said(drain(subscriptions, 12.0)) == [(UNSUBSCRIBE, "b")]
    subscriptions.on_acked(3, 12.0)
    subscriptions.aim("ab")
    assert drain(subscriptions, 12.0) == [], "the ack of the older request is none of the newer, contrary one"
    subscriptions.on_acked(4, 13.0)
    assert said(drain(subscriptions, 13.0)) == [(SUBSCRIBE, "b")]


def test_an_ack_from_before_a_change_of_mind_proves_nothing() -> None:
    subscriptions = book("a")
    drain(subscriptions)
    for request_id, names in ((2, ""), (3, "a"), (4, "")):
        at_s = 10.0 * request_id
        subscriptions.on_tick(at_s)
        subscriptions.aim(names)
        assert [request.id for request in drain(subscriptions, at_s)] == [request_id]
        subscriptions.on_acked(request_id - 2, at_s)
        assert not subscriptions.settled
    subscriptions.on_acked(4, 50.0)
    assert subscriptions.confirmed == ()


def test_only_the_last_late_answers_are_remembered() -> None:
    names = [f"n{i}" for i in range(1, 71)]
    subscriptions = book(names, at_most=1)
    drain(subscriptions)
    subscriptions.on_tick(10.0)
    subscriptions.on_acked(1, 11.0)
    subscriptions.on_acked(70, 11.0)
    assert subscriptions.confirmed == ("n70",)


def test_an_unanswered_name_that_is_no_longer_wanted_is_unsubscribed() -> None:
    subscriptions = book("a")
    drain(subscriptions)
    subscriptions.on_tick(10.0)
    subscriptions.aim("")
    assert said(drain(subscriptions, 10.0)) == [(UNSUBSCRIBE, "a")], "the venue may well have subscribed it"


def test_three_rounds_without_any_answer_end_the_connection() -> None:
    subscriptions = book("abcdef", at_most=2)
    for round_s in (0.0, 10.0):
        drain(subscriptions, round_s)
        assert subscriptions.on_tick(round_s + 10.0) is False
    drain(subscriptions, 20.0)
    assert subscriptions.on_tick(30.0) is True
    assert not subscriptions.refused


def test_a_single_name_on_a_dead_connection_is_not_to_blame() -> None:
    subscriptions = book("a")
    for round_s in (0.0, 10.0, 20.0):
        drain(subscriptions, round_s)
        assert subscriptions.on_tick(round_s + 10.0) is (round_s == 20.0)
    assert not subscriptions.refused


def test_data_that_confirms_is_an_answer() -> None:
    subscriptions = book("abcdefghi")
    for round_s in (0.0, 10.0, 20.0):
        drain(subscriptions, round_s)
        if round_s == 0.0:
            subscriptions.on_data("a", 1.0)
        assert subscriptions.on_tick(round_s + 10.0) is False
    drain(subscriptions, 30.0)
    subscriptions.on_data("b", 31.0)
    assert subscriptions.on_tick(40.0) is False


def test_any_answer_starts_the_count_anew() -> None:
    subscriptions = book("ab", at_most=1)
    for round_s in (0.0, 10.0, 20.0, 30.0):
        requests = drain(subscriptions, round_s)
        if round_s == 20.0:
            subscriptions.on_acked(requests[0].id, 21.0)
        assert subscriptions.on_tick(round_s + 10.0) is False


def test_one_name_that_silences_the_venue_does_not_cost_the_others_their_connection() -> None:
    subscriptions = book("ab", confirmed=True)
    subscriptions.aim("abx")
    for round_s in (0.0, 10.0, 20.0):
        assert said(drain(subscriptions, round_s)) == [(SUBSCRIBE, "x")]
        subscriptions.on_data("ab", round_s + 5.0)
        assert subscriptions.on_tick(round_s + 10.0) is False
    assert subscriptions.take_refusals() == [Refusal("x", None, "no answer to 3 requests")]
    assert subscriptions.settled
    assert subscriptions.confirmed == ("a", "b")
    subscriptions.aim("abxy")
    assert said(drain(subscriptions, 40.0)) == [(SUBSCRIBE, "y")]
    assert subscriptions.on_tick(50.0) is False, "the time-outs of x do not count against the connection"


def test_patience_starts_anew_with_every_change_of_mind() -> None:
    subscriptions = book("ab", confirmed=True)
    at_s = 0.0
    for names, kind in (("abx", SUBSCRIBE), ("ab", UNSUBSCRIBE), ("abx", SUBSCRIBE)):
        subscriptions.aim(names)
        for _ in range(2):
            assert said(drain(subscriptions, at_s)) == [(kind, "x")]
            subscriptions.resubscribe("a")
            for request in drain(subscriptions, at_s) + drain(subscriptions, at_s):
                subscriptions.on_acked(request.id, at_s + 1.0)
            for request in drain(subscriptions, at_s):
                subscriptions.on_acked(request.id, at_s + 1.0)
            at_s += 10.0
            assert subscriptions.on_tick(at_s) is False
    assert not subscriptions.refused


def test_an_unsubscription_nobody_answers_is_given_up_too() -> None:
    subscriptions = book("ab", confirmed=True)
    subscriptions.aim("a")
    for round_s in (0.0, 10.0, 20.0):
        assert said(drain(subscriptions, round_s)) == [(UNSUBSCRIBE, "b")]
        subscriptions.on_data("ab", round_s + 5.0)
        assert subscriptions.on_tick(round_s + 10.0) is False
    assert subscriptions.settled


@given(count=st.integers(1, 500), culprit=st.integers(0, 499))
def test_bisection_finds_the_culprit_and_serves_the_others(count: int, culprit: int) -> None:
    names = [f"n{i}" for i in range(count)]
    bad = names[culprit % count]
    subscriptions = book(names, at_most=500)
    sent = 0
    while request := subscriptions.next_request(0.0):
        sent += 1
        if bad in request.names:
            subscriptions.on_refused(request.id, 2, "invalid stream", 0.0)
        else:
            subscriptions.on_acked(request.id, 0.0)
    assert sent <= 1 + 2 * ceil(log2(count))
    assert subscriptions.take_refusals() == [Refusal(bad, 2, "invalid stream")]
    assert subscriptions.take_refusals() == []
    assert set(subscriptions.confirmed) == {*names} - {bad}
    assert subscriptions.settled


def test_a_refused_name_is_tried_again_only_once_it_was_left_out() -> None:
    subscriptions = book("x")
    drain(subscriptions)
    subscriptions.on_refused(1, 2, "invalid stream", 0.0)
    subscriptions.aim("xy")
    assert said(drain(subscriptions)) == [(SUBSCRIBE, "y")]
    assert list(subscriptions.refused) == ["x"]
    subscriptions.aim("y")
    assert not subscriptions.refused
    subscriptions.aim("xy")
    assert said(drain(subscriptions)) == [(SUBSCRIBE, "x")]


def test_an_error_without_id_belongs_to_the_only_request_in_flight() -> None:
    subscriptions = book("ab", at_most=1)
    drain(subscriptions)
    subscriptions.on_refused(None, 2, "which one?", 0.0)
    assert not subscriptions.refused
    subscriptions.on_acked(1, 0.0)
    subscriptions.on_refused(None, 2, "this one", 0.0)
    assert list(subscriptions.refused) == ["b"]


def test_a_refused_unsubscription_leaves_the_name_behind() -> None:
    subscriptions = book("ab", confirmed=True)
    subscriptions.aim("")
    drain(subscriptions)
    subscriptions.on_refused(2, 2, "not subscribed", 0.0)
    for request in drain(subscriptions):
        subscriptions.on_refused(request.id, 2, "not subscribed", 0.0)
    assert subscriptions.settled
    assert not subscriptions.refused


def test_answers_to_nothing_are_ignored() -> None:
    subscriptions = book("a")
    drain(subscriptions)
    subscriptions.on_acked(77, 0.0)
    subscriptions.on_refused(77, 1, "?", 0.0)
    subscriptions.on_listed(77, ["b"], 0.0)
    subscriptions.on_listed(1, ["b"], 0.0)
    assert said(drain(subscriptions)) == []


def test_an_acked_name_that_never_speaks_is_silent_after_its_first_data_deadline() -> None:
    subscriptions = book("ab")
    drain(subscriptions)
    assert subscriptions.silent(100.0, 120.0, 60.0) == {}, "without an ack there is nothing to expect"
    subscriptions.on_acked(1, 5.0)
    subscriptions.on_data("b", 6.0)
    assert subscriptions.silent(64.9, 120.0, 60.0) == {}
    assert subscriptions.flowing_share == 0.5
    assert subscriptions.silent(65.0, 120.0, 60.0) == {"a": 5.0}
    subscriptions.on_data("a", 66.0)
    assert subscriptions.silent(125.9, 120.0, 60.0) == {}
    assert (subscriptions.flowing, subscriptions.last_data_s("a")) == (2, 66.0)


def test_a_name_that_stops_speaking_is_silent_once_stale() -> None:
    subscriptions = book("ab", confirmed=True)
    subscriptions.on_data("ab", 10.0)
    subscriptions.on_data("b", 20.0)
    assert subscriptions.silent(129.9, 120.0, 60.0) == {}
    assert subscriptions.silent(130.0, 120.0, 60.0) == {"a": 10.0}


def test_what_is_known_of_a_name_goes_with_it() -> None:
    subscriptions = book("ab", confirmed=True)
    subscriptions.on_data("ab", 1.0)
    subscriptions.aim("a")
    assert subscriptions.last_data_s("b") == 1.0, "it is still served"
    drain(subscriptions)
    subscriptions.on_acked(2, 2.0)
    subscriptions.aim("")
    assert (subscriptions.last_data_s("a"), subscriptions.last_data_s("b")) == (1.0, None)


def test_resubscribing_leaves_and_joins_again() -> None:
    subscriptions = book("abc", confirmed=True)
    subscriptions.on_data("abc", 1.0)
    subscriptions.resubscribe(["b", "nobody"])
    assert said(drain(subscriptions, 2.0)) == [(UNSUBSCRIBE, "b")]
    subscriptions.on_acked(2, 3.0)
    assert said(drain(subscriptions, 3.0)) == [(SUBSCRIBE, "b")]
    subscriptions.on_acked(3, 4.0)
    assert subscriptions.settled
    assert subscriptions.flowing == 2, "b has yet to speak again"
    assert subscriptions.last_data_s("b") is None


def test_only_what_is_confirmed_can_be_resubscribed() -> None:
    subscriptions = book("a")
    drain(subscriptions)
    subscriptions.resubscribe("a")
    subscriptions.on_acked(1, 1.0)
    assert drain(subscriptions, 1.0) == []


def test_an_audit_corrects_both_ways_and_counts() -> None:
    subscriptions = book("abc", confirmed=True)
    subscriptions.audit()
    assert said(drain(subscriptions)) == [(LIST, "")]
    subscriptions.on_listed(2, ["a", "c", "z"], 1.0)
    assert said(drain(subscriptions)) == [(UNSUBSCRIBE, "z"), (SUBSCRIBE, "b")]
    status = subscriptions.status()
    assert (status.audits, status.audit_missing, status.audit_unwanted) == (1, 1, 1)


def test_an_audit_waits_until_everything_is_settled_and_is_dropped_when_overtaken() -> None:
    subscriptions = book("a")
    subscriptions.audit()
    assert said(drain(subscriptions)) == [(SUBSCRIBE, "a")]
    subscriptions.on_acked(1, 0.0)
    assert said(drain(subscriptions)) == [(LIST, "")]
    subscriptions.aim("ab")
    drain(subscriptions)
    subscriptions.on_listed(2, [], 1.0)
    assert drain(subscriptions) == []
    assert subscriptions.status().audits == 0


def test_an_audit_rehabilitates_what_the_venue_serves_after_all() -> None:
    subscriptions = book("ab", at_most=1)
    first, second = drain(subscriptions)
    subscriptions.on_refused(first.id, 2, "busy", 0.0)
    subscriptions.on_acked(second.id, 0.0)
    subscriptions.on_data("b", 0.5)
    assert subscriptions.flowing_share == 1.0, "of what the venue serves"
    subscriptions.audit()
    drain(subscriptions)
    subscriptions.on_listed(3, ["a", "b"], 1.0)
    assert not subscriptions.refused
    assert set(subscriptions.confirmed) == {"a", "b"}
    assert subscriptions.flowing_share == 0.5, "a has yet to speak"


def test_a_resubscription_overtaken_by_an_audit_happens_once() -> None:
    subscriptions = book("ab", confirmed=True)
    subscriptions.audit()
    drain(subscriptions)
    subscriptions.resubscribe("ab")
    subscriptions.on_listed(2, ["b"], 1.0)
    assert said(drain(subscriptions, 1.0)) == [(UNSUBSCRIBE, "b"), (SUBSCRIBE, "a")]
    subscriptions.on_acked(4, 1.0)
    assert subscriptions.confirmed == ("a",)
    assert drain(subscriptions, 1.0) == []


def test_numbers_that_make_no_sense_are_refused() -> None:
    for at_most, timeout_s in ((0, 1.0), (1, 0.0)):
        with pytest.raises(ValueError, match="at least one name"):
            SubscriptionBook(at_most, timeout_s)


NAMES = [f"n{i}" for i in range(8)]
BAD = {"n0"}
"""Refused by the model venue."""
GHOSTS = {"n1"}
"""Acknowledged by the model venue, and never heard of."""


class BookMachine(RuleBasedStateMachine):
    """A book and a venue with an ordered pipe each way; the venue loses, delays and refuses."""

    @initialize(at_most=st.integers(1, 5))
    def start(self, at_most: int) -> None:
        self.at_most = at_most
        self.now_s = 0.0
        self.desired: list[str] = []
        self.connect()

    def connect(self) -> None:
        self.book = SubscriptionBook(self.at_most, ACK_TIMEOUT_S)
        self.book.aim(self.desired)
        self.to_venue: deque[Request] = deque()
        self.to_book: deque[Any] = deque()
        self.subscribed: set[str] = set()
        self.faithful = True
        self.answered_s = self.now_s
        self.last_id = 0

    @rule(names=st.lists(st.sampled_from(NAMES), unique=True))
    def aim(self, names: list[str]) -> None:
        self.desired = names
        self.book.aim(names)

    @rule()
    def send(self) -> None:
        settled, has_work = self.book.settled, self.book.has_work
        request = self.book.next_request(self.now_s)
        assert has_work == (request is not None)
        if request is None:
            return
        assert request.id == self.last_id + 1
        self.last_id = request.id
        assert len(set(request.names)) == len(request.names) <= self.at_most
        assert (request.kind is LIST) == (not request.names)
        if request.kind is not LIST:
            assert not settled, "a request although nothing had changed"
        if request.kind is SUBSCRIBE:
            assert not set(request.names) & (set(self.book.confirmed) | set(self.book.refused))
            assert set(request.names) <= set(self.desired)
        if self.faithful:
            assert not any(set(request.names) & set(other.names) for other in self.to_venue)
        self.to_venue.append(request)

    @precondition(lambda self: self.to_venue)
    @rule(fate=st.sampled_from(["answer", "answer", "answer", "lose the answer", "lose the request"]))
    def venue_works(self, fate: str) -> None:
        request = self.to_venue.popleft()
        if fate == "lose the request":
            self.faithful = False
            return
        if request.kind is LIST:
            answer: Any = ("listed", request.id, tuple(sorted(self.subscribed)))
        elif request.kind is SUBSCRIBE and BAD & set(request.names):
            answer = ("refused", request.id)
        else:
            answer = ("acked", request.id)
            change = self.subscribed.update if request.kind is SUBSCRIBE else self.subscribed.difference_update
            change(request.names)
        if fate == "lose the answer":
            self.faithful = False
        else:
            self.to_book.append(answer)

    @precondition(lambda self: self.subscribed - GHOSTS)
    @rule(data=st.data())
    def venue_pushes(self, data: Any) -> None:
        speaking = sorted(self.subscribed - GHOSTS)
        names = data.draw(st.lists(st.sampled_from(speaking), min_size=1, unique=True))
        self.to_book.append(("data", tuple(names)))

    @precondition(lambda self: self.to_book)
    @rule(count=st.integers(1, 4))
    def arrives(self, count: int) -> None:
        for _ in range(min(count, len(self.to_book))):
            kind, *rest = self.to_book.popleft()
            if kind == "data":
                self.book.on_data(rest[0], self.now_s)
                assert all(self.book.last_data_s(name) == self.now_s for name in rest[0])
                continue
            self.answered_s = self.now_s
            if kind == "acked":
                self.book.on_acked(rest[0], self.now_s)
            elif kind == "refused":
                self.book.on_refused(rest[0], 2, "invalid stream", self.now_s)
            else:
                self.book.on_listed(rest[0], rest[1], self.now_s)

    @rule(seconds=st.sampled_from([0.5, 3.0, ACK_TIMEOUT_S]))
    def time_passes(self, seconds: float) -> None:
        self.now_s += seconds
        self.faithful = False  # what was merely slow is asked again, and two answers race
        self.tick()

    def tick(self) -> None:
        if self.book.on_tick(self.now_s):
            assert self.now_s - self.answered_s >= 2 * ACK_TIMEOUT_S
            self.connect()
            return
        deadline_s = self.book.next_deadline()
        assert deadline_s is None or deadline_s > self.now_s

    @rule()
    def audit(self) -> None:
        self.book.audit()

    @rule(names=st.lists(st.sampled_from(NAMES), unique=True))
    def resubscribe(self, names: list[str]) -> None:
        self.book.resubscribe(names)

    @invariant()
    def agrees_with_a_faithful_venue(self) -> None:
        if not hasattr(self, "book"):
            return
        assert set(self.book.refused) <= set(self.desired)
        if self.book.settled:
            assert set(self.book.confirmed) == set(self.desired) - set(self.book.refused)
            if self.faithful and not self.to_venue:
                assert self.subscribed == set(self.book.confirmed)
                assert set(self.book.refused) <= BAD
        assert self.book.flowing <= len(self.book.confirmed)

    def teardown(self) -> None:
        """The venue behaves from now on: the book settles, says no more, and an audit leaves no difference."""
        if not hasattr(self, "book"):
            return
        self.settle()
        self.book.audit()
        self.settle()
        given_up = {name for name, refusal in self.book.refused.items() if refusal.code is None}
        assert set(self.book.refused) == (BAD & set(self.desired)) | given_up
        assert self.subscribed == set(self.book.confirmed) == set(self.desired) - set(self.book.refused)
        self.to_book.append(("data", tuple(sorted(self.subscribed - GHOSTS))))
        self.arrives(4)
        assert self.book.flowing == len(self.subscribed - GHOSTS)
        assert set(self.book.silent(self.now_s + 60.0, 120.0, 60.0)) == self.subscribed & GHOSTS
        assert set(self.book.silent(self.now_s + 120.0, 120.0, 60.0)) == self.subscribed

    def settle(self) -> None:
        for _ in range(60):
            sent = self.last_id
            for _ in range(2 * len(NAMES)):
                self.send()
            if self.book.settled and self.last_id == sent and self.book.next_deadline() is None:
                return
            while self.to_venue:
                self.venue_works("answer")
            while self.to_book:
                self.arrives(4)
            self.now_s += ACK_TIMEOUT_S
            self.tick()
        raise AssertionError("the book does not settle although the venue behaves")


TestBook = BookMachine.TestCase
TestBook.settings = settings(max_examples=300, stateful_step_count=60, deadline=None)
