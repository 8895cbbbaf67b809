"""The supervisor: starts, restarts and stops children as `candleactors.core.supervision` decides."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence

import trio

from candleactors.actors.child import ChildContext, ChildSpec, Restart, Strategy
from candleactors.actors.incarnation import Incarnation
from candleactors.core.lifecycle import ChildOverdue, ChildStatus, SupervisorEvent
from candleactors.core.supervision import Supervision
from candleactors.errors import FeedClosed, LocalProtocolError
from candleactors.settings import BackoffSettings, SupervisionSettings
from candleactors.transport.clock import Clock


class Supervisor:
    """Children, and the rules by which they are started, restarted and stopped.

    The object is a description: `run` may be called again after it returned, and begins each time with the `children`
    given here. `run` is itself the body of a child, so that supervisors nest; `spec` wraps it up.

    `on_event` is called with each fact, in order; it must neither block nor raise. `rng` jitters the backoff.

    How long a stop takes. A leaf takes at most ``shutdown_s + c``, where ``c`` is the time it goes on after being
    cancelled (what its own cleanups shield, each with a time-out). Children stop one after the other, so a supervisor
    takes the sum over its children; if its own deadline ``shutdown_s`` passes first, everything still alive below it is
    cancelled at once, and it takes that deadline plus the largest ``c``: ``min(sum of children, shutdown_s + max c)``.

    Trio cannot kill a task. A child that outlives its cancellation is waited for without limit, is reported as
    `ChildOverdue` every few seconds, and has no next incarnation before it is gone.
    """

    def __init__(
        self,
        strategy: Strategy,
        children: Sequence[ChildSpec],
        *,
        name: str,
        supervision: SupervisionSettings,
        backoff: BackoffSettings,
        clock: Clock,
        rng: random.Random,
        on_event: Callable[[SupervisorEvent], None],
        ends_with_children: bool = False,
    ) -> None:
        """With `ends_with_children`, `run` returns once every child has ended for good; else it waits for new ones.

        Raises `LocalProtocolError` if two children have the same id.
        """
        self.name = name
        self._strategy = strategy
        self._children = tuple(children)
        self._supervision = supervision
        self._backoff = backoff
        self._clock = clock
        self._rng = rng
        self._on_event = on_event
        self._ends_with_children = ends_with_children
        self._table: _Table | None = None
        self._decisions()

    def spec(self, id: str, *, restart: Restart = Restart.PERMANENT, shutdown_s: float = math.inf) -> ChildSpec:
        """Return this supervisor as a child of another.

        Its children have deadlines of their own, for the start as for the stop; hence none by default for their sum.
        """
        return ChildSpec(id, self.run, restart=restart, shutdown_s=shutdown_s, start_timeout_s=math.inf)

    async def run(self, context: ChildContext) -> None:
        """Supervise until asked to stop.

        Calls ``context.started()`` when each child has started or has failed once (under a group strategy the first
        failure is enough): from then on, bringing children up is this supervisor's everyday work.

        Returns after an orderly stop, no child being left. Raises the child's exception itself if it was fatal, and
        `RestartIntensityExceeded` (from the last failure) after too many restarts, in both cases after an orderly stop.
        If cancelled, cancels every child, waits until they are gone, and lets the cancellation pass.
        """
        if self._table is not None:
            raise LocalProtocolError(f"{self.name} is running already")
        self._table = _Table(self.name, self._decisions(), self._children, self._clock, self._on_event)
        try:
            await self._table.run(context)
        finally:
            self._table = None

    def children(self) -> list[ChildStatus]:
        """Return the children in start order; none while the supervisor does not run. Does not block."""
        return self._table.decisions.status() if self._table is not None else []

    async def start_child(self, spec: ChildSpec) -> None:
        """Add a child at the end and start it. Does not wait until it is up: events and `children` tell.

        The child is forgotten with this run of the supervisor; whoever added it adds it again after a restart. Once it
        has ended for good it stays on the table, under its id, until it is stopped or added again; a temporary child
        leaves by itself.

        Raises `LocalProtocolError` if the id is in use or the strategy is not ``one_for_one``, and `FeedClosed` if
        the supervisor is stopping or not running.
        """
        await trio.lowlevel.checkpoint()
        if self._table is None:
            raise FeedClosed(f"{self.name} is not running and starts no child {spec.id!r}")
        self._table.add(spec)

    async def stop_child(self, id: str) -> None:
        """Stop a child, take it off the table, and return once it is really gone, however long that takes.

        Returns at once if the child waits for a restart or the supervisor is not running. If cancelled, the stop goes
        on without the caller. Raises `LocalProtocolError` if there is no such child.
        """
        await trio.lowlevel.checkpoint()
        if self._table is not None:
            await self._table.remove(id)

    def _decisions(self) -> Supervision:
        return Supervision(
            self.name,
            self._strategy,
            [(spec.id, spec.restart) for spec in self._children],
            supervision=self._supervision,
            backoff=self._backoff,
            uniform=self._rng.random,
            ends_with_children=self._ends_with_children,
        )


class _Table:
    """The running table of one run of a supervisor: performs the decisions and feeds back what happens."""

    def __init__(
        self,
        name: str,
        decisions: Supervision,
        children: Sequence[ChildSpec],
        clock: Clock,
        on_event: Callable[[SupervisorEvent], None],
    ) -> None:
        self.decisions = decisions
        self._name = name
        self._clock = clock
        self._on_event = on_event
        self._specs = {spec.id: spec for spec in children}
        self._alive: dict[str, Incarnation] = {}
        self._events: list[SupervisorEvent] = []
        self._news = trio.Event()
        self._announced = False
        # Shielded, since a cancelled watcher would take the nursery, and with it the orderly end, along.
        self._watch = trio.CancelScope(shield=True)

    async def run(self, context: ChildContext) -> None:
        cancelled: trio.Cancelled | None = None
        if context.stopping.is_set():
            self.decisions.close()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._await_stop, context.stopping)
            try:
                await self._serve(nursery, context)
            except trio.Cancelled as error:
                cancelled = error
                # The children are cancelled instead. How long they take is theirs to bound: see `ChildOverdue`.
                nursery.cancel_scope.shield = True
                self.decisions.hurry()
                await self._serve(nursery, context)
            finally:
                # Somebody is left only if `on_event` raised: the nursery would wait for them for ever.
                for incarnation in self._alive.values():
                    incarnation.cancel()
                self._watch.cancel()
        if self.decisions.cause is not None:
            raise self.decisions.cause
        if cancelled is not None:
            raise cancelled

    def add(self, spec: ChildSpec) -> None:
        self.decisions.add(spec.id, spec.restart)
        self._specs[spec.id] = spec
        self._news.set()

    async def remove(self, id: str) -> None:
        if self.decisions.remove(id):
            self._news.set()
            await self._alive[id].gone.wait()
        else:
            del self._specs[id]

    async def _serve(self, nursery: trio.Nursery, context: ChildContext) -> None:
        """Decide and perform until no child is left."""
        now = self._clock.monotonic_s()
        while True:
            step = self.decisions.decide(now)
            for id in step.stop:
                self._alive[id].stop()
            for id in step.cancel:
                self._alive[id].cancel()
            for id in step.start:
                self._start(id, nursery)
            self._report(now)
            if step.done:
                return
            if self.decisions.ready and not self._announced:
                self._announced = True
                context.started()
            now = await self._wait(step.wake_at_s)

    async def _wait(self, wake_at_s: float) -> float:
        """Wait for news or until `wake_at_s` and return the time."""
        wake_at_s = min([wake_at_s, *(incarnation.report_due_s for incarnation in self._alive.values())])
        with trio.CancelScope(deadline=wake_at_s) as pause:
            await self._news.wait()
        self._news = trio.Event()
        now = self._clock.monotonic_s()
        return max(now, wake_at_s) if pause.cancelled_caught else now

    def _start(self, id: str, nursery: trio.Nursery) -> None:
        incarnation = Incarnation(self._specs[id], self.decisions.incarnation(id), self._note_started)
        self._alive[id] = incarnation
        nursery.start_soon(self._live, incarnation, name=f"{self._name}/{id}")

    async def _live(self, incarnation: Incarnation) -> None:
        error = await incarnation.live()
        del self._alive[incarnation.id]
        self._events += self.decisions.exited(incarnation.id, error, self._clock.monotonic_s())
        if incarnation.id not in self.decisions:
            del self._specs[incarnation.id]
        incarnation.gone.set()
        self._news.set()

    async def _await_stop(self, stopping: trio.Event) -> None:
        with self._watch:
            await stopping.wait()
            self.decisions.close()
            self._news.set()

    def _note_started(self, id: str) -> None:
        self._events += self.decisions.started(id, self._clock.monotonic_s())
        self._news.set()

    def _report(self, now: float) -> None:
        for incarnation in self._alive.values():
            overdue_s = incarnation.overdue_s(now)
            if overdue_s is not None:
                self._events.append(ChildOverdue(self._name, incarnation.id, incarnation.incarnation, overdue_s))
        events, self._events = self._events, []
        for event in events:
            self._on_event(event)
