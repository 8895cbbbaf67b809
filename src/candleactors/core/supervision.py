"""Supervision: who is stopped and started, in which order and when, as a synchronous state machine.

The shell (`candleactors.actors.supervisor`) tells it what happened (`started`, `exited`, `add`, `remove`, `close`) and
performs what `decide` returns.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from enum import StrEnum

from attrs import define, frozen

from candleactors.core.backoff import Backoff
from candleactors.core.breaker import Breaker
from candleactors.core.failure import FailureClass, classify, describe, retry_after_s
from candleactors.core.lifecycle import (
    BreakerOpened,
    ChildEnded,
    ChildFailed,
    ChildStarted,
    ChildState,
    ChildStatus,
    ChildStopped,
    GaveUp,
    SupervisorEvent,
)
from candleactors.core.restarts import RestartWindow
from candleactors.errors import FeedClosed, LocalProtocolError, RestartIntensityExceeded
from candleactors.settings import BackoffSettings, SupervisionSettings


class Restart(StrEnum):
    """When a child that ended is started again."""

    PERMANENT = "permanent"
    """Always."""
    TRANSIENT = "transient"
    """Only after a failure."""
    TEMPORARY = "temporary"
    """Never."""


class Strategy(StrEnum):
    """What else is restarted with a child that failed."""

    ONE_FOR_ONE = "one_for_one"
    """Nothing."""
    ONE_FOR_ALL = "one_for_all"
    """Every sibling."""
    REST_FOR_ONE = "rest_for_one"
    """The siblings started after it."""


@frozen
class Step:
    """What to do now, in this order: stop, cancel, start. Then wait for news, at most until `wake_at_s`."""

    stop: tuple[str, ...]
    """Ask these children to finish within their deadlines."""
    cancel: tuple[str, ...]
    """Cancel these children at once."""
    start: tuple[str, ...]
    wake_at_s: float
    """When the next start is due, in seconds of the clock of `now`; infinite where none is."""
    done: bool
    """No child is left and none will be started."""


@define
class _Member:
    id: str
    restart: Restart
    backoff: Backoff
    breaker: Breaker
    dynamic: bool
    state: ChildState = ChildState.WAITING
    incarnation: int = 0
    tried: bool = False
    """The first start succeeded or failed: nobody waits in line behind it any more."""
    doomed: bool = False
    """To be stopped because a sibling failed."""
    removed: bool = False
    """To be stopped and forgotten."""
    cancelled: bool = False
    not_before_s: float = -math.inf
    up_since_s: float | None = None
    last_failure: str | None = None

    @property
    def alive(self) -> bool:
        return self.state in (ChildState.STARTING, ChildState.UP, ChildState.STOPPING)

    def status(self) -> ChildStatus:
        waits = self.state is ChildState.WAITING and self.not_before_s > -math.inf
        return ChildStatus(
            id=self.id,
            state=self.state,
            incarnation=self.incarnation,
            restarts=max(self.incarnation - 1, 0),
            last_failure=self.last_failure,
            up_since_s=self.up_since_s,
            next_start_s=self.not_before_s if waits else None,
        )


class Supervision:
    """The table of one supervisor's children. Nothing here blocks; `now` is seconds and never decreases.

    Children are kept in start order. Ordered stops (a group restart, the close) go backwards, each child gone before
    the next is asked; ordered starts go forwards, each child up before the next is started. Under ``one_for_one`` only
    the first round of the initial children is ordered: restarts and children added later do not wait for siblings.
    """

    def __init__(
        self,
        name: str,
        strategy: Strategy,
        children: Iterable[tuple[str, Restart]],
        *,
        supervision: SupervisionSettings,
        backoff: BackoffSettings,
        uniform: Callable[[], float],
        ends_with_children: bool = False,
    ) -> None:
        self.cause: BaseException | None = None
        """Why the supervisor gave up: to be raised when it is done."""
        self._name = name
        self._strategy = strategy
        self._supervision = supervision
        self._backoff = backoff
        self._uniform = uniform
        self._ends_with_children = ends_with_children
        self._window = RestartWindow(supervision.max_restarts, supervision.restart_window_s)
        self._members: dict[str, _Member] = {}
        self._closing = False
        self._hurried = False
        for id, restart in children:
            self._insert(id, restart, dynamic=False)

    # What happened

    def started(self, id: str, now: float) -> list[SupervisorEvent]:
        """Note that a child serves."""
        member = self._members[id]
        member.tried = True
        member.up_since_s = now
        if member.state is ChildState.STARTING:
            member.state = ChildState.UP
        return [ChildStarted(self._name, id, member.incarnation)]

    def exited(self, id: str, error: BaseException | None, now: float) -> list[SupervisorEvent]:
        """Note that a child is gone: it returned (`error` is ``None``) or raised. Returns what is to be reported."""
        member = self._members[id]
        asked = member.state is ChildState.STOPPING
        stable = member.up_since_s is not None and now - member.up_since_s >= self._backoff.stable_after_s
        member.up_since_s = None
        member.tried = True
        if error is not None:
            member.last_failure = describe(error)
        if asked or self._closing or member.removed:
            return self._ended_in_stop(member, error, asked=asked)
        if self._strategy is not Strategy.ONE_FOR_ONE:
            # The first round is over: what follows is a restart, for which nobody should hold up our own start.
            for sibling in self._members.values():
                sibling.tried = True
        return self._ended_by_itself(member, error, now, stable=stable)

    def add(self, id: str, restart: Restart) -> None:
        """Append a child, to be started at once.

        Raises `LocalProtocolError` for an `id` that is in use and under a strategy other than ``one_for_one``, and
        `FeedClosed` once the supervisor is closing.
        """
        self._check_dynamic()
        if self._closing:
            raise FeedClosed(f"{self._name} is stopping and starts no child {id!r}")
        known = self._members.get(id)
        if known is not None and known.state is ChildState.ENDED:
            del self._members[id]
        self._insert(id, restart, dynamic=True)

    def remove(self, id: str) -> bool:
        """Have a child stopped and forgotten; return whether it still runs, so that there is something to wait for.

        Raises `LocalProtocolError` for an unknown `id` and under a strategy other than ``one_for_one``.
        """
        self._check_dynamic()
        member = self._members.get(id)
        if member is None:
            raise LocalProtocolError(f"{self._name} has no child {id!r}")
        if not member.alive:
            del self._members[id]
            return False
        member.removed = True
        return True

    def close(self) -> None:
        """Stop every child, in order."""
        self._closing = True

    def hurry(self) -> None:
        """Stop every child, and cancel those that are left at once."""
        self._closing = True
        self._hurried = True

    # What to do

    def decide(self, now: float) -> Step:
        """Return what is to be done at `now`. The step counts as done: the same is not asked for twice."""
        stop = self._stops()
        cancel = self._cancels()
        start, wake_at = self._starts(now)
        alive = any(member.alive for member in self._members.values())
        over = self._closing or (
            self._ends_with_children and all(m.state is ChildState.ENDED for m in self._members.values())
        )
        return Step(stop=stop, cancel=cancel, start=start, wake_at_s=wake_at, done=over and not alive)

    @property
    def ready(self) -> bool:
        """The first round of starts is over, whether it succeeded or not: from here on failures are our business."""
        return not self._closing and all(member.tried for member in self._members.values())

    def __contains__(self, id: str) -> bool:
        return id in self._members

    def incarnation(self, id: str) -> int:
        """Return how many times the child was started."""
        return self._members[id].incarnation

    def status(self) -> list[ChildStatus]:
        """Return every child on the table in start order."""
        return [member.status() for member in self._members.values()]

    # Inside

    def _insert(self, id: str, restart: Restart, *, dynamic: bool) -> None:
        if id in self._members:
            raise LocalProtocolError(f"{self._name} already has a child {id!r}")
        self._members[id] = _Member(
            id,
            restart,
            Backoff(self._backoff, self._uniform),
            Breaker(self._supervision.breaker_failures),
            dynamic,
            tried=dynamic,
        )

    def _check_dynamic(self) -> None:
        if self._strategy is not Strategy.ONE_FOR_ONE:
            raise LocalProtocolError(f"{self._name} is {self._strategy}: its children are fixed")

    def _ended_in_stop(self, member: _Member, error: BaseException | None, *, asked: bool) -> list[SupervisorEvent]:
        """A stop was under way: nothing is counted, but a bug that shows in a cleanup is still a bug."""
        events: list[SupervisorEvent] = []
        failure = classify(error) if error is not None else None
        if asked:
            events.append(ChildStopped(self._name, member.id, member.incarnation, error))
        elif error is not None and failure is not None:
            events.append(ChildFailed(self._name, member.id, member.incarnation, failure, error, None))
        else:
            events.append(ChildEnded(self._name, member.id, member.incarnation, None))
        again = member.doomed and not self._closing and member.restart is not Restart.TEMPORARY
        self._lay_down(member, again=again)
        if error is not None and failure is FailureClass.FATAL:
            events += self._give_up(member, error)
        return events

    def _ended_by_itself(
        self, member: _Member, error: BaseException | None, now: float, *, stable: bool
    ) -> list[SupervisorEvent]:
        failure = classify(error) if error is not None else None
        verdict = error if failure is FailureClass.FATAL else None
        again = verdict is None and self._restarts(member, error)
        if again and failure is not FailureClass.TRANSIENT and not self._window.allow(now):
            verdict, again = self._exceeded(member, error), False
        wait_s = self._wait_s(member, error, stable=stable) if again else None
        events: list[SupervisorEvent] = []
        if error is not None and failure is not None:
            events.append(ChildFailed(self._name, member.id, member.incarnation, failure, error, wait_s))
        else:
            events.append(ChildEnded(self._name, member.id, member.incarnation, wait_s))
        # A sibling's failure had already condemned it to begin anew; that it finished first changes nothing.
        condemned = member.doomed and member.restart is Restart.TRANSIENT and verdict is None
        self._lay_down(member, again=again or condemned)
        if verdict is not None:
            events += self._give_up(member, verdict)
        if wait_s is not None:
            if member.breaker.is_open:
                events.append(BreakerOpened(self._name, member.id, member.breaker.failures, wait_s))
            self._hold_group(member, now + wait_s)
        return events

    def _wait_s(self, member: _Member, error: BaseException | None, *, stable: bool) -> float:
        if stable:
            member.backoff.reset()
            member.breaker.reset()
        wait_s = member.backoff.failed()
        if error is not None:
            wait_s = max(wait_s, retry_after_s(error))
        if member.breaker.failed():
            wait_s = max(wait_s, self._supervision.breaker_rest_s)
        return wait_s

    def _restarts(self, member: _Member, error: BaseException | None) -> bool:
        if member.restart is Restart.TRANSIENT:
            return error is not None
        return member.restart is Restart.PERMANENT

    def _exceeded(self, member: _Member, error: BaseException | None) -> RestartIntensityExceeded:
        how = describe(error) if error is not None else "it returned"
        verdict = RestartIntensityExceeded(
            f"{self._name}: more than {self._window.max_restarts} restarts in {self._window.window_s:g} s; "
            f"the last to fail was {member.id} ({how})"
        )
        verdict.__cause__ = error
        return verdict

    def _give_up(self, member: _Member, cause: BaseException) -> list[SupervisorEvent]:
        """Close because of `cause`. The first cause stands: what follows happens in its wake."""
        self._closing = True
        if self.cause is not None:
            return []
        self.cause = cause
        if not isinstance(cause, RestartIntensityExceeded):
            cause.add_note(f"raised by {member.id!r} under the supervisor {self._name!r}")
        return [GaveUp(self._name, member.id, cause)]

    def _lay_down(self, member: _Member, *, again: bool) -> None:
        member.doomed = False
        member.state = ChildState.WAITING if again else ChildState.ENDED
        if member.removed or (not again and member.dynamic and member.restart is Restart.TEMPORARY):
            del self._members[member.id]

    def _hold_group(self, failed: _Member, until_s: float) -> None:
        """Have everyone who restarts with `failed` stopped, and nobody of them started before `until_s`."""
        for member in self._group(failed):
            member.not_before_s = max(member.not_before_s, until_s)
            if member.alive:
                member.doomed = True
            elif member.restart is Restart.TRANSIENT:
                # It had done its work, but for siblings that begin anew now.
                member.state = ChildState.WAITING

    def _group(self, failed: _Member) -> list[_Member]:
        members = list(self._members.values())
        match self._strategy:
            case Strategy.ONE_FOR_ONE:
                return [failed]
            case Strategy.ONE_FOR_ALL:
                return members
            case Strategy.REST_FOR_ONE:
                return members[members.index(failed) :]

    def _stops(self) -> tuple[str, ...]:
        members = list(reversed(self._members.values()))
        chosen = [m for m in members if m.removed or (self._hurried and m.alive)]
        for member in members:
            if member.alive and (self._closing or member.doomed):
                chosen.append(member)
                break
        stops: list[str] = []
        for member in chosen:
            if member.state is not ChildState.STOPPING:
                member.state = ChildState.STOPPING
                stops.append(member.id)
        return tuple(stops)

    def _cancels(self) -> tuple[str, ...]:
        if not self._hurried:
            return ()
        cancels: list[str] = []
        for member in reversed(self._members.values()):
            if member.alive and not member.cancelled:
                member.cancelled = True
                cancels.append(member.id)
        return tuple(cancels)

    def _starts(self, now: float) -> tuple[tuple[str, ...], float]:
        """Return who starts at `now` and when to ask again."""
        if self._closing or any(member.doomed for member in self._members.values()):
            return (), math.inf
        independent = self._strategy is Strategy.ONE_FOR_ONE
        starts: list[str] = []
        wake_at = math.inf
        in_line = False
        for member in self._members.values():
            if member.state is ChildState.WAITING and (not in_line or (independent and member.tried)):
                if member.not_before_s <= now:
                    member.state = ChildState.STARTING
                    member.incarnation += 1
                    starts.append(member.id)
                else:
                    wake_at = min(wake_at, member.not_before_s)
            if independent:
                in_line = in_line or not member.tried
            else:
                in_line = in_line or member.state in (ChildState.WAITING, ChildState.STARTING)
        return tuple(starts), wake_at
