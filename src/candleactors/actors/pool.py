"""The pool: runs exactly the shards of the registry's plan, and replaces them before the venue ends them."""

from __future__ import annotations

import math
import random
from collections.abc import Callable

from attrs import frozen

from candleactors.actors.child import ChildContext, ChildSpec
from candleactors.actors.interest import Interest
from candleactors.actors.mailbox import Mailbox
from candleactors.actors.shard import LiveConnection, Shard
from candleactors.actors.supervisor import Supervisor
from candleactors.actors.traffic import Reason
from candleactors.settings import VenueSettings
from candleactors.transport.clock import Clock

CAPACITY = 64
"""Notices waiting at most; one that finds no room is repeated by the venue's close."""
_LOOK_EVERY_S = 0.5  # while a connection is on its way in or out
_CONSOLIDATE_EVERY_S = 30.0
_ROTATION_SPREAD = 0.1  # connections opened together do not end together


@frozen
class ClosingSoon:
    """The venue announced that it will close this shard's connection. To the pool."""

    shard_id: int


class Pool:
    """Starts and stops shards as the plan says, make-before-break.

    A shard is a child of `sources` under the id ``shard-<n>``. A retiring shard is stopped once every shard that
    carries its streams now is flowing, or has been settled for ``flowing_timeout_s``, since quiet streams do not flow;
    or once its own connection is gone. The object outlives the actor; a restart finds the running shards in `shards`.
    """

    def __init__(
        self,
        venue: str,
        settings: VenueSettings,
        *,
        clock: Clock,
        rng: random.Random,
        interest: Interest,
        sources: Callable[[], Supervisor],
        shard_spec: Callable[[Shard], ChildSpec],
    ) -> None:
        self.mailbox: Mailbox[ClosingSoon] = Mailbox(CAPACITY)
        self.shards: dict[int, Shard] = {}
        self.rotations = 0
        """Shards replaced by a successor so far."""
        self._venue = venue
        self._settings = settings
        self._clock = clock
        self._rng = rng
        self._interest = interest
        self._sources = sources
        self._shard_spec = shard_spec
        self._lifetimes: dict[int, float] = {}
        self._settled: dict[int, tuple[LiveConnection, float]] = {}  # with since when
        self._reasons: dict[int, Reason] = {}  # of successors that were planned and not started yet
        interest.listen(self.mailbox.interrupt)

    async def run(self, context: ChildContext) -> None:
        """Reconcile until asked to stop. The shards themselves are stopped by their supervisor."""
        version, look_at_s, consolidate_at_s = -1, 0.0, self._clock.monotonic_s() + _CONSOLIDATE_EVERY_S
        async with self.mailbox.attended(context.stopping):
            context.started()
            while not context.stopping.is_set():
                for notice in await self.mailbox.drain(look_at_s):
                    self._replace(notice.shard_id, Reason.ANNOUNCED)
                now_s = self._clock.monotonic_s()
                self._rotate(now_s)
                if now_s >= consolidate_at_s:
                    consolidate_at_s = now_s + _CONSOLIDATE_EVERY_S
                    self._interest.consolidate(self._venue)
                self._retire(now_s)
                if (current := self._interest.version(self._venue)) != version:
                    version = current
                    await self._reconcile()
                look_at_s = min(self._next_look_s(now_s), consolidate_at_s)

    async def _reconcile(self) -> None:
        """Make the running shards those of the plan."""
        plan, sources = self._interest.plan(self._venue), self._sources()
        planned = (*plan.active, *plan.retiring)
        self._reasons = {shard_id: reason for shard_id, reason in self._reasons.items() if shard_id in planned}
        running = {status.id for status in sources.children()}
        for shard_id in [shard_id for shard_id in self.shards if shard_id not in planned]:
            if _child_id(shard_id) in running:
                await sources.stop_child(_child_id(shard_id))
            self._forget(shard_id)
        for shard_id in planned:
            if shard_id not in self.shards or _child_id(shard_id) not in running:
                reason = Reason.RESTART if shard_id in self.shards else self._reasons.pop(shard_id, Reason.START)
                self.shards[shard_id] = Shard(shard_id, reason=reason)
                await sources.start_child(self._shard_spec(self.shards[shard_id]))

    def _next_look_s(self, now_s: float) -> float:
        """Return when there may be something to do, unless somebody tells before."""
        plan = self._interest.plan(self._venue)
        if plan.retiring or any(shard_id not in self._settled for shard_id in plan.active):
            return now_s + _LOOK_EVERY_S
        return min((self._rotation_s(shard_id) for shard_id in plan.active), default=math.inf)

    def _rotate(self, now_s: float) -> None:
        """Replace the connections that are about to reach the venue's lifetime."""
        for shard_id in self._interest.plan(self._venue).active:
            if now_s >= self._rotation_s(shard_id):
                self._replace(shard_id, Reason.ROTATION)

    def _rotation_s(self, shard_id: int) -> float:
        limit_s, connection = self._settings.rotate_after_s, self._connection(shard_id)
        if limit_s is None or connection is None:
            return math.inf
        spread = self._lifetimes.setdefault(shard_id, 1 - _ROTATION_SPREAD * self._rng.random())
        return connection.connected_at_s + limit_s * spread

    def _replace(self, shard_id: int, reason: Reason) -> None:
        if shard_id in self._interest.plan(self._venue).active:
            successor = self._interest.rotate(self._venue, shard_id)
            self.rotations += 1
            if successor is not None:
                self._reasons[successor] = reason

    def _retire(self, now_s: float) -> None:
        """Let go of the retiring shards that are not needed any more."""
        plan = self._interest.plan(self._venue)
        for shard_id in plan.active:
            connection = self._connection(shard_id)
            if connection is None or not connection.settled:
                self._settled.pop(shard_id, None)
            elif shard_id not in self._settled or self._settled[shard_id][0] is not connection:
                self._settled[shard_id] = (connection, now_s)
        for shard_id in plan.retiring:
            gone = shard_id in self.shards and self.shards[shard_id].connection is None
            if gone or all(self._carries(successor, now_s) for successor in plan.successors(shard_id)):
                self._interest.retired(self._venue, shard_id)

    def _carries(self, shard_id: int, now_s: float) -> bool:
        connection = self._connection(shard_id)
        settled, since_s = self._settled.get(shard_id, (None, now_s))
        if connection is None or connection is not settled:
            return False
        return connection.flowing or now_s - since_s >= self._settings.flowing_timeout_s

    def _connection(self, shard_id: int) -> LiveConnection | None:
        shard = self.shards.get(shard_id)
        return None if shard is None else shard.connection

    def _forget(self, shard_id: int) -> None:
        del self.shards[shard_id]
        self._lifetimes.pop(shard_id, None)
        self._settled.pop(shard_id, None)


def _child_id(shard_id: int) -> str:
    return f"shard-{shard_id}"
