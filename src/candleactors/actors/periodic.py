"""Periodic: an actor that does one job again and again, at leisure."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio

from candleactors.actors.child import ChildContext
from candleactors.core.backoff import Backoff
from candleactors.errors import TransientError
from candleactors.transport.clock import Clock


class Periodic:
    """Does a job `first_s` after its start, `interval_s` after each time it was done, and when it is asked to.

    What failed with a `TransientError` is tried again after the wait that `backoff` says, at most `interval_s`; all
    else is the supervisor's business. A job that is under way when the actor is asked to stop is cancelled: it leaves
    nothing half done, and takes up at its next time what it has not done.
    """

    def __init__(
        self,
        job: Callable[[], Awaitable[None]],
        *,
        interval_s: float,
        first_s: float,
        backoff: Backoff,
        clock: Clock,
        on_trouble: Callable[[TransientError], None],
    ) -> None:
        self.done = 0
        """How often the job was done."""
        self.done_ms: int | None = None
        """When it was done last, by our wall clock."""
        self.error: str | None = None
        """Why it could not be done last time; ``None`` if it could."""
        self._job = job
        self._interval_s = interval_s
        self._first_s = first_s
        self._backoff = backoff
        self._clock = clock
        self._on_trouble = on_trouble
        self._asked = trio.Event()

    def ask(self) -> None:
        """Have the job done soon, or once more if it is being done. Does not block."""
        self._asked.set()

    async def run(self, context: ChildContext) -> None:
        """Do the job at its times until asked to stop."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._work)
            context.started()
            await context.stopping.wait()
            nursery.cancel_scope.cancel()

    async def _work(self) -> None:
        wait_s = self._first_s
        while True:
            with trio.move_on_after(wait_s):
                await self._asked.wait()
            self._asked = trio.Event()
            try:
                await self._job()
            except TransientError as error:
                self.error = str(error)
                self._on_trouble(error)
                wait_s = min(self._backoff.failed(), self._interval_s)
            else:
                self._backoff.reset()
                self.done, self.done_ms, self.error = self.done + 1, self._clock.wall_ms(), None
                wait_s = self._interval_s
