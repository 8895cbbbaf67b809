"""Facts about the lives of supervised children, for logs and status pages."""

from __future__ import annotations

from enum import StrEnum
from typing import TypeAlias

from attrs import frozen

from candleactors.core.failure import FailureClass


class ChildState(StrEnum):
    """Where a child is in its life."""

    WAITING = "waiting"
    """Not running; starts when its turn and its time come."""
    STARTING = "starting"
    """Running, but has not called ``started()`` yet."""
    UP = "up"
    STOPPING = "stopping"
    """Running, but asked to finish."""
    ENDED = "ended"
    """Not running, and not started again on its own account."""


@frozen
class ChildStatus:
    """A child as it is now. Times are seconds of the monotonic clock."""

    id: str
    state: ChildState
    incarnation: int
    """0 before the first start."""
    restarts: int
    last_failure: str | None
    """One line about the last failure, kept after the child recovered."""
    up_since_s: float | None
    next_start_s: float | None
    """Earliest time of the next start, while the child is waiting for it."""


@frozen
class ChildStarted:
    """A child called ``started()``."""

    supervisor: str
    child: str
    incarnation: int


@frozen
class ChildEnded:
    """A child returned although nobody had asked it to. It starts again in `wait_s` seconds; ``None``: it does not."""

    supervisor: str
    child: str
    incarnation: int
    wait_s: float | None


@frozen
class ChildFailed:
    """A child raised `error`. It starts again in `wait_s` seconds; ``None``: it does not."""

    supervisor: str
    child: str
    incarnation: int
    failure: FailureClass
    error: BaseException
    wait_s: float | None


@frozen
class ChildStopped:
    """A child that had been asked to stop is gone. `error` is what it raised on its way out, if anything."""

    supervisor: str
    child: str
    incarnation: int
    error: BaseException | None


@frozen
class ChildOverdue:
    """A child still runs `overdue_s` seconds after its cancellation. It is waited for: Trio cannot kill a task."""

    supervisor: str
    child: str
    incarnation: int
    overdue_s: float


@frozen
class BreakerOpened:
    """A child failed `failures` times in a row and rests for `rest_s` seconds."""

    supervisor: str
    child: str
    failures: int
    rest_s: float


@frozen
class GaveUp:
    """The supervisor stops its children and raises `cause`, because of `child`."""

    supervisor: str
    child: str
    cause: BaseException


SupervisorEvent: TypeAlias = (
    ChildStarted | ChildEnded | ChildFailed | ChildStopped | ChildOverdue | BreakerOpened | GaveUp
)
