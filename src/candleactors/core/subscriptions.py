"""Subscriptions of one connection: desired wire names reconciled to what the venue acknowledged.

A `SubscriptionBook` lives exactly as long as its connection, so no answer of an earlier connection can reach it. Each
name is in one of four states::

    absent ── SUBSCRIBE ──> joining ── ack or first data ──> confirmed
       ^                                                         │
       └──────────── ack ── leaving <── UNSUBSCRIBE ─────────────┘

A name changes its mind only between two answers: while a request about it is in flight, it waits. An unanswered
request leaves its names `joining` or `leaving` and asks again; a name that meanwhile is no longer wanted (or is wanted
again) is asked about in the other direction, because nobody knows what the venue made of the first request.

An ack is not data: venues acknowledge symbols they do not have. `silent` names the confirmed ones that do not speak.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from attrs import define, frozen

_PATIENCE: Final = 3
"""Time-outs in a row before a connection, or a single name, is given up."""
_AGAIN_S: Final = 300.0
"""After so long a name that was given up without an answer is tried again on the same connection."""
_REMEMBERED: Final = 64
"""Timed-out requests whose late answers are still understood."""


class RequestKind(StrEnum):
    SUBSCRIBE = "subscribe"
    UNSUBSCRIBE = "unsubscribe"
    LIST = "list"


@frozen
class Request:
    """A control message to send. Ids count from 1 on each connection; `names` is empty for a LIST."""

    id: int
    kind: RequestKind
    names: tuple[str, ...]


@frozen
class Refusal:
    """A name the venue will not serve. `code` is ``None`` where it never answered at all."""

    name: str
    code: int | None
    message: str


@frozen
class SubscriptionStatus:
    """A book at one moment. All values are counts; the second half counts from the start of the connection."""

    desired: int
    confirmed: int
    flowing: int
    joining: int
    leaving: int
    refused: int
    requests: int
    timeouts: int
    audits: int
    audit_missing: int
    """Names confirmed here that the venue's list lacked; they were subscribed again."""
    audit_unwanted: int
    """Names on the venue's list that nobody wanted; they were unsubscribed."""


@define
class _InFlight:
    request: Request
    sent_s: float
    due_s: float
    strikes: int
    patience: int
    put_off: bool = False


class SubscriptionBook:
    """Says what to send next so that the venue's subscriptions become the desired ones, and learns from the answers.

    Requests carry at most `max_names_per_request` names and are asked again after `ack_timeout_s`. All instants are
    seconds on one monotonic clock. The caller sends every request it takes, in order; pacing is the caller's.
    """

    def __init__(self, max_names_per_request: int, ack_timeout_s: float) -> None:
        if max_names_per_request < 1 or ack_timeout_s <= 0:
            raise ValueError("a request carries at least one name and is given some time")
        self._max_names = max_names_per_request
        self._ack_timeout_s = ack_timeout_s
        self._desired: dict[str, None] = {}
        # The state of each name; the value is the id of the first request of the present run of the same kind, so
        # that a late answer is understood exactly if nothing contrary was asked since.
        self._joining: dict[str, int] = {}
        self._confirmed: dict[str, int] = {}
        self._leaving: dict[str, int] = {}
        # What is still to be sent. Names with the same number share requests; 0 is everybody, others were split off
        # a batch that failed.
        self._to_join: dict[str, int] = {}
        self._to_leave: dict[str, int] = {}
        self._last_group = 0
        self._renewing: dict[str, None] = {}
        self._asked: dict[str, int] = {}  # joining and leaving names to the id of the request in flight about them
        self._requests: dict[int, _InFlight] = {}
        self._late: dict[int, Request] = {}
        self._last_id = 0
        self._audit_wanted = False
        self._refused: dict[str, Refusal] = {}
        self._one_by_one = False  # since the venue refused something without saying what
        self._again_s: dict[str, float] = {}  # names given up without an answer, to when they are tried again
        self._news: list[Refusal] = []
        # Time-outs of requests about this name alone, and requests put off, in the present run.
        self._tries: dict[str, int] = {}
        self._strikes = 0
        self._put_offs = 0  # rounds of requests in a row that were refused for the moment
        self._sign_s = float("-inf")
        self._last_data_s: dict[str, float] = {}
        self._unheard: dict[str, float] = {}  # names without data yet to the start of their first-data period
        self._timeouts = 0
        self._audits = 0
        self._audit_missing = 0
        self._audit_unwanted = 0

    # What is wanted

    def aim(self, names: Iterable[str]) -> None:
        """Make `names`, highest priority first, the desired ones.

        A refused name is tried again once it has been left out of an aim and comes back.
        """
        before = self._desired
        self._desired = dict.fromkeys(names)
        for name in before:
            if name not in self._desired:
                self._refused.pop(name, None)
                self._consider(name)
        for name in self._desired:
            if name not in before:
                self._consider(name)
        self._to_join = {name: self._to_join[name] for name in self._desired if name in self._to_join}
        for name in [name for name in self._last_data_s if name not in self._desired and name not in self._confirmed]:
            del self._last_data_s[name]

    def resubscribe(self, names: Iterable[str]) -> None:
        """Unsubscribe and subscribe again the confirmed ones of `names`: they are silent on a live connection."""
        for name in names:
            if name in self._confirmed and name in self._desired:
                self._renewing[name] = None
                self._consider(name)

    def audit(self) -> None:
        """Ask for the venue's list as soon as everything is settled; for venues that have one."""
        self._audit_wanted = True

    # What to send

    def next_request(self, now_s: float, most: int | None = None) -> Request | None:
        """Return the next request, to be sent now, or ``None`` where nothing is to be sent.

        It carries at most `most` names, but at least one. Names to leave go first, so that a connection at the venue's
        ceiling has room for the new ones.
        """
        if self._one_by_one and self._requests:
            return None
        most = self._max_names if most is None else max(1, min(self._max_names, most))
        if self._to_leave:
            names = _first_group(self._to_leave, most)
            request = self._issue(RequestKind.UNSUBSCRIBE, names, now_s)
            for name in names:
                del self._to_leave[name]
                if name not in self._leaving:
                    for forgotten in (self._confirmed, self._joining, self._renewing, self._unheard, self._tries):
                        forgotten.pop(name, None)
                    self._leaving[name] = request.id
                self._asked[name] = request.id
            return request
        if self._to_join:
            names = _first_group(self._to_join, most)
            request = self._issue(RequestKind.SUBSCRIBE, names, now_s)
            for name in names:
                del self._to_join[name]
                if name not in self._joining:
                    for forgotten in (self._leaving, self._last_data_s, self._tries):
                        forgotten.pop(name, None)
                    self._joining[name] = request.id
                self._unheard[name] = now_s
                self._asked[name] = request.id
            return request
        if self._audit_wanted and self.settled:
            self._audit_wanted = False
            return self._issue(RequestKind.LIST, (), now_s)
        return None

    @property
    def has_work(self) -> bool:
        """Whether `next_request` has something to send."""
        if self._one_by_one and self._requests:
            return False
        return bool(self._to_leave or self._to_join or (self._audit_wanted and self.settled))

    def next_deadline(self) -> float | None:
        """Return when `on_tick` next has something to do, or ``None``."""
        return min((*(flight.due_s for flight in self._requests.values()), *self._again_s.values()), default=None)

    # What happened

    def on_acked(self, request_id: int | None, now_s: float, names: Sequence[str] | None = None) -> None:
        """Take in that the venue accepted a request, or only `names` of it. What this book did not issue is ignored.

        Where the venue does not say which request it means (``None``), it is the one in flight that has the names.
        """
        request = self._meant(request_id, names)
        if request is None:
            return
        request_id = request.id
        self._put_offs = 0
        if names is None:
            self._answered(request_id, now_s)
            names = request.names
        else:
            self._answered_for(request, names, now_s)
            self._find_unwanted(request, names)
        for name in [name for name in names if name in request.names]:
            if request.kind is RequestKind.SUBSCRIBE and self._joining.get(name, request_id + 1) <= request_id:
                self._confirm(name)
                if name in self._unheard:
                    self._unheard[name] = now_s
            elif request.kind is RequestKind.UNSUBSCRIBE and self._leaving.get(name, request_id + 1) <= request_id:
                self._left(name)

    def on_refused(
        self,
        request_id: int | None,
        code: int,
        message: str,
        now_s: float,
        *,
        names: Sequence[str] | None = None,
        voids: bool = True,
        passing: bool = False,
    ) -> None:
        """Take in that the venue refused a request; ``None`` where it did not say which.

        Where it says whose fault it was, `names` are `refused`; the others are asked for again if that `voids` the
        request, else their answers are still awaited. Where it does not, or names only strangers, a batch is asked
        again in halves until the culprit stands alone. An error without id is about the request in flight that has the
        names, or about the only one there is; where nobody can say, one request is sent at a time from then on. One
        that is `passing` puts the request off: it is asked again unchanged, after a wait that doubles, and given up
        after the third time.
        """
        request = self._meant(request_id, names)
        if request is None and request_id is None and not names and self._requests:
            self._one_by_one = True  # so that the next time it can only be about one
        if request is None or not request.names:
            return
        request_id = request.id
        self._strikes, self._sign_s = 0, now_s
        waiting = [name for name in request.names if self._asked.get(name) == request_id]
        if names is not None and voids and len(waiting) == len(request.names) and not set(names) & set(waiting):
            # Asking for the same again at once would have the same answer, for ever.
            passing = passing or (not names and len(waiting) == 1)
            names = None
        if passing:
            self._put_off(request, now_s)
            return
        if names is None and len(request.names) == 1:
            names = request.names
        if names is not None and not voids:
            self._answered_for(request, names, now_s)
        else:
            self._answered(request_id, now_s)
        if names is None:
            self._split(request)
            return
        for name in [name for name in names if name in request.names]:
            self._on_name_refused(request, name, code, message)
        if voids:
            self._ask_again([name for name in request.names if self._asked.get(name) == request_id])

    def _on_name_refused(self, request: Request, name: str, code: int, message: str) -> None:
        request_id = request.id
        if request.kind is RequestKind.UNSUBSCRIBE and self._leaving.get(name, request_id + 1) <= request_id:
            # The venue does not carry the name, or cannot be made to stop: an audit would show it.
            self._left(name)
        elif request.kind is RequestKind.SUBSCRIBE and self._joining.get(name, request_id + 1) <= request_id:
            self._refuse(Refusal(name, code, message))

    def on_listed(self, request_id: int, names: Iterable[str], now_s: float) -> None:
        """Take in the venue's own list of the connection's subscriptions and correct what differs.

        A list that another request overtook proves nothing and is dropped.
        """
        request = self._answered(request_id, now_s)
        if request is None or request.kind is not RequestKind.LIST or request_id != self._last_id:
            return
        self._audits += 1
        listed = dict.fromkeys(names)
        for name in [name for name in self._confirmed if name not in listed]:
            self._audit_missing += 1
            del self._confirmed[name]
            self._renewing.pop(name, None)
            self._unheard.pop(name, None)
            self._consider(name)
        for name in [name for name in listed if name not in self._confirmed]:
            if name in self._desired:
                self._refused.pop(name, None)
                self._unheard[name] = now_s
            else:
                self._audit_unwanted += 1
            self._confirmed[name] = request_id
            self._consider(name)

    def on_data(self, names: Iterable[str], now_s: float) -> None:
        """Take in that a batch of messages held data of `names`. Data of names nobody wants (any more) is fine.

        Costs a few C-level passes over `names`, and nothing per name once all have spoken.
        """
        self._sign_s = now_s
        batch = dict.fromkeys(names, now_s)
        self._last_data_s.update(batch)
        unheard = self._unheard
        if unheard:
            few, many = (unheard, batch) if len(unheard) < len(batch) else (batch, unheard)
            for name in [name for name in few if name in many]:
                del unheard[name]
                if name in self._joining:
                    self._confirm(name)
                    self._strikes = 0

    def on_tick(self, now_s: float) -> bool:
        """Take in that time has passed: requests unanswered for the ack time-out are asked again.

        Returns True once requests went unanswered three times in a row: nobody listens, give the connection up. A
        single name that stays unanswered three times on a connection otherwise alive is given up (refused) instead,
        for five minutes.
        """
        for name in [name for name, again_s in self._again_s.items() if again_s <= now_s]:
            del self._again_s[name]
            if (refusal := self._refused.get(name)) is not None and refusal.code is None:
                del self._refused[name]
                self._tries.pop(name, None)
                self._consider(name)
        for flight in [flight for flight in self._requests.values() if flight.due_s <= now_s]:
            request = flight.request
            self._retire(request)
            open_names = [name for name in request.names if self._asked.get(name) == request.id]
            if request.names and not open_names:
                continue
            if flight.put_off:
                self._ask_again([name for name in open_names if not self._gave_up(request, name, now_s)])
                continue
            self._timeouts += 1
            if len(request.names) == 1 and self._gave_up(request, request.names[0], now_s, flight.sent_s):
                self._strikes = 0
                continue
            self._split(request)
            # Names confirmed by data are an answer of sorts; and requests sent together fail together.
            if len(open_names) == len(request.names) and flight.strikes == self._strikes:
                self._strikes += 1
        return self._strikes >= _PATIENCE

    # What is known

    @property
    def settled(self) -> bool:
        """Whether the confirmed names are the desired ones, refused names aside."""
        return not (self._joining or self._leaving or self._to_join or self._to_leave)

    @property
    def confirmed(self) -> tuple[str, ...]:
        """The names the venue serves on this connection, as far as it acknowledged."""
        return tuple(self._confirmed)

    @property
    def refused(self) -> Mapping[str, Refusal]:
        """The desired names the venue will not serve: a live, read-only view."""
        return MappingProxyType(self._refused)

    def take_refusals(self) -> list[Refusal]:
        """Return the refusals since the last call."""
        news, self._news = self._news, []
        return news

    @property
    def flowing(self) -> int:
        """How many desired names are confirmed and have spoken."""
        return sum(name in self._confirmed and name not in self._unheard for name in self._desired)

    @property
    def flowing_share(self) -> float:
        """`flowing` as a share of the desired names that were not refused; 1 where there are none."""
        served = len(self._desired) - len(self._refused)
        return self.flowing / served if served else 1.0

    def heard(self) -> dict[str, float | None]:
        """Return the confirmed names, with when each last had data; ``None`` where there was none yet."""
        return {name: self._last_data_s.get(name) for name in self._confirmed}

    def last_data_s(self, name: str) -> float | None:
        """Return when data of `name` last came, or ``None`` where none came since it was last subscribed."""
        return self._last_data_s.get(name)

    @property
    def unheard(self) -> tuple[str, ...]:
        """The names that have not spoken since they were last subscribed."""
        return tuple(self._unheard)

    def silent(self, now_s: float, stale_after_s: float, first_data_s: float) -> dict[str, float]:
        """Return the confirmed names that are silent, with the time of their last word.

        Silent is who said nothing for `stale_after_s` or, having never spoken, for `first_data_s` since the ack, which
        then counts as the last word. Takes time in proportion to the number of names.
        """
        stale_s, mute_s = now_s - stale_after_s, now_s - first_data_s
        silent = {}
        for name in self._confirmed:
            since_s = self._unheard.get(name)
            if since_s is not None:
                if since_s <= mute_s:
                    silent[name] = since_s
            elif (last_s := self._last_data_s.get(name, now_s)) <= stale_s:
                silent[name] = last_s
        return silent

    def status(self) -> SubscriptionStatus:
        """Return a snapshot."""
        return SubscriptionStatus(
            desired=len(self._desired),
            confirmed=len(self._confirmed),
            flowing=self.flowing,
            joining=len(self._joining),
            leaving=len(self._leaving),
            refused=len(self._refused),
            requests=self._last_id,
            timeouts=self._timeouts,
            audits=self._audits,
            audit_missing=self._audit_missing,
            audit_unwanted=self._audit_unwanted,
        )

    def _issue(self, kind: RequestKind, names: Sequence[str], now_s: float) -> Request:
        self._last_id += 1
        request = Request(self._last_id, kind, tuple(names))
        due_s = now_s + self._ack_timeout_s
        self._requests[request.id] = _InFlight(request, now_s, due_s, self._strikes, self._put_offs)
        return request

    def _answered(self, request_id: int, now_s: float) -> Request | None:
        flight = self._requests.pop(request_id, None)
        request = flight.request if flight else self._late.pop(request_id, None)
        if request is not None:
            self._strikes = 0
            self._sign_s = now_s
        return request

    def _answered_for(self, request: Request, names: Sequence[str], now_s: float) -> None:
        """Take in an answer about `names` of a request: answers about the others follow, late ones perhaps."""
        self._strikes, self._sign_s = 0, now_s
        if not any(name not in names and self._asked.get(name) == request.id for name in request.names):
            self._retire(request)

    def _retire(self, request: Request) -> None:
        """Await no answer to a request any more, and understand one that comes all the same."""
        if self._requests.pop(request.id, None) is not None:
            self._late[request.id] = request
            if len(self._late) > _REMEMBERED:
                del self._late[next(iter(self._late))]

    def _put_off(self, request: Request, now_s: float) -> None:
        """Wait before the request is asked again, the longer the more often that happened in a row."""
        flight = self._requests.get(request.id)
        if flight is not None and not flight.put_off:
            flight.put_off = True
            flight.due_s = now_s + self._ack_timeout_s * 2**flight.patience
            if flight.patience == self._put_offs:  # requests sent together are refused together
                self._put_offs = min(self._put_offs + 1, _PATIENCE)

    def _find_unwanted(self, request: Request, names: Sequence[str]) -> None:
        """Leave what a late answer says was subscribed although nobody wants it any more."""
        if request.kind is RequestKind.SUBSCRIBE and request.id in self._late:
            for name in [name for name in names if name in request.names and name not in self._desired]:
                if not (name in self._joining or name in self._confirmed or name in self._leaving):
                    self._confirmed[name] = request.id
                    self._consider(name)

    def _meant(self, request_id: int | None, names: Sequence[str] | None) -> Request | None:
        """Return the request that an answer is about, ``None`` where nobody knows."""
        if request_id is not None:
            flight = self._requests.get(request_id)
            return flight.request if flight else self._late.get(request_id)
        if names:
            asked = [self._requests.get(self._asked.get(name, 0)) for name in names]
            return next((flight.request for flight in asked if flight is not None), None)
        requests = [flight.request for flight in self._requests.values()]
        return requests[0] if len(requests) == 1 else None

    def _ask_again(self, names: Sequence[str]) -> None:
        """Queue names together whose request came to nothing for the sake of others."""
        self._last_group += 1
        for name in names:
            del self._asked[name]
            self._consider(name, self._last_group)

    def _consider(self, name: str, group: int = 0) -> None:
        """Queue what `name` needs next, unless an answer about it is still awaited."""
        self._to_join.pop(name, None)
        self._to_leave.pop(name, None)
        if name in self._asked:
            return
        wanted = name in self._desired and name not in self._refused
        if name in self._confirmed:
            if not wanted or name in self._renewing:
                self._to_leave[name] = group
        elif wanted:
            self._to_join[name] = group
        elif name in self._joining or name in self._leaving:
            self._to_leave[name] = group

    def _confirm(self, name: str) -> None:
        self._confirmed[name] = self._joining.pop(name)
        self._asked.pop(name, None)
        self._consider(name)

    def _left(self, name: str) -> None:
        del self._leaving[name]
        self._asked.pop(name, None)
        self._consider(name)

    def _refuse(self, refusal: Refusal) -> None:
        name = refusal.name
        del self._joining[name]
        self._asked.pop(name, None)
        self._unheard.pop(name, None)
        if name in self._desired:
            self._refused[name] = refusal
            self._news.append(refusal)
        self._consider(name)

    def _gave_up(self, request: Request, name: str, now_s: float, sent_s: float = float("-inf")) -> bool:
        """Count that `name` was asked about in vain; give it up after enough of that, unless nothing was heard since
        `sent_s`: then the connection is to blame."""
        self._tries[name] = self._tries.get(name, 0) + 1
        if self._tries[name] < _PATIENCE or self._sign_s <= sent_s:
            return False
        if request.kind is RequestKind.SUBSCRIBE:
            self._refuse(Refusal(name, None, f"no answer to {_PATIENCE} requests"))
            self._again_s[name] = now_s + _AGAIN_S
        else:
            self._left(name)
        return True

    def _split(self, request: Request) -> None:
        """Queue the unanswered names of a request again, in halves that share no request with anybody else.

        Of a request that timed out none are left: they have been queued before.
        """
        names = [name for name in request.names if self._asked.get(name) == request.id]
        middle = (len(names) + 1) // 2
        for half in (names[:middle], names[middle:]):
            self._ask_again(half)


def _first_group(queue: Mapping[str, int], limit: int) -> list[str]:
    """Return at most `limit` names of the group that is first in line."""
    group = next(iter(queue.values()))
    names = []
    for name, of_group in queue.items():
        if of_group == group:
            names.append(name)
            if len(names) == limit:
                break
    return names
