from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from candleactors.actors.child import ChildContext, ChildSpec, Restart, Strategy
from candleactors.actors.root import open_root
from candleactors.actors.supervisor import Supervisor
from candleactors.core.lifecycle import (
    ChildEnded,
    ChildFailed,
    ChildOverdue,
    ChildStarted,
    ChildState,
    ChildStopped,
    GaveUp,
    SupervisorEvent,
)
from candleactors.errors import (
    Disconnected,
    FeedClosed,
    LocalProtocolError,
    RateLimited,
    RestartIntensityExceeded,
)
from candleactors.settings import BackoffSettings, SupervisionSettings
from candleactors.transport.clock import VirtualClock

T = TypeVar("T")
Run = Callable[[ChildContext], Awaitable[None]]
BACKOFF = BackoffSettings(initial_s=1, factor=2, max_s=8, jitter=0, stable_after_s=60)


class Log:
    """Events with their times, and a supervisor factory that writes them."""

    def __init__(self) -> None:
        self.events: list[tuple[float, SupervisorEvent]] = []

    def supervisor(
        self,
        *children: ChildSpec,
        strategy: Strategy = Strategy.ONE_FOR_ONE,
        name: str = "sup",
        max_restarts: int = 3,
        ends_with_children: bool = False,
    ) -> Supervisor:
        return Supervisor(
            strategy,
            children,
            name=name,
            supervision=SupervisionSettings(max_restarts=max_restarts),
            backoff=BACKOFF,
            clock=VirtualClock(0),
            rng=random.Random(0),
            on_event=lambda event: self.events.append((trio.current_time(), event)),
            ends_with_children=ends_with_children,
        )

    def of(self, *kinds: type) -> list[tuple[float, str]]:
        return [(at, event.child) for at, event in self.events if type(event) in kinds]


def play(main: Callable[[], Awaitable[T]]) -> T:
    return trio.run(main, clock=MockClock(autojump_threshold=0))


async def serve(context: ChildContext) -> None:
    context.started()
    await context.stopping.wait()


def fail(after_s: float, error: Callable[[], BaseException], *, times: int = 1000) -> Run:
    """Fail the first `times` incarnations, then serve."""

    async def run(context: ChildContext) -> None:
        context.started()
        if context.incarnation <= times:
            await trio.sleep(after_s)
            raise error()
        await context.stopping.wait()

    return run


def deaf(seconds: float) -> Run:
    """Ignore everything for `seconds`."""

    async def run(context: ChildContext) -> None:
        context.started()
        with trio.CancelScope(shield=True):
            await trio.sleep(seconds)

    return run


def disconnected() -> BaseException:
    return Disconnected(1006)


def test_the_next_child_starts_when_the_previous_one_is_up() -> None:
    log = Log()

    async def slow(context: ChildContext) -> None:
        await trio.sleep(2)
        await serve(context)

    async def main() -> None:
        async with open_root(log.supervisor(*(ChildSpec(id, slow) for id in "abc")), drain_s=10):
            assert trio.current_time() == 6

    play(main)
    assert log.of(ChildStarted) == [(2, "a"), (4, "b"), (6, "c")]
    assert log.of(ChildStopped) == [(6, "c"), (6, "b"), (6, "a")]


def test_a_stop_waits_for_each_child_and_cancels_it_after_its_deadline() -> None:
    log = Log()

    async def stubborn(context: ChildContext) -> None:
        context.started()
        await trio.sleep_forever()

    async def tidy(context: ChildContext) -> None:
        await serve(context)
        await trio.sleep(2)

    async def main() -> None:
        children = [ChildSpec("a", tidy), ChildSpec("b", stubborn, shutdown_s=3), ChildSpec("c", tidy)]
        async with open_root(log.supervisor(*children), drain_s=100):
            pass

    play(main)
    assert log.of(ChildStopped) == [(2, "c"), (5, "b"), (7, "a")]


def test_a_child_that_ignores_its_cancellation_is_waited_for_and_reported() -> None:
    log = Log()

    async def main() -> None:
        supervisor = log.supervisor(ChildSpec("a", serve), ChildSpec("b", deaf(20), shutdown_s=1))
        async with open_root(supervisor, drain_s=100):
            pass

    play(main)
    assert log.of(ChildOverdue) == [(6, "b"), (11, "b"), (16, "b")]
    assert log.of(ChildStopped) == [(20, "b"), (20, "a")]


def test_the_next_incarnation_waits_for_the_previous_one() -> None:
    log = Log()

    async def main() -> None:
        children = [ChildSpec("a", fail(1, disconnected, times=1)), ChildSpec("b", deaf(50), shutdown_s=1)]
        async with open_root(log.supervisor(*children, strategy=Strategy.ONE_FOR_ALL), drain_s=1):
            await trio.sleep(100)

    play(main)
    assert log.of(ChildStarted) == [(0, "a"), (0, "b"), (50, "a"), (50, "b")]


def test_a_start_that_takes_too_long_is_cancelled_and_counted() -> None:
    log = Log()

    async def never(context: ChildContext) -> None:
        await trio.sleep_forever()

    async def main() -> None:
        supervisor = log.supervisor(ChildSpec("a", never, start_timeout_s=5), max_restarts=1)
        async with open_root(supervisor, drain_s=10):
            await trio.sleep_forever()

    with pytest.raises(RestartIntensityExceeded) as caught:
        play(main)
    assert isinstance(caught.value.__cause__, trio.TooSlowError)
    assert log.of(ChildFailed) == [(5, "a"), (11, "a")]


def test_a_start_time_out_cannot_be_undone() -> None:
    log = Log()

    async def late(context: ChildContext) -> None:
        with trio.CancelScope(shield=True):
            await trio.sleep(10)
        context.started()
        await trio.sleep_forever()

    async def main() -> None:
        async with open_root(log.supervisor(ChildSpec("a", late, start_timeout_s=5)), drain_s=10):
            await trio.sleep(10.5)

    play(main)
    assert log.of(ChildFailed) == [(10, "a")]
    assert log.of(ChildStarted) == []


def test_a_child_that_fails_before_started_is_restarted() -> None:
    log = Log()

    async def second_time_lucky(context: ChildContext) -> None:
        if context.incarnation == 1:
            raise Disconnected(1006)
        await serve(context)

    async def main() -> None:
        async with open_root(log.supervisor(ChildSpec("a", second_time_lucky), ChildSpec("b", serve)), drain_s=10):
            assert log.of(ChildStarted) == [(0, "b")]
            await trio.sleep(2)

    play(main)
    assert log.of(ChildFailed) == [(0, "a")]
    assert log.of(ChildStarted) == [(0, "b"), (1, "a")]


def test_started_twice_is_a_bug() -> None:
    async def twice(context: ChildContext) -> None:
        context.started()
        context.started()

    async def main() -> None:
        async with open_root(Log().supervisor(ChildSpec("a", twice)), drain_s=10):
            await trio.sleep_forever()

    with pytest.raises(LocalProtocolError):
        play(main)


def test_started_after_the_request_to_stop_does_not_lift_the_deadline() -> None:
    log = Log()

    async def main() -> None:
        async def late(context: ChildContext) -> None:
            await context.stopping.wait()
            context.started()
            await trio.sleep_forever()

        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def _() -> None:
                async with open_root(log.supervisor(ChildSpec("a", late, shutdown_s=3)), drain_s=10):
                    raise AssertionError("not reached")

            await trio.sleep(1)
            nursery.cancel_scope.cancel()

    play(main)
    assert log.of(ChildStopped) == [(4, "a")]


@pytest.mark.parametrize("strategy", list(Strategy))
def test_a_stop_during_a_backoff_takes_effect_at_once(strategy: Strategy) -> None:
    async def main() -> None:
        supervisor = Log().supervisor(ChildSpec("a", fail(0, lambda: RateLimited(429, 1000.0))), strategy=strategy)
        async with open_root(supervisor, drain_s=10):
            await trio.sleep(1)
            (child,) = supervisor.children()
            assert (child.state, child.next_start_s) == (ChildState.WAITING, 1000)
        assert trio.current_time() == 1

    play(main)


def test_too_many_failures_end_in_order_with_the_cause() -> None:
    log = Log()

    async def main() -> None:
        children = [ChildSpec("a", serve), ChildSpec("b", fail(1, lambda: ValueError("boom"))), ChildSpec("c", serve)]
        async with open_root(log.supervisor(*children, max_restarts=2), drain_s=10):
            await trio.sleep_forever()

    with pytest.raises(
        RestartIntensityExceeded, match=r"sup: more than 2 restarts in 60 s.* b \(ValueError: boom\)"
    ) as caught:
        play(main)
    assert isinstance(caught.value.__cause__, ValueError)
    assert log.of(ChildStopped) == [(6, "c"), (6, "a")]
    assert log.of(GaveUp) == [(6, "b")]


def test_giving_up_is_counted_one_level_higher() -> None:
    log = Log()

    async def main() -> None:
        inner = log.supervisor(ChildSpec("leaf", fail(0, ValueError)), name="inner", max_restarts=1)
        outer = log.supervisor(ChildSpec("a", serve), inner.spec("inner"), name="outer", max_restarts=2)
        async with open_root(outer, drain_s=10):
            await trio.sleep_forever()

    with pytest.raises(RestartIntensityExceeded, match="outer") as caught:
        play(main)
    assert isinstance(caught.value.__cause__, RestartIntensityExceeded)
    assert len(log.of(GaveUp)) == 4
    assert [child for _, child in log.of(ChildFailed)] == ["leaf", "leaf", "inner"] * 3


def test_a_bug_goes_all_the_way_up_and_tells_its_way() -> None:
    log = Log()
    bug = AssertionError("bug")

    def raise_bug() -> BaseException:
        return bug

    async def main() -> None:
        inner = log.supervisor(ChildSpec("leaf", fail(1, raise_bug)), ChildSpec("b", serve), name="inner")
        outer = log.supervisor(ChildSpec("a", serve), inner.spec("in"), ChildSpec("c", serve), name="outer")
        async with open_root(outer, drain_s=10):
            await trio.sleep_forever()

    with pytest.raises(AssertionError) as caught:
        play(main)
    assert caught.value is bug
    assert bug.__notes__ == [
        "raised by 'leaf' under the supervisor 'inner'",
        "raised by 'in' under the supervisor 'outer'",
    ]
    assert [child for _, child in log.of(ChildStopped)] == ["b", "c", "a"]


def test_a_child_s_nursery_full_of_errors_is_judged_by_the_worst() -> None:
    log = Log()

    async def crowded(context: ChildContext) -> None:
        context.started()

        async def careless() -> None:
            try:
                await trio.sleep_forever()
            finally:
                raise ValueError("in cleanup")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(careless)
            await wait_all_tasks_blocked()
            raise Disconnected(1006)

    async def main() -> None:
        async with open_root(log.supervisor(ChildSpec("a", crowded), max_restarts=0), drain_s=10):
            await trio.sleep_forever()

    with pytest.raises(RestartIntensityExceeded, match="ValueError: in cleanup"):
        play(main)


def test_an_error_beside_a_cancellation_is_not_lost() -> None:
    log = Log()

    async def messy(context: ChildContext) -> None:
        context.started()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            try:
                await trio.sleep_forever()
            finally:
                raise ValueError("in cleanup")

    async def main() -> None:
        async with open_root(log.supervisor(ChildSpec("a", messy, shutdown_s=1)), drain_s=10):
            pass

    play(main)
    (event,) = [event for _, event in log.events if isinstance(event, ChildStopped)]
    assert isinstance(event.error, ExceptionGroup)
    assert event.error.subgroup(ValueError) is not None


def test_a_supervisor_out_of_time_cancels_what_is_left_at_once() -> None:
    log = Log()

    async def stubborn(context: ChildContext) -> None:
        context.started()
        try:
            await trio.sleep_forever()
        finally:
            with trio.move_on_after(2, shield=True):
                await trio.sleep_forever()

    async def main() -> None:
        inner = log.supervisor(*(ChildSpec(id, stubborn, shutdown_s=5) for id in "abc"), name="inner")
        outer = log.supervisor(ChildSpec("first", serve), inner.spec("inner", shutdown_s=9), name="outer")
        async with open_root(outer, drain_s=100):
            pass

    play(main)
    # c: 5 + 2; b was asked at 7 and has until 12, a was not asked yet; at 9 both are cancelled and clean up for 2 s.
    stopped = log.of(ChildStopped)
    assert stopped[0] == (7.0, "c")
    assert sorted(stopped[1:3]) == [(11.0, "a"), (11.0, "b")]
    assert stopped[3:] == [(11, "inner"), (11, "first")]


def test_a_restarted_supervisor_begins_anew_with_its_own_children() -> None:
    log = Log()

    async def main() -> None:
        inner = log.supervisor(ChildSpec("x", serve), name="inner")
        first = ChildSpec("first", fail(5, disconnected, times=1))
        outer = log.supervisor(first, inner.spec("inner"), strategy=Strategy.REST_FOR_ONE, name="outer")
        async with open_root(outer, drain_s=10):
            await inner.start_child(ChildSpec("y", serve))
            await trio.sleep(1)
            assert [child.id for child in inner.children()] == ["x", "y"]
            await trio.sleep(4.5)
            assert inner.children() == []
            with pytest.raises(FeedClosed):
                await inner.start_child(ChildSpec("y", serve))
            await inner.stop_child("y")
            await trio.sleep(5)
            assert [(child.id, child.incarnation) for child in inner.children()] == [("x", 1)]
        assert inner.children() == []

    play(main)


def test_children_are_added_and_taken_away_at_run_time() -> None:
    log = Log()

    async def slow_to_go(context: ChildContext) -> None:
        await serve(context)
        await trio.sleep(3)

    async def main() -> None:
        supervisor = log.supervisor(ChildSpec("a", serve))
        async with open_root(supervisor, drain_s=10):
            await supervisor.start_child(ChildSpec("x", slow_to_go))
            await supervisor.start_child(ChildSpec("y", serve))
            await wait_all_tasks_blocked()
            assert [child.state for child in supervisor.children()] == [ChildState.UP] * 3
            with pytest.raises(LocalProtocolError):
                await supervisor.start_child(ChildSpec("x", serve))
            async with trio.open_nursery() as nursery:
                nursery.start_soon(supervisor.stop_child, "x")
                await supervisor.stop_child("x")
                assert trio.current_time() == 3
            with pytest.raises(LocalProtocolError):
                await supervisor.stop_child("x")
            await supervisor.start_child(ChildSpec("x", serve))
            await wait_all_tasks_blocked()

    play(main)
    assert log.of(ChildStopped) == [(3, "x"), (3, "x"), (3, "y"), (3, "a")]


def test_a_child_added_while_another_is_starting_does_not_wait_for_it() -> None:
    log = Log()

    async def main() -> None:
        supervisor = log.supervisor()

        async def pool(context: ChildContext) -> None:
            await supervisor.start_child(ChildSpec("shard", serve))
            await wait_all_tasks_blocked()
            assert supervisor.children()[-1].state is ChildState.UP
            await serve(context)

        async with open_root(supervisor, drain_s=10):
            await supervisor.start_child(ChildSpec("pool", pool))
            await trio.sleep(5)

    play(main)
    assert [child for _, child in log.of(ChildStarted)] == ["shard", "pool"]


def test_a_child_that_stops_itself_is_cancelled_at_its_deadline() -> None:
    async def main() -> None:
        supervisor = Log().supervisor()

        async def suicidal(context: ChildContext) -> None:
            context.started()
            await supervisor.stop_child("a")

        async with open_root(supervisor, drain_s=10):
            await supervisor.start_child(ChildSpec("a", suicidal, shutdown_s=2))
            await trio.sleep(3)
            assert supervisor.children() == []

    play(main)


def test_stop_child_may_be_cancelled_without_saving_the_child() -> None:
    async def main() -> None:
        supervisor = Log().supervisor(ChildSpec("a", deaf(10)))
        async with open_root(supervisor, drain_s=30):
            with trio.move_on_after(1) as scope:
                await supervisor.stop_child("a")
            assert scope.cancelled_caught
            assert [child.state for child in supervisor.children()] == [ChildState.STOPPING]
            await trio.sleep(10)
            assert supervisor.children() == []

    play(main)


def test_returns_by_itself_once_every_child_has_ended_if_told_so() -> None:
    async def once(context: ChildContext) -> None:
        context.started()
        await trio.sleep(4)

    async def main() -> None:
        log = Log()
        children = [ChildSpec(id, once, restart=Restart.TRANSIENT) for id in "ab"]
        async with open_root(log.supervisor(*children, ends_with_children=True), drain_s=10) as root:
            await root.ended.wait()
            assert trio.current_time() == 4
        assert sorted(log.of(ChildEnded)) == [(4, "a"), (4, "b")]

    play(main)


def test_a_supervisor_runs_once_at_a_time() -> None:
    async def main() -> None:
        supervisor = Log().supervisor()
        async with open_root(supervisor, drain_s=10), open_root(supervisor, drain_s=10):
            raise AssertionError("not reached")

    with pytest.raises(LocalProtocolError, match="running already"):
        play(main)


def test_a_broken_listener_ends_the_tree_instead_of_hanging_it() -> None:
    def broken(event: SupervisorEvent) -> None:
        raise ZeroDivisionError

    async def main() -> None:
        supervisor = Supervisor(
            Strategy.ONE_FOR_ONE,
            [ChildSpec("a", serve)],
            name="sup",
            supervision=SupervisionSettings(),
            backoff=BACKOFF,
            clock=VirtualClock(0),
            rng=random.Random(0),
            on_event=broken,
        )
        async with open_root(supervisor, drain_s=10):
            await trio.sleep_forever()

    with pytest.raises(ExceptionGroup) as caught:
        play(main)
    assert caught.group_contains(ZeroDivisionError)


class Context:
    """A `ChildContext` of nobody."""

    id = "sup"
    incarnation = 1

    def __init__(self) -> None:
        self.stopping = trio.Event()

    def started(self) -> None:
        pass


def test_a_supervisor_asked_to_stop_before_it_begins_starts_nobody() -> None:
    log = Log()

    async def main() -> None:
        context = Context()
        context.stopping.set()
        await log.supervisor(ChildSpec("a", serve)).run(context)

    play(main)
    assert log.events == []


def test_a_cancelled_supervisor_without_a_root_cancels_its_children_and_lets_the_cancellation_pass() -> None:
    log = Log()

    async def main() -> None:
        supervisor = log.supervisor(*(ChildSpec(id, deaf(2)) for id in "ab"))
        with trio.move_on_after(1) as scope:
            await supervisor.run(Context())
        assert scope.cancelled_caught
        assert trio.current_time() == 2

    play(main)
    assert sorted(log.of(ChildStopped)) == [(2, "a"), (2, "b")]
