"""The sequencer: the candle contract of all streams of one venue."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from operator import attrgetter

from attrs import define, field, fields

from candleactors.actors.child import ChildContext
from candleactors.actors.delivery import Aside, Delivery
from candleactors.actors.interest import Interest
from candleactors.actors.mailbox import Mailbox
from candleactors.actors.messages import Batch, Compared, Fetched, Open, Opened, SequencerMessage, Wish
from candleactors.core.continuity import Continuity, ContinuityCounters, Memory
from candleactors.core.continuity_rules import ContinuityRules
from candleactors.core.fetch import Urgency
from candleactors.core.gap_count import GapCount
from candleactors.core.venue_clock import VenueClock
from candleactors.model import Event, Gap, Revision, Stream
from candleactors.transport.clock import Clock
from candleactors.venues.base import Codec

CAPACITY = 256
"""Batches waiting at most. While the sequencer is behind, connections stop reading, and TCP slows the venue down."""
_LOOK_EVERY_S = 0.25  # at most: a look costs something for each stream
_MOST_MEMORIES = 1_000  # of streams that are not followed now
_OPEN_AGAIN_S = 30.0  # an answer that never came, because who owed it was restarted
_COUNTERS = tuple(attribute.name for attribute in fields(ContinuityCounters))
_COUNTS = attrgetter(*_COUNTERS)


@define
class SequencerCounters:
    """What happened since the feed began. `untracked` counts candles of streams that are not followed."""

    messages: int = 0
    rejected: int = 0
    ignored: int = 0
    untracked: int = 0
    fetches: Counter[Urgency] = field(factory=Counter)


class Sequencer:
    """Follows every desired stream of a venue, whatever connection its messages come from.

    What is deliverable goes to `deliveries`. What is missing is asked for through `wishes`; the answers come to
    `mailbox`.
    """

    def __init__(
        self,
        codec: Codec,
        rules: ContinuityRules,
        *,
        clock: Clock,
        venue_clock: VenueClock,
        interest: Interest,
        deliveries: Mailbox[Delivery],
        wishes: Mailbox[Wish],
    ) -> None:
        self.mailbox: Mailbox[SequencerMessage] = Mailbox(CAPACITY)
        self.counters = SequencerCounters()
        self.gaps = GapCount()
        """Of the streams that are followed, derived ones not included."""
        self._codec = codec
        self._rules = rules
        self._clock = clock
        self._venue_clock = venue_clock
        self._interest = interest
        self._deliveries = deliveries
        self._wishes = wishes
        self._followed: dict[str, Continuity] = {}
        self._opening: dict[Stream, float] = {}  # streams to follow, to when the store was asked about them
        self._carried: dict[str, Stream] = {}  # what connections carry
        self._heard: dict[str, float] = {}  # when each of them was last heard of, or began to be carried
        self._past = ContinuityCounters()  # of streams no longer followed
        # What outlives a restart of the actor: how far each stream was delivered, what it was, and what was being
        # delivered. The store may be behind all that.
        self._delivered: dict[Stream, int] = {}
        self._memories: dict[Stream, Memory] = {}
        self._outbox: Delivery | None = None
        self._soonest_s = 0.0  # when something is to be asked for, at the earliest
        interest.listen(self.mailbox.interrupt)

    async def run(self, context: ChildContext) -> None:
        """Sequence until asked to stop, then what is left in the mailbox.

        Starts where delivery stands, or from the store: a restart loses what was held, and fetches it again.
        """
        if self._outbox is not None:
            await self._deliver(self._outbox)
        for continuity in self._followed.values():
            self._leave(continuity)
        self._followed, self._opening = {}, {}
        version, look_at_s, self._soonest_s = -1, self._clock.monotonic_s(), 0.0
        async with self.mailbox.attended(context.stopping):
            context.started()
            while not context.stopping.is_set():
                self._outbox = delivery = Delivery()
                self._take_in(await self.mailbox.drain(max(self._soonest_s, look_at_s)), delivery)
                version = self._reconcile(version)
                now_s = self._clock.monotonic_s()
                if now_s >= self._soonest_s and now_s >= look_at_s:
                    look_at_s = now_s + _LOOK_EVERY_S
                    self._open(now_s)
                    self._tick(now_s, delivery)
                    self._soonest_s = self._next_look_s()
                await self._deliver(delivery)
        self._outbox = delivery = Delivery()
        self._take_in(self.mailbox.take_all(), delivery)
        await self._deliver(delivery)

    def totals(self) -> Mapping[str, int]:
        """Return the counters of all streams together, past ones included."""
        counts = [_COUNTS(self._past), *(_COUNTS(continuity.counters) for continuity in self._followed.values())]
        return dict(zip(_COUNTERS, map(sum, zip(*counts, strict=True)), strict=True))

    @property
    def followed(self) -> int:
        """How many streams are followed."""
        return len(self._followed)

    @property
    def repairing(self) -> tuple[Stream, ...]:
        """The streams that wait for missing candles, or for their beginning."""
        return tuple(c.stream for c in self._followed.values() if c.repairing) + tuple(self._opening)

    def expected_ms(self, stream: Stream) -> int | None:
        """Return the open time of the next closed candle of `stream`; ``None`` until its first one is known."""
        continuity = self._followed.get(self._codec.stream_name(stream))
        return None if continuity is None else continuity.expected_ms

    def silences(self) -> dict[Stream, float]:
        """Return for how many seconds nothing was heard on the socket of each stream that a connection carries.

        That includes the time without a connection, and of a stream not heard yet the time since it was first carried.
        """
        now_s = self._clock.monotonic_s()
        return {stream: now_s - self._heard[name] for name, stream in self._carried.items()}

    def _take_in(self, messages: Iterable[SequencerMessage], delivery: Delivery) -> None:
        now_s = self._clock.monotonic_s()
        horizon_ms = self._venue_clock.horizon_ms(now_s, self._clock.wall_ms())
        venue_now_ms = self._venue_clock.now_ms(now_s)
        for message in messages:
            if isinstance(message, Batch):
                self._on_batch(message, now_s, horizon_ms, delivery)
                if venue_now_ms is not None:
                    for name in message.decoded.alive:
                        if continuity := self._followed.get(name):
                            continuity.on_alive(venue_now_ms)
            elif isinstance(message, Opened):
                if self._opening.pop(message.stream, None) is not None:
                    self._follow(message, now_s)
            elif isinstance(message, Compared):
                self._on_compared(message, delivery)
            elif continuity := self._followed.get(self._codec.stream_name(message.fetch.stream)):
                if isinstance(message, Fetched):
                    events = continuity.on_rows(message.fetch, message.rows, now_s, message.venue_now_ms)
                    self._add(continuity.stream, events, delivery)
                else:
                    continuity.on_fetch_failed(message.fetch, now_s)
                self._soonest_s = min(self._soonest_s, continuity.next_check_s)

    def _on_compared(self, compared: Compared, delivery: Delivery) -> None:
        receipt, stream = compared.receipt, compared.stream
        continuity = self._followed.get(self._codec.stream_name(stream))
        if continuity is None:
            receipt.done.set()
            return
        events = continuity.on_compared(compared.revisions)
        self._add(stream, events, delivery)
        receipt.revisions = len(events)
        renew = {} if compared.renew_ms is None else {stream: compared.renew_ms}
        delivery.put_aside(Aside([(event.stream, event) for event in compared.history], renew, [receipt]))

    def _follow(self, opened: Opened, now_s: float) -> None:
        known = (opened.resume_after_ms, self._delivered.get(opened.stream))
        self.gaps.begin(opened.stream, opened.gaps)
        self._followed[self._codec.stream_name(opened.stream)] = Continuity(
            opened.stream,
            self._rules,
            now_s,
            resume_after_ms=max((ms for ms in known if ms is not None), default=None),
            gaps=opened.gaps,
            recent=opened.recent,
            memory=self._memories.pop(opened.stream, None),
        )
        self._soonest_s = now_s

    def _on_batch(self, batch: Batch, now_s: float, horizon_ms: int, delivery: Delivery) -> None:
        decoded, followed, counters = batch.decoded, self._followed, self.counters
        counters.messages += decoded.messages
        counters.rejected += len(decoded.rejected)
        counters.ignored += decoded.ignored
        # At the speed of C, like all that is done for each forming candle.
        self._heard.update(dict.fromkeys(decoded.open, now_s))
        for name in decoded.alive:
            self._heard[name] = now_s
        for name, candle in decoded.closed:
            self._heard[name] = now_s
            if (continuity := followed.get(name)) is None:
                counters.untracked += 1
                continue
            if events := continuity.on_closed(candle, now_s, horizon_ms):
                self._add(continuity.stream, events, delivery)
            if continuity.next_check_s < self._soonest_s:
                self._soonest_s = continuity.next_check_s
        forming, received_ms = delivery.forming, batch.received_ms
        for name, wire in decoded.open.items():
            if (continuity := followed.get(name)) is None:
                counters.untracked += 1
            elif continuity.on_open(wire.open_time_ms, wire.event_time_ms, now_s, horizon_ms, wire.traded):
                forming[continuity.stream] = (wire, received_ms)
            elif continuity.next_check_s < self._soonest_s:
                self._soonest_s = continuity.next_check_s

    def _reconcile(self, version: int) -> int:
        """Follow what connections carry and nothing else; return the version of the interest that was looked at.

        Streams that wait for room are left out: polling them over REST would eat the budget that repairs need.
        """
        venue = self._codec.rules.venue
        current = self._interest.version(venue)
        if current != version:
            plan = self._interest.plan(venue)
            carried = [stream for stream in self._interest.desired(venue) if plan.shard_of(stream) is not None]
            names = {self._codec.stream_name(stream): stream for stream in carried}
            for name in [name for name in self._followed if name not in names]:
                self._leave(self._followed.pop(name))
            self._opening = {stream: self._opening[stream] for stream in carried if stream in self._opening}
            for name, stream in names.items():
                if name not in self._followed:
                    self._opening.setdefault(stream, 0.0)
            now_s = self._clock.monotonic_s()
            self._heard = {name: self._heard.get(name, now_s) for name in names}
            self._carried = names
            self.gaps.keep(frozenset(carried))
            self._soonest_s = 0.0
        return current

    def _open(self, now_s: float) -> None:
        due = tuple(stream for stream, again_s in self._opening.items() if again_s <= now_s)
        if due and self._wishes.offer(Open(due)):
            self._opening.update(dict.fromkeys(due, now_s + _OPEN_AGAIN_S))

    def _tick(self, now_s: float, delivery: Delivery) -> None:
        venue_now_ms = self._venue_clock.now_ms(now_s)
        for continuity in self._followed.values():
            if continuity.next_check_s <= now_s:
                events, fetch = continuity.tick(now_s, venue_now_ms)
                self._add(continuity.stream, events, delivery)
                if fetch is not None and self._wishes.offer(fetch):
                    continuity.asked(fetch, now_s)
                    self.counters.fetches[fetch.urgency] += 1

    def _next_look_s(self) -> float:
        checks = [continuity.next_check_s for continuity in self._followed.values()]
        return min([*checks, *self._opening.values()], default=math.inf)

    async def _deliver(self, delivery: Delivery) -> None:
        if delivery.events or delivery.forming or delivery.aside is not None:
            await self._deliveries.put(delivery)
        self._outbox = None
        for stream, event in delivery.events:
            if not isinstance(event, Revision):
                self._delivered[stream] = event.last_open_ms if isinstance(event, Gap) else event.open_time_ms

    def _leave(self, continuity: Continuity) -> None:
        """Keep of a stream that is not followed any more what counts when it is followed again."""
        self._memories[continuity.stream] = continuity.memory
        if len(self._memories) > _MOST_MEMORIES + len(self._followed):
            del self._memories[next(iter(self._memories))]
        for key in _COUNTERS:
            setattr(self._past, key, getattr(self._past, key) + getattr(continuity.counters, key))

    def _add(self, stream: Stream, events: list[Event], delivery: Delivery) -> None:
        for event in events:
            delivery.add(stream, event)
            if isinstance(event, Gap):
                self.gaps.on_gap(event)
            elif isinstance(event, Revision):
                self.gaps.on_revised(stream, event.candle.open_time_ms)
