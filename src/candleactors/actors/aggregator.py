"""The aggregator: derived candles of all symbols of one venue, between the sequencer and those who take deliveries."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import trio
from attrs import define, evolve

from candleactors.actors.child import ChildContext
from candleactors.actors.delivery import Delivery, Forming
from candleactors.actors.hub import Hub
from candleactors.actors.interest import Interest
from candleactors.actors.mailbox import Mailbox
from candleactors.actors.store_writer import StoreWriter
from candleactors.core.cascade import cascade
from candleactors.core.derivation import Derivation, Derived
from candleactors.core.warm_start import Told, begins_ms, doubtful, news
from candleactors.errors import StoreUnavailable
from candleactors.model import MINUTE_MS, Candle, Event, Gap, Revision, Stream
from candleactors.settings import AggregationSettings
from candleactors.stores.base import Store

CAPACITY = 256
"""Deliveries waiting at most; while there are so many, the sequencer waits."""
_WARM_AGAIN_S = 1.0  # after the store could not be read
_TURN_S = 0.1  # of building, before what has come meanwhile is handed on
_ROWS_AT_ONCE = 500  # to derive from before others have their turn
_FAR_MS = 2**53


@define
class AggregatorCounters:
    """What happened since the feed began."""

    derived: int = 0
    """Derived candles, gaps and revisions handed on."""
    warm_starts: int = 0
    """Times a symbol's derived candles were built from the store."""


class _Constituent:
    """The forming source candle that several derived ones contain, made once."""

    __slots__ = ("_candle", "_forming", "_source", "expected_ms")

    def __init__(self, source: Stream, expected_ms: int, forming: Forming) -> None:
        self.expected_ms = expected_ms
        self._source = source
        self._forming = forming
        self._candle: Candle | None = None

    def candle(self) -> Candle | None:
        if self._candle is None:
            wire, received_ms = self._forming
            self._candle = wire.to_candle(self._source, received_ms)
        return self._candle


class _FormingDerived:
    """A derived candle that is forming; out of date as soon as another constituent has closed."""

    __slots__ = ("_constituent", "_derivation", "_number", "open_time_ms")

    def __init__(self, derivation: Derivation, number: int, open_time_ms: int, constituent: _Constituent) -> None:
        self.open_time_ms = open_time_ms
        self._derivation = derivation
        self._number = number
        self._constituent = constituent

    def to_candle(self, stream: Stream, received_ms: int) -> Candle | None:
        """See `FormingCandle.to_candle`."""
        if self._derivation.expected_ms != self._constituent.expected_ms:
            return None
        formed = self._derivation.forming(self._constituent.candle(), (self._number,))
        return formed.get(self._number)


class Aggregator:
    """Adds to every delivery of the sequencer what derives from it, and hands it on as one.

    All of a boundary, whatever the number of symbols and timeframes, is one step: first to the store writer and then to
    the hub, so that whatever a subscriber has seen is on its way to the store. A symbol's derived candles are first
    built from the store, which holds all that was delivered: at the start, when other timeframes are wanted, after a
    correction of something long past, and after this actor was restarted. What the store has is not said again.
    """

    def __init__(
        self,
        venue: str,
        settings: AggregationSettings,
        *,
        interest: Interest,
        store: Store,
        writer: StoreWriter,
        hub: Hub,
        on_trouble: Callable[[StoreUnavailable], None],
    ) -> None:
        self.mailbox: Mailbox[Delivery] = Mailbox(CAPACITY)
        self.counters = AggregatorCounters()
        self._venue = venue
        self._settings = settings
        self._interest = interest
        self._store = store
        self._writer = writer
        self._hub = hub
        self._on_trouble = on_trouble
        self._wanted: dict[Stream, tuple[Stream, ...]] = {}
        self._derivations: dict[Stream, Derivation] = {}
        # Sources to build from the store, and those of them that have something new there.
        self._cold: dict[Stream, None] = {}
        self._due: dict[Stream, None] = {}
        self._forming: dict[Stream, list[tuple[int, Stream]]] = {}
        # What outlives a restart of the actor: what it had taken out of the mailbox, what it was handing on, and the
        # earliest interval of each source that it handed on and did not work in yet.
        self._in_hand: list[Delivery] = []
        self._outbox: Delivery | None = None
        self._postponed: dict[Stream, int] = {}
        interest.listen(self.mailbox.interrupt)

    async def run(self, context: ChildContext) -> None:
        """Aggregate until asked to stop, then what is left in the mailbox."""
        if self._outbox is not None:
            await self._deliver(self._outbox)
        self._wanted, self._derivations, self._forming, self._cold, self._due = {}, {}, {}, {}, {}
        versions, warm_at_s = self._reconcile((-1, -1)), 0.0
        async with self.mailbox.attended(context.stopping):
            context.started()
            while not context.stopping.is_set():
                warming = bool(self._due) and trio.current_time() >= warm_at_s
                wake_s = warm_at_s if self._due else math.inf
                self._in_hand += self.mailbox.take_all() if warming else await self.mailbox.drain(wake_s)
                now_s = trio.current_time()
                versions = self._reconcile(versions)
                await self._aggregate()
                if self._due and now_s >= warm_at_s and not await self._warm_up(now_s + _TURN_S):
                    warm_at_s = now_s + _WARM_AGAIN_S
        self._in_hand += self.mailbox.take_all()
        await self._aggregate()

    @property
    def derived(self) -> int:
        """How many streams are derived."""
        return sum(len(derivation.streams) for derivation in self._derivations.values())

    @property
    def cold(self) -> int:
        """How many sources wait for their derived candles to be built from the store."""
        return len(self._cold)

    def is_to_build(self, source: Stream) -> bool:
        """Whether `source` is one of these."""
        return source in self._cold

    def _reconcile(self, versions: tuple[int, int]) -> tuple[int, int]:
        """Derive what is wanted and nothing else; return the versions of what was looked at."""
        current = self._interest.version(self._venue), self._hub.forming_version
        if current[0] != versions[0]:
            wanted = self._interest.derived(self._venue)
            for source in [source for source in self._wanted if wanted.get(source) != self._wanted[source]]:
                for state in (self._derivations, self._cold, self._due):
                    state.pop(source, None)
            for source, streams in wanted.items():
                if self._wanted.get(source) != streams:
                    self._cold[source] = self._due[source] = None
            self._wanted = wanted
            self._postponed = {source: open_ms for source, open_ms in self._postponed.items() if source in wanted}
        if current != versions:
            self._forming = {source: self._formed(derivation) for source, derivation in self._derivations.items()}
        return current

    def _formed(self, derivation: Derivation) -> list[tuple[int, Stream]]:
        """Return the streams whose forming candles somebody reads, with their numbers."""
        wants = self._hub.wants_forming
        return [(number, stream) for number, stream in enumerate(derivation.streams) if wants(stream)]

    async def _aggregate(self) -> None:
        """Hand on what is in hand, with what derives from it."""
        if not self._in_hand:
            return
        outgoing = Delivery()
        for delivery in self._in_hand:
            for stream, event in delivery.events:
                outgoing.add(stream, event)
                if (derivation := self._derivations.get(stream)) is not None:
                    self._derive(derivation, event, outgoing)
                elif stream in self._cold:
                    self._postpone(stream, _first_ms(event))
            for stream, forming in delivery.forming.items():
                outgoing.forming[stream] = forming
                if formed := self._forming.get(stream):
                    self._add_forming(self._derivations[stream], formed, forming, outgoing)
            if delivery.aside is not None:
                outgoing.put_aside(delivery.aside)
                for source, first_ms in delivery.aside.renew.items():
                    self._renew(source, first_ms)
        self._outbox, self._in_hand = outgoing, []
        await self._deliver(outgoing)

    def _derive(self, derivation: Derivation, event: Candle | Gap | Revision, outgoing: Delivery) -> None:
        if isinstance(event, Gap):
            derived = derivation.on_gap(event)
        else:
            candle = event.candle if isinstance(event, Revision) else event
            if not derivation.remembers(candle.open_time_ms):
                self._renew(derivation.source, _first_ms(event))
                return
            derived = derivation.on_candle(candle)
        self._add(derived, outgoing)

    def _add(self, derived: list[Derived], outgoing: Delivery) -> None:
        self.counters.derived += len(derived)
        if outgoing.forming:
            for stream, event in derived:
                outgoing.add(stream, event)
        else:
            outgoing.events += derived

    def _add_forming(
        self, derivation: Derivation, formed: Iterable[tuple[int, Stream]], forming: Forming, outgoing: Delivery
    ) -> None:
        expected_ms = derivation.expected_ms
        if expected_ms is None or forming[0].open_time_ms != expected_ms:
            return  # what comes between is not known yet
        constituent = _Constituent(derivation.source, expected_ms, forming)
        for number, stream in formed:
            open_ms = stream.timeframe.floor(expected_ms)
            outgoing.forming[stream] = (_FormingDerived(derivation, number, open_ms, constituent), forming[1])

    async def _deliver(self, delivery: Delivery) -> None:
        aside = delivery.aside
        if delivery.events or (aside is not None and aside.stored):
            await self._writer.mailbox.put(delivery.events if aside is None else [*delivery.events, *aside.stored])
        if delivery.events or delivery.forming:
            await self._hub.mailbox.put(delivery)
        self._outbox = None
        for receipt in aside.receipts if aside is not None else ():
            receipt.done.set()

    # -- from the store ---------------------------------------------------------------------------------------------

    def _cool(self, source: Stream) -> None:
        """Have a symbol's derived candles built anew."""
        del self._derivations[source]
        self._forming.pop(source, None)
        self._cold[source] = None

    def _renew(self, source: Stream, first_ms: int) -> None:
        """Have a symbol's derived candles built anew, from `first_ms` on at the latest."""
        if source in self._derivations:
            self._cool(source)
        if source in self._cold:
            self._postpone(source, first_ms)

    def _postpone(self, source: Stream, first_ms: int) -> None:
        """Have the source built from the store with what came at `first_ms`, however long ago that was."""
        self._due[source] = None
        self._postponed[source] = min(first_ms, self._postponed.get(source, first_ms))

    async def _warm_up(self, until_s: float) -> bool:
        """Build what is cold from the store, which has everything that was delivered; say whether it could be read.

        Goes on until `until_s`, with one source at least.
        """
        try:
            await self._writer.flush()
            for source in list(self._due):
                await self._build(source)
                del self._due[source]
                if trio.current_time() >= until_s:
                    break
        except StoreUnavailable as error:
            self._on_trouble(error)
            return False
        return True

    async def _build(self, source: Stream) -> None:
        streams = self._wanted[source]
        timeframes = tuple(stream.timeframe for stream in streams)
        warm_ms = await self._warm_ms(source)
        if warm_ms is None:
            return  # its first candles come to be stored, and then here again
        rows = await self._rows(source, begins_ms(timeframes, warm_ms))
        first_ms = _first_ms(rows[0])
        plan = cascade(source.timeframe, timeframes)
        derivation = Derivation(source, plan, self._memory(source), silent_until_ms=warm_ms)
        derived, until_ms = await _derived(derivation, rows)
        said = await self._store.tails({stream: stream.timeframe.floor(warm_ms) for stream in streams})
        told = {stream: Told(stream, said.get(stream, ())) for stream in streams}
        for stream in doubtful(derived, told, until_ms):
            told[stream].add_gaps(await self._store.gaps(stream))
        self._outbox = outgoing = Delivery(events=news(derived, told, first_ms, until_ms))
        for candle in [candle for each in told.values() for candle in each.candles]:
            derivation.said(candle)
        derivation.leave_out(first_ms)
        del self._cold[source]
        self._postponed.pop(source, None)
        self._derivations[source] = derivation
        self._forming[source] = self._formed(derivation)
        self.counters.warm_starts += 1
        self.counters.derived += len(outgoing.events)
        await self._deliver(outgoing)

    async def _warm_ms(self, source: Stream) -> int | None:
        """Return from when on what ends is to be told; ``None`` where the store has no candle of the source."""
        newest = (await self._store.tails({source: _FAR_MS})).get(source)
        if newest is None:
            return None
        # What is within memory must be there, or a correction would take the rest of its interval for missing.
        minutes = max(self._settings.warm_start_minutes, self._settings.memory_minutes)
        newest_ms = newest[-1].next_open_time_ms
        warm_ms = newest_ms - minutes * MINUTE_MS
        behind_ms = await self._behind_ms(self._wanted[source], warm_ms)
        warm_ms = min(warm_ms, max(behind_ms, newest_ms - self._settings.catch_up_minutes * MINUTE_MS))
        return min(warm_ms, self._postponed.get(source, warm_ms))

    async def _behind_ms(self, streams: Iterable[Stream], warm_ms: int) -> int:
        """Return from when on something is to be made up for that was not derived for a while; `warm_ms` if nothing."""
        told = await self._store.tails(dict.fromkeys(streams, _FAR_MS))
        untold = [(stream.timeframe, newest[-1].next_open_time_ms) for stream, newest in told.items()]
        # What ends later is told anyway.
        return min(
            (open_ms for timeframe, open_ms in untold if timeframe.next_open(open_ms) <= warm_ms), default=warm_ms
        )

    async def _rows(self, source: Stream, start_ms: int) -> list[Candle | Gap]:
        """Return what the store has of a source from `start_ms` on, ascending."""
        candles = (await self._store.tails({source: start_ms}))[source]
        gaps = [gap for gap in await self._store.gaps(source) if gap.last_open_ms >= start_ms]
        clipped = [evolve(gap, first_open_ms=max(gap.first_open_ms, start_ms)) for gap in gaps]
        return sorted([*candles, *clipped], key=_first_ms)

    def _memory(self, source: Stream) -> int:
        return max(1, self._settings.memory_minutes * MINUTE_MS // source.timeframe.nominal_ms)


async def _derived(derivation: Derivation, rows: list[Candle | Gap]) -> tuple[list[Derived], int]:
    """Feed ascending rows to a new derivation; return what it makes of them and where they end.

    A checkpoint now and then.
    """
    derived: list[Derived] = []
    for number, row in enumerate(rows):
        derived += derivation.on_gap(row) if isinstance(row, Gap) else derivation.on_candle(row)
        if number % _ROWS_AT_ONCE == 0:
            await trio.lowlevel.checkpoint()
    assert derivation.expected_ms is not None, "built from nothing"
    return derived, derivation.expected_ms


def _first_ms(event: Event) -> int:
    if isinstance(event, Gap):
        return event.first_open_ms
    return (event.candle if isinstance(event, Revision) else event).open_time_ms
