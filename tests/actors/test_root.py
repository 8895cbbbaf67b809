from __future__ import annotations

import random
from collections.abc import Awaitable, Callable

import pytest
import trio
from trio.testing import MockClock

from candleactors.actors.child import ChildContext, ChildSpec, Strategy
from candleactors.actors.root import Root, open_root, run_root
from candleactors.actors.supervisor import Supervisor
from candleactors.core.lifecycle import ChildStopped, SupervisorEvent
from candleactors.errors import LocalProtocolError
from candleactors.settings import BackoffSettings, SupervisionSettings
from candleactors.transport.clock import VirtualClock


def play(main: Callable[[], Awaitable[None]]) -> None:
    trio.run(main, clock=MockClock(autojump_threshold=0))


class Tree:
    """Three children that take 2 s each to finish when asked, and 1 s to clean up when cancelled."""

    def __init__(self, *extra: ChildSpec) -> None:
        self.stopped: list[tuple[float, str]] = []
        self.supervisor = Supervisor(
            Strategy.ONE_FOR_ONE,
            [*(ChildSpec(id, self.run) for id in "abc"), *extra],
            name="top",
            supervision=SupervisionSettings(),
            backoff=BackoffSettings(),
            clock=VirtualClock(0),
            rng=random.Random(0),
            on_event=self.note,
        )

    async def run(self, context: ChildContext) -> None:
        context.started()
        try:
            await context.stopping.wait()
            await trio.sleep(2)
        except trio.Cancelled:
            with trio.move_on_after(1, shield=True):
                await trio.sleep_forever()
            raise

    def note(self, event: SupervisorEvent) -> None:
        if isinstance(event, ChildStopped):
            self.stopped.append((trio.current_time(), event.child))


DRAINED = [(2, "c"), (4, "b"), (6, "a")]


def test_the_end_of_the_body_drains() -> None:
    tree = Tree()

    async def main() -> None:
        async with open_root(tree.supervisor, drain_s=10):
            assert len(tree.supervisor.children()) == 3
        assert trio.current_time() == 6

    play(main)
    assert tree.stopped == DRAINED


def test_an_error_in_the_body_drains_and_is_raised_as_it_is() -> None:
    tree = Tree()
    error = ValueError("host")

    async def main() -> None:
        async with open_root(tree.supervisor, drain_s=10):
            raise error

    with pytest.raises(ValueError, match="host") as caught:
        play(main)
    assert caught.value is error
    assert tree.stopped == DRAINED


def test_the_host_s_cancellation_drains_before_it_goes_on() -> None:
    tree = Tree()

    async def main() -> None:
        with trio.CancelScope() as scope:
            async with open_root(tree.supervisor, drain_s=10):
                scope.cancel()
                await trio.sleep_forever()
        assert scope.cancelled_caught
        assert trio.current_time() == 6

    play(main)
    assert tree.stopped == DRAINED


def test_what_is_left_after_the_drain_deadline_is_cancelled_at_once() -> None:
    tree = Tree()

    async def main() -> None:
        with trio.CancelScope() as scope:
            async with open_root(tree.supervisor, drain_s=3):
                scope.cancel()
                await trio.sleep_forever()
        assert trio.current_time() == 4

    play(main)
    assert tree.stopped[0] == (2.0, "c")
    assert sorted(tree.stopped[1:]) == [(4.0, "a"), (4.0, "b")]


def test_a_cancellation_while_starting_drains_too() -> None:
    async def slow(context: ChildContext) -> None:
        await trio.sleep(20)
        context.started()

    tree = Tree(ChildSpec("d", slow, shutdown_s=0))

    async def main() -> None:
        with trio.move_on_after(5) as scope:
            async with open_root(tree.supervisor, drain_s=10):
                raise AssertionError("not reached")
        assert scope.cancelled_caught
        assert trio.current_time() == 11

    play(main)
    assert tree.stopped == [(5, "d"), (7, "c"), (9, "b"), (11, "a")]


def failing(after_s: float, error: BaseException) -> ChildSpec:
    async def run(context: ChildContext) -> None:
        context.started()
        await trio.sleep(after_s)
        raise error

    return ChildSpec("bad", run)


def test_a_failure_of_the_tree_cancels_the_body_and_is_raised() -> None:
    bug = LocalProtocolError("bug")
    tree = Tree(failing(5, bug))

    async def main() -> None:
        async with open_root(tree.supervisor, drain_s=10):
            try:
                await trio.sleep_forever()
            finally:
                assert trio.current_time() == 11

    with pytest.raises(LocalProtocolError) as caught:
        play(main)
    assert caught.value is bug
    assert tree.stopped == [(7, "c"), (9, "b"), (11, "a")]


def test_a_failure_while_starting_never_enters_the_body() -> None:
    async def fail(context: ChildContext) -> None:
        raise LocalProtocolError("bug")

    tree = Tree(ChildSpec("bad", fail))

    async def main() -> None:
        async with open_root(tree.supervisor, drain_s=10):
            raise ValueError("not reached")

    with pytest.raises(LocalProtocolError):
        play(main)


def test_two_failures_are_raised_as_a_group() -> None:
    async def fails_in_cleanup(context: ChildContext) -> None:
        context.started()
        await context.stopping.wait()
        raise AssertionError("in cleanup")

    tree = Tree(ChildSpec("bad", fails_in_cleanup))

    async def main() -> None:
        async with open_root(tree.supervisor, drain_s=10):
            raise ValueError("host")

    with pytest.raises(ExceptionGroup) as caught:
        play(main)
    assert caught.group_contains(ValueError)
    assert caught.group_contains(AssertionError)


def test_a_bug_in_the_drain_outweighs_the_host_s_cancellation() -> None:
    bug = AssertionError("in cleanup")

    async def fails_in_cleanup(context: ChildContext) -> None:
        context.started()
        await context.stopping.wait()
        raise bug

    tree = Tree(ChildSpec("bad", fails_in_cleanup))

    async def main() -> None:
        with trio.move_on_after(1):
            async with open_root(tree.supervisor, drain_s=10):
                await trio.sleep_forever()

    with pytest.raises(AssertionError) as caught:
        play(main)
    assert caught.value is bug
    assert tree.stopped[1:] == [(3, "c"), (5, "b"), (7, "a")]


def test_run_root_under_nursery_start() -> None:
    tree = Tree()

    async def main() -> None:
        async with trio.open_nursery() as nursery:

            async def start(task_status: trio.TaskStatus[Root] = trio.TASK_STATUS_IGNORED) -> None:
                await run_root(tree.supervisor, drain_s=10, task_status=task_status)

            root: Root = await nursery.start(start)
            root.stop()
            await root.ended.wait()
            assert trio.current_time() == 6

    play(main)
    assert tree.stopped == DRAINED
