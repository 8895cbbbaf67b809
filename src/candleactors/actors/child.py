"""Child specifications: what a supervisor starts, restarts and stops."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol, TypeAlias

import trio
from attrs import frozen

from candleactors.core.supervision import Restart, Strategy

__all__ = ["ChildContext", "ChildSpec", "Restart", "Run", "Strategy"]


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
