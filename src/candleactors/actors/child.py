"""Child specifications: what a supervisor starts, restarts and stops."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from enum import StrEnum
from typing import Protocol, TypeAlias

import trio
from attrs import frozen


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


class ChildContext(Protocol):
    """What a running child knows about itself."""

    @property
    def id(self) -> str: ...

    @property
    def incarnation(self) -> int:
        """1 for the first start under this supervisor, one more for each restart."""
        ...

    @property
    def stopping(self) -> trio.Event:
        """Set when the child is asked to finish; after its shutdown deadline it is cancelled."""
        ...

    def started(self) -> None:
        """Tell the supervisor that the child serves; the next sibling starts only then. Called once."""
        ...


Run: TypeAlias = Callable[[ChildContext], Awaitable[None]]


@frozen
class ChildSpec:
    """A child as data.

    `run` is called anew for each incarnation and keeps its state in its locals. It has `start_timeout_s` to call
    ``started()`` and, once asked to stop, `shutdown_s` to return before it is cancelled.
    """

    id: str
    run: Run
    restart: Restart = Restart.PERMANENT
    shutdown_s: float = 5.0
    start_timeout_s: float = 30.0
