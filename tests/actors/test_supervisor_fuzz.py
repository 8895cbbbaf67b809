"""Random trees of supervisors over badly behaved children, stopped at a random time in a random way.

Whatever the children do, nobody is left alive, no child lives twice at a time, starts and stops keep their order, and
the stop takes no longer than the supervisor's docstring says.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum

import trio
from attrs import define, evolve, field, frozen
from hypothesis import Phase, event, given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from candleactors.actors.child import ChildContext, ChildSpec, Restart, Strategy
from candleactors.actors.incarnation import Incarnation
from candleactors.actors.root import open_root
from candleactors.actors.supervisor import Supervisor
from candleactors.core.failure import FailureClass
from candleactors.core.lifecycle import (
    ChildEnded,
    ChildFailed,
    ChildStopped,
    GaveUp,
    SupervisorEvent,
)
from candleactors.errors import (
    ConfigError,
    Disconnected,
    FeedClosed,
    LocalProtocolError,
    MalformedMessage,
    RateLimited,
    RestartIntensityExceeded,
)
from candleactors.settings import BackoffSettings, SupervisionSettings
from candleactors.transport.clock import VirtualClock

ERRORS: list[Callable[[], Exception]] = [
    lambda: Disconnected(1006),
    lambda: RateLimited(429, 3.0),
    lambda: MalformedMessage("bad"),
    lambda: ValueError("unforeseen"),
    lambda: ExceptionGroup("g", [Disconnected(1006), ValueError("unforeseen")]),
    lambda: LocalProtocolError("bug"),
    lambda: ConfigError("wrong"),
]
MILD = ERRORS[:5]
WINDOW_S = 8.0
BACKOFF = BackoffSettings(initial_s=0.5, factor=2, max_s=4, jitter=0.3, stable_after_s=10)


class Ending(StrEnum):
    """What a child does once it has run its time."""

    SERVE = "serve"
    RETURN = "return"
    FAIL = "fail"
    HANG = "hang"
    SHIELD = "shield"


@frozen
class Life:
    """One incarnation of a leaf: how it starts, what becomes of it, and how it goes."""

    start_s: float
    starts: bool
    run_s: float
    ending: Ending
    error: int
    shield_s: float
    farewell_s: float
    cleanup_s: float
    cleanup_fails: bool


@frozen
class Leaf:
    lives: tuple[Life, ...]
    restart: Restart
    shutdown_s: float
    start_timeout_s: float

    @property
    def deafness_s(self) -> float:
        """Longest it goes on after having been cancelled."""
        return max(life.shield_s + life.cleanup_s for life in self.lives)

    @property
    def stop_s(self) -> float:
        return self.shutdown_s + self.deafness_s


@frozen
class Branch:
    strategy: Strategy
    children: tuple[Leaf | Branch, ...]
    max_restarts: int
    shutdown_s: float

    @property
    def restart(self) -> Restart:
        return Restart.PERMANENT

    @property
    def deafness_s(self) -> float:
        return max((child.deafness_s for child in self.children), default=0.0)

    @property
    def stop_s(self) -> float:
        return min(sum(child.stop_s for child in self.children), self.shutdown_s + self.deafness_s)


seconds = st.sampled_from([0.0, 0.25, 1.0, 2.5, 7.0])
lives = st.builds(
    Life,
    start_s=seconds,
    starts=st.sampled_from([True, True, True, False]),
    run_s=st.sampled_from([0.0, 0.5, 1.0, 3.0, 8.0, 15.0]),
    ending=st.sampled_from(Ending),
    error=st.integers(0, len(ERRORS) - 1) | st.integers(0, len(MILD) - 1) | st.integers(0, 1),
    shield_s=st.sampled_from([0.0, 0.0, 1.0, 6.0]),
    farewell_s=seconds,
    cleanup_s=st.sampled_from([0.0, 0.0, 0.5, 6.0]),
    cleanup_fails=st.sampled_from([False, False, False, True]),
)
leaves = st.builds(
    Leaf,
    lives=st.lists(lives, min_size=1, max_size=4).map(tuple),
    restart=st.sampled_from([Restart.PERMANENT, Restart.PERMANENT, *Restart]),
    shutdown_s=st.sampled_from([0.0, 1.0, 5.0]),
    start_timeout_s=st.sampled_from([0.5, 3.0, 30.0]),
)


def branches(children: st.SearchStrategy[Leaf | Branch]) -> st.SearchStrategy[Branch]:
    return st.builds(
        Branch,
        strategy=st.sampled_from(Strategy),
        children=st.lists(children, min_size=1, max_size=4).map(tuple),
        max_restarts=st.integers(0, 4),
        shutdown_s=st.sampled_from([1.0, 10.0, math.inf]),
    )


trees = branches(st.recursive(leaves, branches, max_leaves=8))


class StopKind(StrEnum):
    BODY_ENDS = "body ends"
    BODY_FAILS = "body fails"
    HOST_CANCELS = "host cancels"


@frozen
class Errand:
    """Something a bystander does to the tree while it runs: add a leaf somewhere, or stop the n-th child."""

    at_s: float
    branch: int
    leaf: Leaf | None
    victim: int


errands = st.lists(
    st.builds(
        Errand,
        at_s=st.floats(0, 30),
        branch=st.integers(0, 10),
        leaf=st.none() | leaves,
        victim=st.integers(0, 10),
    ),
    max_size=5,
)


class HostError(Exception):
    pass


@define
class Plot:
    """One supervisor of the running tree, and what its children were seen doing since it was started."""

    branch: Branch
    name: str
    order: list[str]
    restart: dict[str, Restart]
    supervisor: Supervisor | None = None
    context: ChildContext | None = None
    alive: dict[str, ChildContext] = field(factory=dict)
    begun_s: dict[str, float] = field(factory=dict)
    """Last start of each child."""
    left_s: dict[str, float] = field(factory=dict)
    """Last end of each child."""
    failed_s: dict[str, float] = field(factory=dict)
    """Last end of each child that called for a restart."""
    sent_away: set[str] = field(factory=set)
    """Children that somebody had stopped by name."""
    counted: list[float] = field(factory=list)
    gave_up: bool = False

    def group(self, id: str) -> list[str]:
        """Those whose failures restart `id` with them."""
        match self.branch.strategy:
            case Strategy.ONE_FOR_ONE:
                return [id]
            case Strategy.ONE_FOR_ALL:
                return self.order
            case Strategy.REST_FOR_ONE:
                return self.order[: self.order.index(id) + 1]

    @property
    def closing(self) -> bool:
        assert self.context is not None
        return self.gave_up or self.context.stopping.is_set() or self.hurried

    @property
    def hurried(self) -> bool:
        assert isinstance(self.context, Incarnation)
        return self.context._scope.cancel_called


class Watched(Supervisor):
    """A supervisor whose plot begins anew with each run."""

    plot: Plot

    async def run(self, context: ChildContext) -> None:
        self.plot.context = context
        self.plot.order = [f"{n}" for n in range(len(self.plot.branch.children))]
        for books in (self.plot.begun_s, self.plot.left_s, self.plot.failed_s, self.plot.sent_away, self.plot.counted):
            books.clear()
        self.plot.gave_up = False
        await super().run(context)


@define
class Stage:
    """Builds the tree, watches it and writes down every broken rule: an assertion would be taken for a child's bug."""

    seed: int
    plots: list[Plot] = field(factory=list)
    problems: list[str] = field(factory=list)

    def build(self, branch: Branch, name: str) -> Watched:
        order = [f"{n}" for n in range(len(branch.children))]
        plot = Plot(branch, name, order, {id: c.restart for id, c in zip(order, branch.children, strict=True)})
        self.plots.append(plot)
        supervisor = Watched(
            branch.strategy,
            [self.spec(plot, id, child) for id, child in zip(order, branch.children, strict=True)],
            name=name,
            supervision=SupervisionSettings(
                max_restarts=branch.max_restarts, restart_window_s=WINDOW_S, breaker_failures=4, breaker_rest_s=6
            ),
            backoff=BACKOFF,
            clock=VirtualClock(0),
            rng=random.Random(self.seed),
            on_event=lambda event: self.note(plot, event),
        )
        supervisor.plot = plot
        plot.supervisor = supervisor
        return supervisor

    def spec(self, plot: Plot, id: str, child: Leaf | Branch) -> ChildSpec:
        if isinstance(child, Branch):
            inner = self.build(child, f"{plot.name}/{id}")

            async def run(context: ChildContext) -> None:
                with self.life(plot, id, context):
                    try:
                        await inner.run(context)
                    finally:
                        if inner.plot.alive:
                            self.problems.append(f"{inner.name} left {set(inner.plot.alive)} behind")

            return ChildSpec(id, run, shutdown_s=child.shutdown_s, start_timeout_s=math.inf)

        leaf = child

        async def play(context: ChildContext) -> None:
            with self.life(plot, id, context):
                await act(leaf.lives[(context.incarnation - 1) % len(leaf.lives)], context)

        return ChildSpec(id, play, leaf.restart, leaf.shutdown_s, leaf.start_timeout_s)

    @contextmanager
    def life(self, plot: Plot, id: str, context: ChildContext) -> Iterator[None]:
        self.enter(plot, id)
        plot.alive[id] = context
        plot.begun_s[id] = trio.current_time()
        try:
            yield
        finally:
            del plot.alive[id]
            plot.left_s[id] = trio.current_time()
            if context.stopping.is_set() and id not in plot.sent_away:
                self.leave_on_request(plot, id)

    def enter(self, plot: Plot, id: str) -> None:
        if id in plot.alive:
            self.problems.append(f"{plot.name}/{id} lives twice")
        if plot.branch.strategy is Strategy.ONE_FOR_ONE:
            return
        now = trio.current_time()
        place = plot.order.index(id)
        for other in plot.order[place + 1 :]:
            if other in plot.alive:
                self.problems.append(f"{plot.name}/{id} starts while {other}, which comes after it, lives")
        for other in plot.order[:place]:
            # What ends in the very moment of the decision may be gone by the time the task runs.
            just_left = plot.left_s.get(other) == now
            if other not in plot.alive and plot.restart[other] is Restart.PERMANENT and not just_left:
                self.problems.append(f"{plot.name}/{id} starts before {other}, which comes before it")
        for other in plot.alive:
            for failed in plot.group(other):
                if plot.begun_s[other] < plot.failed_s.get(failed, -1) < now:
                    self.problems.append(f"{plot.name}/{other} outlived the failure of {failed}")

    def leave_on_request(self, plot: Plot, id: str) -> None:
        place = plot.order.index(id)
        for other in plot.order[place + 1 :]:
            context = plot.alive.get(other)
            if context is not None and not (context.stopping.is_set() and (plot.hurried or other in plot.sent_away)):
                self.problems.append(f"{plot.name}/{id} was stopped before {other}, which comes after it")
        for other in plot.order[:place]:
            context = plot.alive.get(other)
            if context is not None and context.stopping.is_set() and not (plot.hurried or other in plot.sent_away):
                self.problems.append(
                    f"{plot.name}/{other} was asked to stop before {id}, which comes after it, was gone"
                )

    def note(self, plot: Plot, event: SupervisorEvent) -> None:
        now = trio.current_time()
        match event:
            case ChildFailed(child=id, wait_s=wait, failure=failure) if wait is not None:
                plot.failed_s[id] = plot.left_s[id]
                if failure is FailureClass.FATAL:
                    self.problems.append(f"{plot.name}/{id} restarts after a bug")
                if failure is FailureClass.COUNTED:
                    self.count(plot, now)
            case ChildEnded(child=id, wait_s=wait) if wait is not None:
                plot.failed_s[id] = plot.left_s[id]
                self.count(plot, now)
            case ChildStopped(child=id):
                if id in plot.alive:
                    self.problems.append(f"{plot.name}/{id} is called gone but lives")
                needed = any(
                    plot.failed_s.get(other, -1) >= plot.begun_s[id] for other in plot.group(id) if other != id
                )
                if not (needed or plot.closing or id in plot.sent_away):
                    self.problems.append(f"{plot.name}/{id} was stopped without need")
            case GaveUp():
                plot.gave_up = True

    def count(self, plot: Plot, now: float) -> None:
        plot.counted = [*(t for t in plot.counted if t > now - WINDOW_S), now]
        if len(plot.counted) > plot.branch.max_restarts:
            self.problems.append(f"{plot.name} restarted more often than its intensity allows")


async def act(life: Life, context: ChildContext) -> None:
    """Live one life. Past its shields and its cleanup, every path obeys cancellation."""
    try:
        await trio.sleep(life.start_s)
        if life.starts:
            context.started()
        with trio.move_on_after(life.run_s):
            await context.stopping.wait()
        match life.ending:
            case Ending.RETURN:
                return
            case Ending.FAIL:
                raise ERRORS[life.error]()
            case Ending.HANG:
                await trio.sleep_forever()
            case Ending.SHIELD:
                with trio.CancelScope(shield=True):
                    await trio.sleep(life.shield_s)
            case Ending.SERVE:
                pass
        await context.stopping.wait()
        await trio.sleep(life.farewell_s)
    finally:
        with trio.move_on_after(life.cleanup_s, shield=True):
            await trio.sleep_forever()
        if life.cleanup_fails:
            raise ERRORS[life.error]()


def walk(branch: Branch) -> Iterator[Leaf]:
    for child in branch.children:
        if isinstance(child, Branch):
            yield from walk(child)
        else:
            yield child


async def bystander(stage: Stage, errand: Errand, number: int) -> None:
    """Runs one errand; the refusals that the interface announces are fine."""
    await trio.sleep(errand.at_s)
    plot = stage.plots[errand.branch % len(stage.plots)]
    supervisor = plot.supervisor
    assert supervisor is not None
    if errand.leaf is not None:
        id = f"x{number}"
        spec = stage.spec(plot, id, errand.leaf)
        try:
            await supervisor.start_child(spec)
        except (LocalProtocolError, FeedClosed):
            return
        plot.order.append(id)
        plot.restart[id] = errand.leaf.restart
    else:
        children = supervisor.children()
        if not children:
            return
        id = children[errand.victim % len(children)].id
        plot.sent_away.add(id)
        context = plot.alive.get(id)
        try:
            await supervisor.stop_child(id)
        except LocalProtocolError:
            return
        if context is not None and plot.alive.get(id) is context:
            stage.problems.append(f"stop_child returned although {plot.name}/{id} lives")


def ends(stage: Stage, tree: Branch, drain_s: float, stop_at_s: float, kind: StopKind, todo: list[Errand]) -> None:
    """Play the tree to its end and check the end."""
    outcome: list[BaseException] = []
    top = stage.build(tree, "top")
    added = [errand.leaf for errand in todo if errand.leaf is not None]
    bound_s = drain_s + max((leaf.deafness_s for leaf in [*walk(tree), *added]), default=0.0)
    if not added:
        bound_s = evolve(tree, shutdown_s=drain_s).stop_s
    stopped_at: list[float] = []

    async def body() -> None:
        async with trio.open_nursery() as bystanders:
            for number, errand in enumerate(todo):
                bystanders.start_soon(bystander, stage, errand, number)
            try:
                await trio.sleep_until(stop_at_s)
                if kind is StopKind.BODY_FAILS:
                    raise HostError
                if kind is StopKind.HOST_CANCELS:
                    await trio.sleep_forever()
            finally:
                bystanders.cancel_scope.cancel()

    async def main() -> None:
        tasks = trio.lowlevel.current_statistics().tasks_living
        host = trio.CancelScope()
        if kind is StopKind.HOST_CANCELS:
            host.deadline = stop_at_s
        with host:
            try:
                async with open_root(top, drain_s=drain_s):
                    try:
                        await body()
                    finally:
                        stopped_at.append(trio.current_time())
            except Exception as error:  # judged below, outside Trio
                outcome.append(error)
        left = trio.lowlevel.current_statistics().tasks_living - tasks
        if left:
            stage.problems.append(f"{left} tasks are left")
        if stopped_at:
            took_s = trio.current_time() - stopped_at[0]
            if took_s > bound_s + 1e-6:
                stage.problems.append(f"the stop took {took_s} s, more than {bound_s} s")

    trio.run(main, clock=MockClock(autojump_threshold=0))
    for plot in stage.plots:
        if plot.alive:
            stage.problems.append(f"{plot.name} left {set(plot.alive)} alive")
    for error in outcome:
        judge(stage, error, kind)
    event(f"{kind}, {type(outcome[0]).__name__ if outcome else 'clean'}")


def judge(stage: Stage, error: BaseException, kind: StopKind) -> None:
    members = error.exceptions if isinstance(error, BaseExceptionGroup) else (error,)
    for member in members:
        if isinstance(member, BaseExceptionGroup):
            judge(stage, member, kind)
        elif not isinstance(member, RestartIntensityExceeded | LocalProtocolError | ConfigError | HostError):
            stage.problems.append(f"unexpected end: {member!r}")


@settings(max_examples=300, deadline=None, phases=set(Phase) - {Phase.explain})
@given(
    tree=trees,
    drain_s=st.sampled_from([0.5, 5.0, 30.0, 1000.0]),
    stop_at_s=st.floats(0, 40),
    kind=st.sampled_from(StopKind),
    todo=errands,
    seed=st.integers(0, 2**16),
)
def test_any_tree_ends_well(
    tree: Branch, drain_s: float, stop_at_s: float, kind: StopKind, todo: list[Errand], seed: int
) -> None:
    stage = Stage(seed)
    ends(stage, tree, drain_s, stop_at_s, kind, todo)
    assert stage.problems == []
