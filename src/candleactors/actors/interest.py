"""The registry as an actor: owned interest, announced to whoever acts on it, expired in time."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping

import trio

from candleactors.actors.child import ChildContext
from candleactors.actors.waiting import wait_any
from candleactors.core.registry import Registry, RegistryStatus
from candleactors.core.sharding import ShardLimits, ShardPlan
from candleactors.model import Stream
from candleactors.transport.clock import Clock

REFUSED_S = 60.0
"""How long a stream whose subscription was refused is served over REST yet: a symbol may have been delisted, and its
last candles not have been told."""
PARKED_S = 1800.0
"""How long a stream stays parked before it is tried again."""


class Interest:
    """The feed's one `Registry`, and the news of its changes.

    Changes are made and read synchronously, each in one piece. Who acts on them listens, or waits for a new `version`
    of its venue, and then looks at the whole desired state: a change missed is a change seen late, never one lost. The
    object outlives the actor, which merely expires interests.
    """

    def __init__(
        self,
        limits: Mapping[str, ShardLimits],
        clock: Clock,
        on_parked: Callable[[Stream, str], None] = lambda stream, reason: None,
        carrier_of: Callable[[Stream], Stream] = lambda stream: stream,
    ) -> None:
        self._registry = Registry(limits, carrier_of)
        self.carrier_of = carrier_of
        """Returns the stream that is subscribed to deliver another."""
        self._on_parked = on_parked
        self._clock = clock
        self._versions = dict.fromkeys(limits, 0)
        self._news = trio.Event()
        self._listeners: list[Callable[[], None]] = []
        self._parked_until_s: dict[Stream, float] = {}
        self._refused: dict[Stream, tuple[float, str]] = {}  # with until when, and why

    async def run(self, context: ChildContext) -> None:
        """Expire interests, and give parked streams another chance, until asked to stop."""
        context.started()
        while not context.stopping.is_set():
            refused_s = (until_s for until_s, _ in self._refused.values())
            due_s = min((*self._parked_until_s.values(), *refused_s), default=math.inf)
            if (expiry_s := self._registry.next_expiry()) is not None:
                due_s = min(due_s, expiry_s)
            await wait_any(self._news, context.stopping, until_s=due_s)
            now_s = self._clock.monotonic_s()
            self._announce(self._registry.expire(now_s))
            for stream in [stream for stream, until_s in self._parked_until_s.items() if until_s <= now_s]:
                self.release(stream)
            for stream in [stream for stream, (until_s, _) in self._refused.items() if until_s <= now_s]:
                self.park(stream, self._refused[stream][1])

    def watch(
        self, owner: str, streams: Iterable[Stream], *, priority: int = 0, expires_after_s: float | None = None
    ) -> None:
        """See `Registry.watch`; `expires_after_s` counts from now."""
        wanted = tuple(streams)
        expires_at_s = None if expires_after_s is None else self._clock.monotonic_s() + expires_after_s
        self._registry.watch(owner, wanted, priority=priority, expires_at_s=expires_at_s)
        self._announce(dict.fromkeys(stream.venue for stream in wanted))

    def unwatch(self, owner: str, streams: Iterable[Stream] | None = None) -> None:
        """See `Registry.unwatch`."""
        self._announce(self._registry.unwatch(owner, streams))
        for stream in [stream for stream in self._refused if stream not in self._registry.desired(stream.venue)]:
            del self._refused[stream]  # whoever wants it again, tries again

    def refuse(self, stream: Stream, reason: str) -> None:
        """Take notice that the venue refuses to push `stream`: it is parked in `REFUSED_S`."""
        self._refused.setdefault(stream, (self._clock.monotonic_s() + REFUSED_S, reason))
        self._tell()

    def park(self, stream: Stream, reason: str) -> None:
        """Take a stream out of service, for `PARKED_S`: what a venue does not know today it may list tomorrow.

        See `Registry.park`.
        """
        self._refused.pop(stream, None)
        known = stream in self._registry.parked
        self._announce(self._registry.park(stream, reason))
        if not known and stream in self._registry.parked:
            self._parked_until_s[stream] = self._clock.monotonic_s() + PARKED_S
            self._on_parked(stream, reason)

    def release(self, stream: Stream) -> None:
        """Put a parked stream back into service; see `Registry.release`."""
        self._parked_until_s.pop(stream, None)
        self._announce(self._registry.release(stream))

    def rotate(self, venue: str, shard_id: int) -> int | None:
        """See `ShardPlan.rotate`."""
        successor = self._registry.rotate(venue, shard_id)
        self._announce([venue])
        return successor

    def consolidate(self, venue: str) -> int | None:
        """See `ShardPlan.consolidate`."""
        retiring = self._registry.consolidate(venue)
        if retiring is not None:
            self._announce([venue])
        return retiring

    def retired(self, venue: str, shard_id: int) -> None:
        """See `ShardPlan.retired`."""
        self._registry.retired(venue, shard_id)
        self._announce([venue])

    def desired(self, venue: str) -> tuple[Stream, ...]:
        """Return the streams to subscribe at a venue, highest priority first, without the parked."""
        return self._registry.desired(venue)

    def derived(self, venue: str) -> dict[Stream, tuple[Stream, ...]]:
        """Return what is to be made from a venue's streams, by the stream it is made from."""
        return self._registry.derived(venue)

    def plan(self, venue: str) -> ShardPlan:
        """Return the venue's live plan, to read."""
        return self._registry.plan(venue)

    def priority(self, stream: Stream) -> int:
        """Return the highest priority any owner gave the stream."""
        return self._registry.priority(stream)

    def watched(self) -> tuple[Stream, ...]:
        """Return every stream that somebody watches, derived ones and parked ones included, first come first."""
        return self._registry.watched()

    def owners(self, stream: Stream) -> tuple[str, ...]:
        """Return who watches a stream, first come first."""
        return self._registry.owners(stream)

    @property
    def parked(self) -> Mapping[Stream, str]:
        """Every parked stream with its reason: a live, read-only view."""
        return self._registry.parked

    def status(self) -> RegistryStatus:
        """Return a snapshot."""
        return self._registry.status()

    def version(self, venue: str) -> int:
        """Return a number that grows with every change of what is wanted of a venue."""
        return self._versions[venue]

    def listen(self, listener: Callable[[], None]) -> None:
        """Have `listener` called at every change, from within it; it must not block, nor change what is wanted."""
        self._listeners.append(listener)

    async def newer(self, venue: str, version: int) -> int:
        """Wait until the venue's version differs from `version` and return it."""
        while self._versions[venue] == version:
            await self._news.wait()
        return self._versions[venue]

    def _announce(self, venues: Iterable[str]) -> None:
        changed = tuple(venues)
        for venue in changed:
            self._versions[venue] += 1
        if changed:
            self._tell()
            for listener in self._listeners:
                listener()

    def _tell(self) -> None:
        news, self._news = self._news, trio.Event()
        news.set()
