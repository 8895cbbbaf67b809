"""Incarnations: one life of a child, from its start to its end."""

from __future__ import annotations

import math
from collections.abc import Callable

import trio

from candleactors.actors.child import ChildSpec
from candleactors.errors import LocalProtocolError

OVERDUE_S = 5.0
"""Seconds between two reports about a child that ignores its cancellation."""


class Incarnation:
    """A running child's `ChildContext`, and its supervisor's grip on it.

    The child runs in a shielded cancel scope of its own, so that only its supervisor decides when it is cancelled. The
    scope's deadline is the start time-out until ``started()``, none while the child is up, and the shutdown deadline
    once it was asked to stop.
    """

    def __init__(self, spec: ChildSpec, number: int, on_started: Callable[[str], None]) -> None:
        self.spec = spec
        self.stopping = trio.Event()
        self.gone = trio.Event()
        """Set when the child has ended and everything about its end is known."""
        self._number = number
        self._on_started = on_started
        self._has_started = False
        self._next_report_s = math.inf
        self._scope = trio.CancelScope(shield=True)
        self._limit(spec.start_timeout_s)

    @property
    def id(self) -> str:
        return self.spec.id

    @property
    def incarnation(self) -> int:
        return self._number

    @property
    def report_due_s(self) -> float:
        """When, in seconds of Trio's clock, to look for an overdue child; infinite while there is no deadline."""
        return self._next_report_s

    def started(self) -> None:
        if self._has_started:
            raise LocalProtocolError(f"{self.id} called started() twice")
        self._has_started = True
        if not self._scope.cancel_called and not self.gone.is_set():
            if not self.stopping.is_set():
                self._limit(math.inf)
            self._on_started(self.id)

    def stop(self) -> None:
        """Ask the child to finish within its shutdown deadline; afterwards it is cancelled."""
        if not self.stopping.is_set():
            self.stopping.set()
            # A start time-out that has already struck stays in force.
            if not self._scope.cancel_called:
                self._limit(self.spec.shutdown_s)

    def cancel(self) -> None:
        """Cancel the child now."""
        self.stopping.set()
        if not self._scope.cancel_called:
            self._limit(0)
            self._scope.cancel()

    def overdue_s(self, now: float) -> float | None:
        """Return for how long the child has outlived its cancellation, if it is time to report that again."""
        if now < self._next_report_s:
            return None
        self._next_report_s = now + OVERDUE_S
        return now - self._scope.deadline

    async def live(self) -> BaseException | None:
        """Run the child and return what it raised; ``None`` if it returned or was cancelled on request."""
        try:
            with self._scope:
                await self.spec.run(self)
        except BaseException as error:  # the supervisor's edge: whatever ends a child is judged by its class
            return error
        if self._scope.cancel_called and not self.stopping.is_set():
            return trio.TooSlowError(f"{self.id} did not call started() within {self.spec.start_timeout_s:g} s")
        return None

    def _limit(self, seconds: float) -> None:
        self._scope.deadline = trio.current_time() + seconds
        self._next_report_s = self._scope.deadline + OVERDUE_S
