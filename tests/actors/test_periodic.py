"""Periodic jobs: at their times, when asked, again after a failure, and never half an actor after a stop."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing
from attrs import define, field

from candleactors.actors.periodic import Periodic
from candleactors.core.backoff import Backoff
from candleactors.errors import StoreUnavailable, TransientError
from candleactors.settings import BackoffSettings
from candleactors.transport.clock import VirtualClock

INTERVAL_S = 900.0


@define
class Context:
    id: str = "periodic"
    incarnation: int = 1
    stopping: trio.Event = field(factory=trio.Event)
    serves: bool = False

    def started(self) -> None:
        self.serves = True


@define
class Job:
    """Notes when it was done; fails as often as it is told."""

    took_s: float = 0.0
    failures: int = 0
    at_s: list[float] = field(factory=list)
    interrupted: int = 0

    async def __call__(self) -> None:
        self.at_s.append(trio.current_time())
        if self.failures:
            self.failures -= 1
            raise StoreUnavailable("the disk is full")
        try:
            await trio.sleep(self.took_s)
        except trio.Cancelled:
            self.interrupted += 1
            raise


@asynccontextmanager
async def working(job: Job, on_trouble: Callable[[TransientError], None] | None = None) -> AsyncIterator[Periodic]:
    """A periodic actor that runs during the body, whose clock begins at 0."""
    periodic = Periodic(
        job,
        interval_s=INTERVAL_S,
        first_s=30.0,
        backoff=Backoff(BackoffSettings(initial_s=100.0, max_s=5_000.0, jitter=0.0), lambda: 0.0),
        clock=VirtualClock(1_000_000),
        on_trouble=on_trouble or (lambda error: pytest.fail(str(error))),
    )
    context = Context()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(periodic.run, context)
        await trio.testing.wait_all_tasks_blocked()
        assert context.serves
        yield periodic
        context.stopping.set()


async def test_a_job_has_its_times(autojump_clock: trio.testing.MockClock) -> None:
    job = Job(took_s=100.0)
    async with working(job) as periodic:
        await trio.sleep(20)
        assert (job.at_s, periodic.done, periodic.done_ms) == ([], 0, None)
        await trio.sleep(2_200)
    assert job.at_s == [30, 1_030, 2_030]
    assert (periodic.done, periodic.done_ms) == (3, 1_000_000 + 2_130_000)


async def test_it_is_done_when_somebody_asks_and_once_more_if_it_is_being_done(
    autojump_clock: trio.testing.MockClock,
) -> None:
    job = Job(took_s=10.0)
    async with working(job) as periodic:
        periodic.ask()
        await trio.sleep(5)
        periodic.ask()
        periodic.ask()
        await trio.sleep(800)
    assert job.at_s == [0, 10]


async def test_what_time_may_cure_is_tried_again_ever_later_but_not_later_than_its_next_time(
    autojump_clock: trio.testing.MockClock,
) -> None:
    told: list[TransientError] = []
    job = Job(failures=5)
    async with working(job, told.append) as periodic:
        await trio.sleep(40)
        assert periodic.error == "the disk is full"
        await trio.sleep(2_600)
    assert job.at_s == [30, 130, 330, 730, 1_530, 2_430]
    assert (len(told), periodic.done) == (5, 1)
    assert periodic.error is None


async def test_a_stop_interrupts_the_job(autojump_clock: trio.testing.MockClock) -> None:
    job = Job(took_s=10_000.0)
    async with working(job) as periodic:
        await trio.sleep(50)
    assert (job.interrupted, periodic.done) == (1, 0)
