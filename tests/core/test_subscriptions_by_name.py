"""Subscriptions at venues that answer name by name, by example and against models of their habits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from candleactors.core.subscriptions import Refusal, Request, RequestKind, SubscriptionBook

SUBSCRIBE, UNSUBSCRIBE = RequestKind.SUBSCRIBE, RequestKind.UNSUBSCRIBE
ACK_TIMEOUT_S = 10.0


def book(names: Sequence[str] = (), *, at_most: int = 100) -> SubscriptionBook:
    made = SubscriptionBook(at_most, ACK_TIMEOUT_S)
    made.aim(names)
    return made


def drain(of: SubscriptionBook, now_s: float = 0.0) -> list[Request]:
    requests = []
    while request := of.next_request(now_s):
        requests.append(request)
        assert len(requests) < 1_000, "a storm"
    return requests


def said(requests: list[Request]) -> list[tuple[RequestKind, str]]:
    return [(request.kind, "".join(request.names)) for request in requests]


class TestAnAnswerForEachName:
    """As at OKX."""

    def test_acks_in_any_order_and_a_refusal_by_name_leave_nothing_to_ask(self) -> None:
        subscriptions = book("abcx")
        drain(subscriptions)
        subscriptions.on_acked(1, 1.0, ("c",))
        subscriptions.on_refused(1, 60018, "no such channel", 1.0, names=("x",), voids=False)
        subscriptions.on_acked(1, 1.0, ("a",))
        assert subscriptions.status().joining == 1
        assert drain(subscriptions, 1.0) == []
        subscriptions.on_acked(1, 1.0, ("b",))
        assert subscriptions.settled
        assert set(subscriptions.confirmed) == set("abc")
        assert subscriptions.take_refusals() == [Refusal("x", 60018, "no such channel")]
        assert subscriptions.next_deadline() is None

    def test_without_ids_the_names_say_what_is_meant(self) -> None:
        subscriptions = book("abcx", at_most=2)
        drain(subscriptions)
        subscriptions.on_refused(None, 60018, "no such channel", 1.0, names=("x",), voids=False)
        for name in "cba":
            subscriptions.on_acked(None, 1.0, (name,))
        assert subscriptions.settled
        assert list(subscriptions.refused) == ["x"]

    def test_who_got_no_answer_is_asked_for_alone(self) -> None:
        subscriptions = book("abc")
        drain(subscriptions)
        subscriptions.on_acked(1, 1.0, ("a",))
        subscriptions.on_acked(1, 1.0, ("c",))
        assert subscriptions.on_tick(ACK_TIMEOUT_S) is False
        assert said(drain(subscriptions, ACK_TIMEOUT_S)) == [(SUBSCRIBE, "b")]

    def test_who_never_gets_an_answer_is_given_up(self) -> None:
        subscriptions = book("ab")
        sent = 0
        for round_s in (0.0, 10.0, 20.0, 30.0, 40.0):
            sent += len(drain(subscriptions, round_s))
            subscriptions.on_acked(1, round_s + 1.0, ("a",))
            subscriptions.on_data("a", round_s + 2.0)
            assert subscriptions.on_tick(round_s + 10.0) is False
        assert sent <= 4
        assert subscriptions.settled
        assert [refusal.code for refusal in subscriptions.take_refusals()] == [None]

    def test_every_late_answer_counts_not_only_the_first(self) -> None:
        subscriptions = book("abc")
        drain(subscriptions)
        subscriptions.on_tick(10.0)
        drain(subscriptions, 10.0)
        for name in "abc":
            subscriptions.on_acked(1, 11.0, (name,))
        assert subscriptions.settled

    def test_an_answer_told_twice_changes_nothing(self) -> None:
        subscriptions = book("ab")
        drain(subscriptions)
        for _ in range(2):
            subscriptions.on_acked(None, 1.0, ("a",))
            subscriptions.on_refused(None, 60018, "?", 1.0, names=("b",), voids=False)
        assert subscriptions.confirmed == ("a",)
        assert len(subscriptions.take_refusals()) == 1
        assert drain(subscriptions, 1.0) == []

    def test_a_culprit_nobody_asked_for_refuses_nobody(self) -> None:
        subscriptions = book("ab")
        drain(subscriptions)
        subscriptions.on_refused(1, 60018, "?", 1.0, names=("A",), voids=False)
        assert not subscriptions.refused
        assert drain(subscriptions, 1.0) == []
        subscriptions.on_tick(10.0)
        assert said(drain(subscriptions, 10.0)) == [(SUBSCRIBE, "a"), (SUBSCRIBE, "b")]


class TestAnAnswerForTheWholeRequest:
    """As at Bybit."""

    def test_the_others_are_asked_for_again_together(self) -> None:
        subscriptions = book("abxcd")
        drain(subscriptions)
        subscriptions.on_refused(1, 0, "handler not found", 1.0, names=("x",))
        assert list(subscriptions.refused) == ["x"]
        assert said(drain(subscriptions, 1.0)) == [(SUBSCRIBE, "abcd")]
        subscriptions.on_acked(2, 2.0)
        assert subscriptions.settled

    def test_as_many_requests_as_culprits_and_one(self) -> None:
        names = [f"n{i}" for i in range(50)]
        bad = {"n3", "n17", "n44"}
        subscriptions = book(names)
        sent = 0
        while request := subscriptions.next_request(0.0):
            sent += 1
            if culprits := sorted(bad & set(request.names)):
                subscriptions.on_refused(request.id, 0, "handler not found", 0.0, names=culprits[:1])
            else:
                subscriptions.on_acked(request.id, 0.0)
        assert sent == len(bad) + 1
        assert set(subscriptions.refused) == bad
        assert set(subscriptions.confirmed) == set(names) - bad

    def test_a_refusal_without_id_is_about_the_request_with_the_name(self) -> None:
        subscriptions = book("abcx", at_most=2)
        drain(subscriptions)
        subscriptions.on_refused(None, 0, "handler not found", 1.0, names=("x",))
        assert list(subscriptions.refused) == ["x"]
        assert said(drain(subscriptions, 1.0)) == [(SUBSCRIBE, "c")]
        subscriptions.on_acked(1, 1.0)
        assert set(subscriptions.confirmed) == set("ab"), "the other request was left alone"

    @pytest.mark.parametrize("request_id", [1, None])
    def test_already_subscribed_is_an_ack_and_frees_the_others(self, request_id: int | None) -> None:
        subscriptions = book("abc")
        drain(subscriptions)
        subscriptions.on_acked(None, 1.0, ("b",))
        subscriptions.on_refused(request_id, 0, "already subscribed", 1.0, names=())
        assert subscriptions.confirmed == ("b",)
        assert not subscriptions.refused
        assert said(drain(subscriptions, 1.0)) == [(SUBSCRIBE, "ac")]

    def test_already_subscribed_alone_settles_the_request(self) -> None:
        subscriptions = book("a")
        drain(subscriptions)
        subscriptions.on_acked(None, 1.0, ("a",))
        subscriptions.on_refused(1, 0, "already subscribed", 1.0, names=())
        assert subscriptions.settled
        assert drain(subscriptions, 1.0) == []
        assert not subscriptions.refused

    @pytest.mark.parametrize("names", [(), ("stranger",)])
    @given(count=st.integers(1, 40))
    def test_the_same_is_never_asked_again_at_once(self, names: tuple[str, ...], count: int) -> None:
        """What blames nobody in the request would have the same answer for ever."""
        subscriptions = book([f"n{i}" for i in range(count)])
        for at_s in range(0, 300, 10):
            asked: list[tuple[str, ...]] = []
            subscriptions.on_tick(at_s)
            while request := subscriptions.next_request(at_s):
                assert request.names not in asked
                asked.append(request.names)
                assert len(asked) <= 2 * count, "a storm"
                subscriptions.on_refused(request.id, 0, "no", at_s, names=names)
        assert subscriptions.settled
        codes = {refusal.code for refusal in subscriptions.take_refusals()}
        assert codes == ({0} if names else {None}), "who is called innocent is not parked"


def test_after_an_error_about_nobody_knows_what_requests_go_one_by_one() -> None:
    subscriptions = book("abcd", at_most=1)
    assert len(drain(subscriptions)) == 4
    subscriptions.on_acked(None, 1.0, ("a",))
    subscriptions.on_refused(None, 10300, "symbol: invalid", 1.0)
    assert not subscriptions.take_refusals()
    now_s, refused = ACK_TIMEOUT_S, []
    while not subscriptions.settled:
        subscriptions.on_tick(now_s)
        while subscriptions.has_work:
            [request] = drain(subscriptions, now_s)
            if request.names == ("c",):
                subscriptions.on_refused(None, 10300, "symbol: invalid", now_s)
            else:
                subscriptions.on_acked(None, now_s, request.names)
        refused += [refusal.name for refusal in subscriptions.take_refusals()]
        now_s += ACK_TIMEOUT_S
    assert refused == ["c"]
    assert set(subscriptions.confirmed) == set("abd")


class TestRefusedForTheMoment:
    """Too many, too often, not ready."""

    def test_the_request_is_put_off_unchanged_and_longer_each_time(self) -> None:
        subscriptions = book("abcd")
        now_s, waits = 0.0, []
        for _ in range(3):
            requests = drain(subscriptions, now_s)
            assert said(requests) == [(SUBSCRIBE, "abcd")]
            subscriptions.on_refused(requests[0].id, 429, "too often", now_s, passing=True)
            assert drain(subscriptions, now_s) == []
            due_s = subscriptions.next_deadline()
            assert due_s is not None
            waits.append(due_s - now_s)
            now_s = due_s
            if len(waits) < 3:
                assert subscriptions.on_tick(now_s) is False
        assert waits == [10.0, 20.0, 40.0]
        assert not subscriptions.take_refusals()

    def test_it_succeeds_later(self) -> None:
        subscriptions = book("ab")
        drain(subscriptions)
        subscriptions.on_refused(1, 429, "too often", 1.0, passing=True)
        assert subscriptions.on_tick(11.0) is False
        [request] = drain(subscriptions, 11.0)
        subscriptions.on_acked(request.id, 12.0)
        assert subscriptions.settled
        assert set(subscriptions.confirmed) == set("ab")

    def test_it_ends_no_connection_and_parks_nobody(self) -> None:
        subscriptions = book("abc", at_most=1)
        now_s, sent = 0.0, 0
        while not subscriptions.settled:
            for request in drain(subscriptions, now_s):
                sent += 1
                subscriptions.on_refused(request.id, 10305, "limit", now_s + 0.5, names=request.names, passing=True)
            due_s = subscriptions.next_deadline()
            assert due_s is not None
            now_s = due_s
            assert subscriptions.on_tick(now_s) is False
        assert sent == 9, "three rounds"
        assert now_s > 70.0
        assert {refusal.code for refusal in subscriptions.take_refusals()} == {None}

    def test_what_was_given_up_is_tried_again_after_five_minutes(self) -> None:
        subscriptions = book("a")
        now_s = 0.0
        while not subscriptions.settled:
            for request in drain(subscriptions, now_s):
                subscriptions.on_refused(request.id, 63999, "not now", now_s, passing=True)
            now_s = subscriptions.next_deadline() or 0.0
            subscriptions.on_tick(now_s)
        assert "a" in subscriptions.refused
        assert subscriptions.next_deadline() == now_s + 300.0
        assert subscriptions.on_tick(now_s + 299.0) is False
        assert drain(subscriptions, now_s + 299.0) == []
        assert subscriptions.on_tick(now_s + 300.0) is False
        [request] = drain(subscriptions, now_s + 300.0)
        subscriptions.on_acked(request.id, now_s + 301.0)
        assert subscriptions.confirmed == ("a",)

    def test_requests_refused_together_wait_no_longer_for_it(self) -> None:
        subscriptions = book("abcdef", at_most=1)
        for request in drain(subscriptions):
            subscriptions.on_refused(request.id, 429, "too often", 0.0, passing=True)
        assert subscriptions.on_tick(ACK_TIMEOUT_S) is False
        assert len(drain(subscriptions, ACK_TIMEOUT_S)) == 6

    def test_answers_about_single_names_still_count(self) -> None:
        subscriptions = book("ab")
        drain(subscriptions)
        subscriptions.on_refused(1, 60014, "too often", 0.0, names=("b",), voids=False, passing=True)
        subscriptions.on_acked(1, 1.0, ("a",))
        assert subscriptions.confirmed == ("a",)
        subscriptions.on_tick(10.0)
        assert said(drain(subscriptions, 10.0)) == [(SUBSCRIBE, "b")]


class TestOneNameARequest:
    """As at Bitfinex."""

    def test_acks_by_name_alone(self) -> None:
        subscriptions = book("abc", at_most=1)
        drain(subscriptions)
        for name in "cab":
            subscriptions.on_acked(None, 1.0, (name,))
        assert subscriptions.settled
        assert drain(subscriptions, 1.0) == []

    def test_what_turns_out_subscribed_after_all_is_left(self) -> None:
        """The answer came after the name was no longer wanted: without a list nobody else would notice."""
        subscriptions = book("ab", at_most=1)
        drain(subscriptions)
        subscriptions.on_acked(2, 1.0, ("b",))
        subscriptions.on_tick(10.0)
        subscriptions.aim("b")
        [request] = drain(subscriptions, 10.0)
        subscriptions.on_acked(request.id, 10.0)  # by the session itself, which knows no channel of that name
        subscriptions.on_acked(1, 11.0, ("a",))
        assert said(drain(subscriptions, 11.0)) == [(UNSUBSCRIBE, "a")]


def test_room_for_no_name_is_taken_for_one() -> None:
    subscriptions = book("abc")
    request = subscriptions.next_request(0.0, 0)
    assert request is not None
    assert request.names == ("a",)


Answer = Callable[[SubscriptionBook, float], None]
NAMES = [f"n{i}" for i in range(8)]
BAD = {"n0", "n1"}
MUTE = {"n2"}
"""Never answered, at venues that answer name by name."""
LIVE = "n7"
"""Always wanted, so that there is always somebody who speaks."""


def acked(request_id: int | None, *names: str) -> Answer:
    return lambda of, now_s: of.on_acked(request_id, now_s, names or None)


def refused(
    request_id: int | None, names: tuple[str, ...] | None, *, voids: bool = True, passing: bool = False
) -> Answer:
    return lambda of, now_s: of.on_refused(
        request_id, 7, "refused", now_s, names=names, voids=voids, passing=passing
    )  # fmt: skip


class Style:
    """A venue's habits. `serve` takes a request in order and returns its answers."""

    at_most = 4
    mute: frozenset[str] = frozenset()
    given_up: frozenset[str] = frozenset()

    def __init__(self, says_id: bool) -> None:
        self.says_id = says_id
        self.subscribed: set[str] = set()
        self.busy = 0

    def id_of(self, request: Request) -> int | None:
        return request.id if self.says_id else None

    def serve(self, request: Request, draw: Any = None) -> list[Answer]:
        """Return the answers, with the plainest choices where there is no `draw`."""
        if self.busy:
            self.busy -= 1
            return [refused(request.id, (), passing=True)]
        return self.subscribe(request, draw) if request.kind is SUBSCRIBE else self.unsubscribe(request)

    def subscribe(self, request: Request, draw: Any) -> list[Answer]:
        raise NotImplementedError

    def unsubscribe(self, request: Request) -> list[Answer]:
        raise NotImplementedError


class NameByName(Style):
    """OKX's: one answer for each name, in any order, some never; an error may say whom it means, or the id, or both."""

    mute = frozenset(MUTE)

    def subscribe(self, request: Request, draw: Any) -> list[Answer]:
        answers = []
        for name in draw(st.permutations(request.names)) if draw else request.names:
            if name in BAD:
                if draw is None or draw(st.sampled_from([True, True, False])):
                    answers.append(refused(self.id_of(request), (name,), voids=False))
                else:
                    answers.append(refused(request.id, None))
            elif name not in MUTE:
                self.subscribed.add(name)
                answers.append(acked(self.id_of(request), name))
        return answers

    def unsubscribe(self, request: Request) -> list[Answer]:
        self.subscribed.difference_update(request.names)
        return [acked(self.id_of(request), name) for name in request.names]


class AllOrNothing(Style):
    """Bybit's: one culprit has the whole request refused, and so has a name that is subscribed already."""

    def subscribe(self, request: Request, draw: Any) -> list[Answer]:
        culprits = [name for name in request.names if name in BAD]
        known = [name for name in request.names if name in self.subscribed]
        if culprits:
            if draw is None or draw(st.booleans()):
                return [refused(self.id_of(request), (culprits[0],))]
            return [refused(request.id, None)]
        if known:
            return [acked(None, known[0]), refused(self.id_of(request), ())]
        self.subscribed.update(request.names)
        return [acked(request.id)]

    def unsubscribe(self, request: Request) -> list[Answer]:
        self.subscribed.difference_update(request.names)
        return [acked(request.id)]


class OneByOne(Style):
    """Bitfinex's: one name a request; a duplicate is as good as an ack; who is not carried cannot be left."""

    at_most = 1

    def subscribe(self, request: Request, draw: Any) -> list[Answer]:
        (name,) = request.names
        if name in BAD:
            return [refused(self.id_of(request), (name,))]
        self.subscribed.add(name)
        return [acked(self.id_of(request), name)]

    def unsubscribe(self, request: Request) -> list[Answer]:
        (name,) = request.names
        if name not in self.subscribed:
            return [refused(self.id_of(request), (name,))]
        self.subscribed.discard(name)
        return [acked(self.id_of(request), name)]


class ByNameMachine(RuleBasedStateMachine):
    """A book against one venue. Requests arrive in order; answers are late, out of order, or lost."""

    style: type[Style]

    @initialize(says_id=st.booleans())
    def start(self, says_id: bool) -> None:
        self.says_id = says_id
        self.now_s = 0.0
        self.desired = [LIVE]
        self.requests = 0
        self.connect()

    def connect(self) -> None:
        self.venue = self.style(self.says_id)
        self.book = SubscriptionBook(self.venue.at_most, ACK_TIMEOUT_S)
        self.book.aim(self.desired)
        self.to_venue: list[Request] = []
        self.to_book: list[Answer] = []
        self.orderly = True

    @rule(names=st.lists(st.sampled_from(NAMES[:-1]), unique=True))
    def aim(self, names: list[str]) -> None:
        self.desired = [*names, LIVE]
        self.book.aim(self.desired)

    @rule()
    def send(self) -> None:
        settled = self.book.settled
        request = self.book.next_request(self.now_s)
        if request is None:
            return
        self.requests += 1
        assert not settled
        assert 0 < len(request.names) <= self.venue.at_most
        if request.kind is SUBSCRIBE:
            assert set(request.names) <= set(self.desired) - set(self.book.confirmed) - set(self.book.refused)
        self.to_venue.append(request)

    @precondition(lambda self: self.to_venue)
    @rule(data=st.data(), lost=st.sampled_from([False, False, True]))
    def venue_works(self, data: Any, lost: bool) -> None:
        answers = self.venue.serve(self.to_venue.pop(0), data.draw)
        if lost and answers:
            del answers[data.draw(st.integers(0, len(answers) - 1))]
            self.orderly = False
        self.to_book += answers

    @precondition(lambda self: self.says_id)
    @rule(requests=st.integers(1, 3))
    def venue_is_busy(self, requests: int) -> None:
        self.venue.busy = requests

    @precondition(lambda self: self.to_book)
    @rule(data=st.data())
    def arrives(self, data: Any) -> None:
        at = data.draw(st.integers(0, len(self.to_book) - 1))
        self.orderly = self.orderly and at == 0
        self.to_book.pop(at)(self.book, self.now_s)

    @precondition(lambda self: self.venue.subscribed)
    @rule()
    def venue_pushes(self) -> None:
        self.book.on_data(sorted(self.venue.subscribed), self.now_s)

    @rule(seconds=st.sampled_from([0.5, 3.0, ACK_TIMEOUT_S]))
    def time_passes(self, seconds: float) -> None:
        self.now_s += seconds
        if self.book.on_tick(self.now_s):
            self.connect()

    def teardown(self) -> None:
        """From now on the venue answers everything in order: every name comes to its end, at a bounded price."""
        if not hasattr(self, "book"):
            return
        self.venue.busy = 0
        before = self.requests
        for _ in range(40):
            for _ in range(4 * len(NAMES)):
                self.send()
                while self.to_venue:
                    self.to_book += self.venue.serve(self.to_venue.pop(0))
                while self.to_book:
                    self.to_book.pop(0)(self.book, self.now_s)
            if self.book.settled:
                break
            self.now_s += 1.0
            self.venue_pushes()
            self.now_s = max(self.now_s, self.book.next_deadline() or 0.0)
            assert self.book.on_tick(self.now_s) is False
        assert self.book.settled
        assert self.requests - before <= 6 * len(NAMES), "a storm"
        wanted, confirmed = set(self.desired), list(self.book.confirmed)
        given_up = {name for name, refusal in self.book.refused.items() if refusal.code is None}
        assert len(set(confirmed)) == len(confirmed)
        assert set(confirmed) == wanted - set(self.book.refused)
        assert set(self.book.refused) - given_up == wanted & BAD - given_up
        assert wanted & self.venue.mute <= given_up
        assert set(confirmed) <= self.venue.subscribed
        if self.orderly and self.says_id:
            assert set(confirmed) == self.venue.subscribed - given_up


class NameByNameMachine(ByNameMachine):
    style = NameByName


class AllOrNothingMachine(ByNameMachine):
    style = AllOrNothing


class OneByOneMachine(ByNameMachine):
    style = OneByOne


TestNameByName = NameByNameMachine.TestCase
TestAllOrNothing = AllOrNothingMachine.TestCase
TestOneByOne = OneByOneMachine.TestCase
for case in (TestNameByName, TestAllOrNothing, TestOneByOne):
    case.settings = settings(max_examples=100, stateful_step_count=50, deadline=None)
