"""Random histories of one supervisor, each step compared with what the rules say about it."""

from __future__ import annotations

from typing import cast

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from candleactors.core.failure import FailureClass, classify
from candleactors.core.supervision import Restart, Step, Strategy, Supervision
from candleactors.errors import Disconnected, LocalProtocolError, RateLimited, RestartIntensityExceeded
from candleactors.settings import BackoffSettings, SupervisionSettings

BACKOFF = BackoffSettings(initial_s=1, factor=2, max_s=20, jitter=0.5, stable_after_s=15)
SETTINGS = SupervisionSettings(max_restarts=3, restart_window_s=30, breaker_failures=4, breaker_rest_s=40)

errors = st.sampled_from(
    [None, Disconnected(1006), RateLimited(429, 12.0), ValueError("counted"), ExceptionGroup("g", [ValueError()])]
)
bugs = st.sampled_from([LocalProtocolError("bug"), ExceptionGroup("g", [Disconnected(1000), AssertionError()])])


class SupervisionRules(RuleBasedStateMachine):
    """Keeps its own books: who runs, who was asked to stop, who must not start yet and why."""

    @initialize(
        strategy=st.sampled_from(Strategy),
        restarts=st.lists(st.sampled_from(Restart), max_size=5),
        chance=st.floats(0, 1, exclude_max=True),
    )
    def begin(self, strategy: Strategy, restarts: list[Restart], chance: float) -> None:
        self.strategy = strategy
        self.order = [f"c{n}" for n in range(len(restarts))]
        self.restart = dict(zip(self.order, restarts, strict=True))
        self.table = Supervision(
            "sup",
            strategy,
            list(self.restart.items()),
            supervision=SETTINGS,
            backoff=BACKOFF,
            uniform=lambda: chance,
        )
        self.now = 0.0
        self.starting: set[str] = set()
        self.up: set[str] = set()
        self.stopping: set[str] = set()
        self.condemned: set[str] = set()
        self.removed: set[str] = set()
        self.ended: set[str] = set()
        self.tried: set[str] = set()
        self.cancelled: set[str] = set()
        self.not_before: dict[str, float] = {}
        self.counted: list[float] = []
        self.closing = self.hurried = False
        self.cause: BaseException | None = None
        self.added = 0
        self.perform()

    @property
    def alive(self) -> set[str]:
        return self.starting | self.up | self.stopping

    def perform(self) -> None:
        step = self.table.decide(self.now)
        self.check_stops(step)
        self.check_starts(step)
        assert step.done == (self.closing and not self.alive)
        again = self.table.decide(self.now)
        assert (again.stop, again.cancel, again.start) == ((), (), ())

    def check_stops(self, step: Step) -> None:
        unasked = self.starting | self.up
        must = unasked & self.removed
        if self.hurried:
            must = unasked
        doomed = [id for id in self.order if id in self.alive and (self.closing or id in self.condemned)]
        if doomed and doomed[-1] in unasked:
            must = must | {doomed[-1]}
        assert set(step.stop) == must
        assert list(step.stop) == sorted(step.stop, key=self.order.index, reverse=True) or not self.hurried
        self.starting -= must
        self.up -= must
        self.stopping |= must
        due = [id for id in reversed(self.order) if id in self.alive - self.cancelled] if self.hurried else []
        assert list(step.cancel) == due
        self.cancelled |= set(due)

    def check_starts(self, step: Step) -> None:
        if self.closing or self.condemned & self.alive:
            assert step.start == ()
            return
        due: list[str] = []
        wakes: list[float] = []
        for place, id in enumerate(self.order):
            if id in self.alive or id in self.ended:
                continue
            before = self.order[:place]
            if self.strategy is Strategy.ONE_FOR_ONE:
                free = id in self.tried or all(other in self.tried for other in before)
            else:
                free = all(other in self.up or other in self.ended for other in before)
            if not free:
                continue
            if self.not_before.get(id, 0) <= self.now:
                due.append(id)
                self.starting.add(id)
            else:
                wakes.append(self.not_before[id])
        assert list(step.start) == due
        assert step.wake_at_s == min(wakes, default=float("inf"))

    @precondition(lambda self: self.starting)
    @rule(data=st.data())
    def child_starts(self, data: st.DataObject) -> None:
        id = data.draw(st.sampled_from(sorted(self.starting)))
        self.starting.discard(id)
        self.up.add(id)
        self.tried.add(id)
        self.table.started(id, self.now)
        self.perform()

    @precondition(lambda self: self.alive)
    @rule(data=st.data(), error=errors)
    def child_exits(self, data: st.DataObject, error: Exception | None) -> None:
        self.exit(data.draw(st.sampled_from(sorted(self.alive))), error)

    @precondition(lambda self: self.stopping)
    @rule(data=st.data(), error=st.none() | errors)
    def child_stops(self, data: st.DataObject, error: Exception | None) -> None:
        self.exit(data.draw(st.sampled_from(sorted(self.stopping))), error)

    @precondition(lambda self: self.alive)
    @rule(data=st.data(), error=bugs)
    def child_shows_a_bug(self, data: st.DataObject, error: Exception) -> None:
        self.exit(data.draw(st.sampled_from(sorted(self.alive))), error)

    def exit(self, id: str, error: Exception | None) -> None:
        asked = id in self.stopping
        condemned = id in self.condemned
        for books in (self.starting, self.up, self.stopping, self.condemned, self.cancelled):
            books.discard(id)
        self.tried.add(id)
        quiet = asked or self.closing or id in self.removed
        if not quiet and self.strategy is not Strategy.ONE_FOR_ONE:
            self.tried |= set(self.order)
        failure = classify(error) if error is not None else None
        wants = {Restart.PERMANENT: True, Restart.TRANSIENT: error is not None, Restart.TEMPORARY: False}
        verdict = error if failure is FailureClass.FATAL else None
        again = False
        if quiet:
            again = condemned and not self.closing and self.restart[id] is not Restart.TEMPORARY
        elif verdict is None:
            again = wants[self.restart[id]]
            if again and failure is not FailureClass.TRANSIENT:
                self.counted.append(self.now)
                recent = [t for t in self.counted if t > self.now - SETTINGS.restart_window_s]
                if len(recent) > SETTINGS.max_restarts:
                    verdict = RestartIntensityExceeded()
                    again = False
        self.table.exited(id, error, self.now)
        if verdict is not None:
            if self.cause is None:
                self.cause = verdict
            self.closing = True
        if again and not quiet:
            wait = next(c.next_start_s for c in self.table.status() if c.id == id)
            assert wait is not None
            least = max(BACKOFF.initial_s * (1 - BACKOFF.jitter), getattr(error, "retry_after_s", 0) or 0)
            assert least <= wait - self.now + 1e-9
            assert wait - self.now <= max(BACKOFF.max_s, SETTINGS.breaker_rest_s) + 1e-9
            self.condemn_group(id, wait)
        elif not again and condemned and self.restart[id] is Restart.TRANSIENT and not self.closing:
            again = True
        if id in self.removed or (id.startswith("d") and self.restart[id] is Restart.TEMPORARY):
            self.forget(id)
        elif not again:
            self.ended.add(id)
        self.perform()

    def condemn_group(self, id: str, wait: float) -> None:
        match self.strategy:
            case Strategy.ONE_FOR_ONE:
                group = [id]
            case Strategy.ONE_FOR_ALL:
                group = self.order
            case Strategy.REST_FOR_ONE:
                group = self.order[self.order.index(id) :]
        for member in group:
            self.not_before[member] = max(self.not_before.get(member, 0), wait)
            if member in self.alive:
                self.condemned.add(member)
            elif self.restart[member] is Restart.TRANSIENT:
                self.ended.discard(member)

    def forget(self, id: str) -> None:
        self.order.remove(id)
        for books in (self.removed, self.ended, self.tried):
            books.discard(id)
        self.not_before.pop(id, None)

    @rule(seconds=st.floats(0.01, 100))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        self.perform()

    @rule()
    def time_passes_to_the_next_wake(self) -> None:
        wake_at_s = self.table.decide(self.now).wake_at_s
        if wake_at_s < float("inf"):
            self.now = wake_at_s
            self.perform()

    @precondition(lambda self: self.strategy is Strategy.ONE_FOR_ONE and not self.closing)
    @rule(restart=st.sampled_from(Restart))
    def child_is_added(self, restart: Restart) -> None:
        self.added += 1
        id = f"d{self.added}"
        self.order.append(id)
        self.restart[id] = restart
        self.tried.add(id)
        self.table.add(id, restart)
        self.perform()

    @precondition(lambda self: self.strategy is Strategy.ONE_FOR_ONE and self.order)
    @rule(data=st.data())
    def child_is_removed(self, data: st.DataObject) -> None:
        id = data.draw(st.sampled_from(self.order))
        assert self.table.remove(id) == (id in self.alive)
        if id in self.alive:
            self.removed.add(id)
        else:
            self.forget(id)
        self.perform()

    @rule()
    def closes(self) -> None:
        self.closing = True
        self.table.close()
        self.perform()

    @rule()
    def hurries(self) -> None:
        self.closing = self.hurried = True
        self.table.hurry()
        self.perform()

    @invariant()
    def books_agree(self) -> None:
        assert [child.id for child in self.table.status()] == self.order
        assert type(self.table.cause) is type(self.cause)
        if not isinstance(self.cause, RestartIntensityExceeded):
            assert self.table.cause is self.cause

    def teardown(self) -> None:
        """From any state: if nobody fails any more, everyone comes up; and a close leaves nobody."""
        if not hasattr(self, "table"):
            return
        for _ in range(200):
            if self.starting:
                self.child_starts_now(min(self.starting))
            elif self.stopping:
                self.exit(min(self.stopping), None)
            else:
                self.time_passes_to_the_next_wake()
        if not self.closing:
            assert self.up == set(self.order) - self.ended
            self.closes()
        while self.alive:
            self.exit(min(self.stopping), None)
        assert self.table.decide(self.now).done

    def child_starts_now(self, id: str) -> None:
        self.starting.discard(id)
        self.up.add(id)
        self.tried.add(id)
        self.table.started(id, self.now)
        self.perform()


SupervisionRules.TestCase.settings = settings(max_examples=300, stateful_step_count=40, deadline=None)
TestSupervisionRules = cast(type, SupervisionRules.TestCase)
