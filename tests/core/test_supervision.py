from __future__ import annotations

import math

import pytest

from candleactors.core.failure import FailureClass
from candleactors.core.lifecycle import (
    BreakerOpened,
    ChildEnded,
    ChildFailed,
    ChildStarted,
    ChildState,
    ChildStopped,
    GaveUp,
    SupervisorEvent,
)
from candleactors.core.supervision import Restart, Step, Strategy, Supervision
from candleactors.errors import (
    ConfigError,
    Disconnected,
    FeedClosed,
    LocalProtocolError,
    RateLimited,
    RestartIntensityExceeded,
)
from candleactors.settings import BackoffSettings, SupervisionSettings

PERMANENT, TRANSIENT, TEMPORARY = Restart.PERMANENT, Restart.TRANSIENT, Restart.TEMPORARY
BACKOFF = BackoffSettings(initial_s=1, factor=2, max_s=8, jitter=0, stable_after_s=60)
SETTINGS = SupervisionSettings(max_restarts=3, restart_window_s=100, breaker_failures=5, breaker_rest_s=50)


class Drive:
    """Plays the shell: everything asked for happens when the test says so, except that starts succeed at once."""

    def __init__(
        self,
        strategy: Strategy,
        *restarts: Restart,
        settings: SupervisionSettings = SETTINGS,
        ends_with_children: bool = False,
    ) -> None:
        self.table = Supervision(
            "sup",
            strategy,
            [(id, restart) for id, restart in zip("abcdefgh", restarts, strict=False)],
            supervision=settings,
            backoff=BACKOFF,
            uniform=lambda: 0.5,
            ends_with_children=ends_with_children,
        )
        self.now = 0.0
        self.events: list[SupervisorEvent] = []

    def up(self) -> Drive:
        """Start everything that can be started now."""
        while (step := self.table.decide(self.now)).start:
            for id in step.start:
                self.events += self.table.started(id, self.now)
        return self

    def exit(self, id: str, error: BaseException | None = None) -> list[SupervisorEvent]:
        events = self.table.exited(id, error, self.now)
        self.events += events
        return events

    def step(self, later_s: float = 0) -> Step:
        self.now += later_s
        return self.table.decide(self.now)

    def stop_all(self) -> str:
        """Go through an ordered stop and return its order."""
        order = ""
        while stop := self.step().stop:
            for id in stop:
                order += id
                self.exit(id)
        return order

    def states(self) -> str:
        return " ".join(f"{child.id}:{child.state}" for child in self.table.status())


def test_children_start_one_after_the_other() -> None:
    drive = Drive(Strategy.ONE_FOR_ONE, PERMANENT, PERMANENT, PERMANENT)
    for id in "abc":
        assert not drive.table.ready
        assert drive.step().start == (id,)
        assert drive.step().start == ()
        assert drive.table.started(id, 0) == [ChildStarted("sup", id, 1)]
    assert drive.table.ready
    assert drive.step() == Step((), (), (), math.inf, False)


def test_close_stops_one_after_the_other_in_reverse() -> None:
    drive = Drive(Strategy.ONE_FOR_ONE, PERMANENT, PERMANENT, PERMANENT).up()
    drive.table.close()
    for id in "cba":
        assert drive.step().stop == (id,)
        assert drive.step() == Step((), (), (), math.inf, False)
        assert drive.exit(id) == [ChildStopped("sup", id, 1, None)]
    assert drive.step().done
    assert drive.table.cause is None


def test_hurry_cancels_everyone_at_once_in_reverse() -> None:
    drive = Drive(Strategy.ONE_FOR_ONE, PERMANENT, PERMANENT, PERMANENT).up()
    drive.table.close()
    assert drive.step().stop == ("c",)
    drive.table.hurry()
    step = drive.step()
    assert step.stop == ("b", "a")
    assert step.cancel == ("c", "b", "a")
    assert drive.step().cancel == ()
    for id in "bca":
        assert not drive.step().done
        drive.exit(id)
    assert drive.step().done


def test_close_during_a_backoff_is_done_at_once() -> None:
    drive = Drive(Strategy.ONE_FOR_ONE, PERMANENT).up()
    drive.exit("a", Disconnected(1006))
    assert drive.step().wake_at_s == 1
    drive.table.close()
    assert drive.step().done
    assert drive.step(10).start == ()


def test_one_for_one_restarts_only_the_failed_child() -> None:
    drive = Drive(Strategy.ONE_FOR_ONE, PERMANENT, PERMANENT, PERMANENT).up()
    error = Disconnected(1006)
    assert drive.exit("b", error) == [ChildFailed("sup", "b", 1, FailureClass.TRANSIENT, error, 1)]
    assert drive.step() == Step((), (), (), 1, False)
    assert drive.step(0.999).start == ()
    assert drive.step(0.001).start == ("b",)
    assert drive.states() == "a:up b:starting c:up"


def test_one_for_one_restarts_do_not_wait_in_line() -> None:
    drive = Drive(Strategy.ONE_FOR_ONE, PERMANENT, PERMANENT).up()
    drive.exit("a", Disconnected(1006))
    drive.exit("b", Disconnected(1006))
    assert drive.step(1).start == ("a", "b")


def test_one_for_one_goes_on_to_the_next_child_when_one_fails_to_start() -> None:
    drive = Drive(Strategy.ONE_FOR_ONE, PERMANENT, PERMANENT)
    assert drive.step().start == ("a",)
    drive.exit("a", Disconnected(1006))
    assert drive.step() == Step((), (), ("b",), 1, False)
    drive.table.started("b", 0)
    assert drive.table.ready


def test_rest_for_one_restarts_the_failed_child_and_those_after_it() -> None:
    drive = Drive(Strategy.REST_FOR_ONE, PERMANENT, PERMANENT, PERMANENT, PERMANENT).up()
    drive.exit("b", Disconnected(1006))
    assert drive.stop_all() == "dc"
    assert drive.states() == "a:up b:waiting c:waiting d:waiting"
    assert drive.step() == Step((), (), (), 1, False)
    for id in "bcd":
        assert drive.step(1).start == (id,)
        drive.table.started(id, drive.now)
    assert [child.incarnation for child in drive.table.status()] == [1, 2, 2, 2]


def test_one_for_all_restarts_everyone() -> None:
    drive = Drive(Strategy.ONE_FOR_ALL, PERMANENT, PERMANENT, PERMANENT).up()
    drive.exit("b", Disconnected(1006))
    assert drive.stop_all() == "ca"
    assert drive.step() == Step((), (), (), 1, False)
    for id in "abc":
        assert drive.step(1).start == (id,)
        drive.table.started(id, drive.now)
    assert [child.incarnation for child in drive.table.status()] == [2, 2, 2]


def test_a_group_waits_until_the_last_of_it_is_gone() -> None:
    drive = Drive(Strategy.ONE_FOR_ALL, PERMANENT, PERMANENT).up()
    drive.exit("a", Disconnected(1006))
    assert drive.step().stop == ("b",)
    assert drive.step(100) == Step((), (), (), math.inf, False)
    drive.exit("b", ValueError("late"))
    assert drive.step().start == ("a",)


def test_a_sibling_that_fails_during_a_group_restart_is_judged_and_waited_for() -> None:
    drive = Drive(Strategy.ONE_FOR_ALL, PERMANENT, PERMANENT, PERMANENT).up()
    drive.exit("c", Disconnected(1006))
    assert drive.step().stop == ("b",)
    drive.exit("a", RateLimited(429, 30))
    assert drive.step().start == ()
    drive.exit("b")
    assert drive.step().wake_at_s == 30
    assert drive.step(30).start == ("a",)


def test_a_group_waits_for_the_longest_wait_even_if_it_came_first() -> None:
    drive = Drive(Strategy.ONE_FOR_ALL, PERMANENT, PERMANENT, PERMANENT).up()
    drive.exit("c", RateLimited(429, 30))
    assert drive.step().stop == ("b",)
    drive.exit("a", Disconnected(1006))
    drive.exit("b")
    assert drive.step().wake_at_s == 30


def test_a_failed_start_ends_the_first_round_of_a_group() -> None:
    drive = Drive(Strategy.REST_FOR_ONE, PERMANENT, PERMANENT)
    assert drive.step().start == ("a",)
    drive.exit("a", Disconnected(1006))
    assert drive.table.ready
    assert drive.step() == Step((), (), (), 1, False)


def test_a_child_condemned_by_its_sibling_starts_again_even_if_it_finished_first() -> None:
    drive = Drive(Strategy.ONE_FOR_ALL, TRANSIENT, PERMANENT, PERMANENT).up()
    drive.exit("b", Disconnected(1006))
    assert drive.step().stop == ("c",)
    drive.exit("a")
    drive.exit("c")
    assert drive.step(1).start == ("a",)


def test_a_finished_transient_child_begins_anew_with_its_group() -> None:
    drive = Drive(Strategy.ONE_FOR_ALL, TRANSIENT, PERMANENT).up()
    drive.exit("a")
    assert drive.states() == "a:ended b:up"
    drive.exit("b", Disconnected(1006))
    assert drive.step(1).start == ("a",)


def test_a_temporary_child_is_stopped_with_its_group_but_never_started_again() -> None:
    drive = Drive(Strategy.ONE_FOR_ALL, TEMPORARY, PERMANENT).up()
    drive.exit("b", Disconnected(1006))
    assert drive.stop_all() == "a"
    assert drive.step(1).start == ("b",)
    assert drive.states() == "a:ended b:starting"


@pytest.mark.parametrize(
    ("restart", "error", "again"),
    [
        (PERMANENT, None, True),
        (PERMANENT, ValueError(), True),
        (TRANSIENT, None, False),
        (TRANSIENT, ValueError(), True),
        (TEMPORARY, None, False),
        (TEMPORARY, ValueError(), False),
    ],
)
def test_restart_rules(restart: Restart, error: Exception | None, again: bool) -> None:
    drive = Drive(Strategy.ONE_FOR_ONE, restart).up()
    event = drive.exit("a", error)[0]
    assert isinstance(event, ChildEnded | ChildFailed)
    assert event.wait_s == (1 if again else None)
    assert drive.step(1).start == (("a",) if again else ())
    assert not drive.step().done


def test_a_child_that_ends_does_not_disturb_its_group() -> None:
    drive = Drive(Strategy.ONE_FOR_ALL, TRANSIENT, TEMPORARY, PERMANENT).up()
    drive.exit("a")
    drive.exit("b", ValueError())
    assert drive.step(100) == Step((), (), (), math.inf, False)


def test_ends_with_children() -> None:
    drive = Drive(Strategy.ONE_FOR_ONE, TRANSIENT, TEMPORARY, ends_with_children=True).up()
    drive.exit("a")
    assert not drive.step().done
    drive.exit("b", ValueError())
    assert drive.step().done


def test_transient_failures_are_never_counted() -> None:
    drive = Drive(Strategy.ONE_FOR_ONE, PERMANENT, settings=SupervisionSettings(max_restarts=0)).up()
    for _ in range(50):
        drive.exit("a", Disconnected(1006))
        drive.now += 200
        drive.up()
    assert drive.states() == "a:up"


@pytest.mark.parametrize("error", [ValueError("boom"), None])
def test_too_many_counted_failures_stop_everyone_in_order_and_raise_from_the_last(error: Exception | None) -> None:
    drive = Drive(Strategy.ONE_FOR_ONE, PERMANENT, PERMANENT, PERMANENT).up()
    for id in "aba":
        drive.exit(id, error)
        drive.now += 8
        drive.up()
    events = drive.exit("b", error)
    assert isinstance(drive.table.cause, RestartIntensityExceeded)
    assert drive.table.cause.__cause__ is error
    assert events[1:] == [GaveUp("sup", "b", drive.table.cause)]
    assert drive.stop_all() == "ca"
    assert drive.step().done


def test_failures_out_of_the_window_are_forgiven() -> None:
    drive = Drive(Strategy.ONE_FOR_ONE, PERMANENT).up()
    for _ in range(20):
        drive.exit("a", ValueError())
        drive.now += 101 / 3
        drive.up()
    assert drive.table.cause is None


@pytest.mark.parametrize("error", [LocalProtocolError("bug"), AssertionError(), ConfigError("wrong")])
@pytest.mark.parametrize("restart", list(Restart))
def test_a_fatal_failure_stops_everyone_and_is_raised_itself(error: Exception, restart: Restart) -> None:
    drive = Drive(Strategy.ONE_FOR_ONE, PERMANENT, restart, PERMANENT).up()
    drive.exit("b", error)
    assert drive.table.cause is error
    assert drive.stop_all() == "ca"
    assert drive.step().done


def test_a_bug_that_shows_in_a_cleanup_is_fatal_too() -> None:
    drive = Drive(Strategy.ONE_FOR_ALL, PERMANENT, PERMANENT, PERMANENT).up()
    drive.exit("a", Disconnected(1006))
    assert drive.step().stop == ("c",)
    bug = AssertionError("in cleanup")
    assert drive.exit("c", bug) == [ChildStopped("sup", "c", 1, bug), GaveUp("sup", "c", bug)]
    assert drive.stop_all() == "b"
    assert drive.step().done
    assert drive.table.cause is bug


def test_other_failures_in_a_stop_are_reported_and_not_counted() -> None:
    drive = Drive(Strategy.ONE_FOR_ALL, PERMANENT, PERMANENT, settings=SupervisionSettings(max_restarts=0)).up()
    drive.exit("a", Disconnected(1006))
    assert drive.step().stop == ("b",)
    late = ValueError("late")
    assert drive.exit("b", late) == [ChildStopped("sup", "b", 1, late)]
    assert drive.table.cause is None


def test_the_first_cause_stands() -> None:
    drive = Drive(Strategy.ONE_FOR_ONE, PERMANENT, PERMANENT).up()
    first = LocalProtocolError("first")
    drive.exit("a", first)
    assert drive.step().stop == ("b",)
    drive.exit("b", AssertionError("second"))
    assert drive.table.cause is first


def test_failures_while_closing_are_not_restarted_but_bugs_surface() -> None:
    drive = Drive(Strategy.ONE_FOR_ONE, PERMANENT, PERMANENT, PERMANENT).up()
    drive.table.close()
    assert drive.step().stop == ("c",)
    error = ValueError()
    assert drive.exit("b", error) == [ChildFailed("sup", "b", 1, FailureClass.COUNTED, error, None)]
    bug = AssertionError()
    drive.exit("a", bug)
    drive.exit("c")
    assert drive.step().done
    assert drive.table.cause is bug


def test_waits_grow_until_uptime_was_stable() -> None:
    drive = Drive(Strategy.ONE_FOR_ONE, PERMANENT).up()
    waits: list[float] = []
    for uptime in (0, 1, 59.9, 60, 1):
        drive.now += uptime
        drive.exit("a", Disconnected(1006))
        waits.append(drive.step().wake_at_s - drive.now)
        drive.now += 100
        drive.up()
    assert waits == pytest.approx([1, 2, 4, 1, 2])


def test_time_before_started_is_no_uptime() -> None:
    drive = Drive(Strategy.ONE_FOR_ONE, PERMANENT)
    waits: list[float] = []
    for _ in range(3):
        drive.step()
        drive.now += 1000
        drive.exit("a", Disconnected(1006))
        waits.append(drive.step().wake_at_s - drive.now)
        drive.now += waits[-1]
    assert waits == [1, 2, 4]


def test_retry_after_prolongs_the_wait() -> None:
    drive = Drive(Strategy.ONE_FOR_ONE, PERMANENT).up()
    drive.exit("a", RateLimited(418, 77))
    assert drive.step().wake_at_s == 77


def test_the_breaker_rests_then_tries_once() -> None:
    drive = Drive(Strategy.ONE_FOR_ONE, PERMANENT).up()
    waits: list[float] = []
    for _ in range(7):
        drive.exit("a", Disconnected(1006))
        waits.append(drive.step().wake_at_s - drive.now)
        drive.now += waits[-1]
        drive.up()
    assert waits == [1, 2, 4, 8, 50, 50, 50]
    assert BreakerOpened("sup", "a", 5, 50) in drive.events
    drive.now += 60
    drive.exit("a", Disconnected(1006))
    assert drive.step().wake_at_s - drive.now == 1


def test_children_come_and_go() -> None:
    drive = Drive(Strategy.ONE_FOR_ONE, PERMANENT).up()
    drive.table.add("x", PERMANENT)
    drive.table.add("y", TEMPORARY)
    assert drive.table.ready
    assert drive.step().start == ("x", "y")
    with pytest.raises(LocalProtocolError):
        drive.table.add("x", PERMANENT)
    assert drive.table.remove("x")
    assert drive.step().stop == ("x",)
    with pytest.raises(LocalProtocolError):
        drive.table.add("x", PERMANENT)
    drive.exit("x")
    drive.exit("y")
    assert drive.states() == "a:up"
    with pytest.raises(LocalProtocolError):
        drive.table.remove("x")


def test_removing_a_child_that_waits_needs_no_stop() -> None:
    drive = Drive(Strategy.ONE_FOR_ONE, PERMANENT, PERMANENT).up()
    drive.exit("a", Disconnected(1006))
    assert not drive.table.remove("a")
    assert drive.step(10).start == ()
    assert drive.states() == "b:up"


def test_a_removed_child_that_fails_first_does_not_return() -> None:
    drive = Drive(Strategy.ONE_FOR_ONE, PERMANENT).up()
    assert drive.table.remove("a")
    error = ValueError()
    assert drive.exit("a", error) == [ChildFailed("sup", "a", 1, FailureClass.COUNTED, error, None)]
    assert drive.states() == ""
    assert drive.step(100).start == ()


def test_an_ended_child_may_be_added_again() -> None:
    drive = Drive(Strategy.ONE_FOR_ONE, TRANSIENT).up()
    drive.exit("a")
    drive.table.add("a", PERMANENT)
    assert drive.step().start == ("a",)


def test_the_children_of_a_group_are_fixed() -> None:
    for strategy in (Strategy.ONE_FOR_ALL, Strategy.REST_FOR_ONE):
        drive = Drive(strategy, PERMANENT)
        with pytest.raises(LocalProtocolError):
            drive.table.add("x", PERMANENT)
        with pytest.raises(LocalProtocolError):
            drive.table.remove("a")


def test_nothing_is_added_while_closing() -> None:
    drive = Drive(Strategy.ONE_FOR_ONE)
    drive.table.close()
    with pytest.raises(FeedClosed):
        drive.table.add("x", PERMANENT)


def test_ids_are_unique() -> None:
    with pytest.raises(LocalProtocolError):
        Supervision(
            "sup",
            Strategy.ONE_FOR_ONE,
            [("a", PERMANENT), ("a", PERMANENT)],
            supervision=SETTINGS,
            backoff=BACKOFF,
            uniform=lambda: 0,
        )


def test_status_tells_the_story() -> None:
    drive = Drive(Strategy.ONE_FOR_ONE, PERMANENT).up()
    drive.now = 5
    drive.exit("a", ValueError("boom"))
    (child,) = drive.table.status()
    assert (child.state, child.last_failure, child.next_start_s) == (ChildState.WAITING, "ValueError: boom", 6)
    drive.now = 6
    drive.up()
    (child,) = drive.table.status()
    assert (child.state, child.restarts, child.up_since_s, child.next_start_s) == (ChildState.UP, 1, 6, None)
    assert child.last_failure == "ValueError: boom"
