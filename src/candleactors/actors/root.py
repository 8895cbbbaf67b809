"""The root: runs the topmost supervisor, which has no supervisor above it."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from candleactors.actors.child import ChildSpec
from candleactors.actors.incarnation import Incarnation
from candleactors.actors.supervisor import Supervisor


class Root:
    """The topmost supervisor's life, seen from outside."""

    def __init__(self, supervisor: Supervisor, drain_s: float) -> None:
        self.ended = trio.Event()
        """Set when the supervisor is gone, whatever the reason."""
        self.failure: BaseException | None = None
        self._body = trio.CancelScope()
        self._settled = trio.Event()
        spec = ChildSpec(supervisor.name, supervisor.run, shutdown_s=drain_s, start_timeout_s=math.inf)
        self._incarnation = Incarnation(spec, 1, lambda _: self._settled.set())

    def stop(self) -> None:
        """Ask the tree to stop in order. Does not wait; after the drain deadline, what remains is cancelled."""
        self._incarnation.stop()

    async def _live(self) -> None:
        self.failure = await self._incarnation.live()
        self._settled.set()
        self.ended.set()
        if self.failure is not None:
            self._body.cancel()


@asynccontextmanager
async def open_root(supervisor: Supervisor, *, drain_s: float) -> AsyncIterator[Root]:
    """Run `supervisor` around the body of an ``async with``, which begins once the supervisor has started.

    However the body ends (it returns, raises or is cancelled by the host), the tree is stopped in order, shielded from
    the host's cancellation for at most `drain_s` seconds; then what remains is cancelled. The exit therefore takes at
    most `drain_s` plus the longest that any child goes on after its cancellation.

    If the supervisor gives up, the body is cancelled and the supervisor's exception raised. Exceptions of the body are
    passed on as they are; only if both fail are the two raised as a group.
    """
    root = Root(supervisor, drain_s)
    body_error: BaseException | None = None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(root._live, name=supervisor.name)
        try:
            with root._body:
                await root._settled.wait()
                if root.failure is None:
                    yield root
        except BaseException as error:  # raised again below, once nothing runs any more
            body_error = error
        # The nursery waits for the drain whatever happens to the host: the tree is shielded by its own scope.
        root.stop()
    if root.failure is not None and isinstance(body_error, Exception):
        raise BaseExceptionGroup(f"{supervisor.name} failed, and so did what used it", [body_error, root.failure])
    if root.failure is not None:
        raise root.failure
    if body_error is not None:
        raise body_error


async def run_root(
    supervisor: Supervisor, *, drain_s: float, task_status: trio.TaskStatus[Root] = trio.TASK_STATUS_IGNORED
) -> None:
    """Run `supervisor` until it ends or is stopped through the `Root` passed to `task_status`.

    Cancellation drains as in `open_root`, whose exceptions are raised here too.
    """
    async with open_root(supervisor, drain_s=drain_s) as root:
        task_status.started(root)
        await root.ended.wait()
