"""Sync: compares whole stretches of streams with their venue, at leisure, and has what differs put right."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import aclosing
from functools import partial
from typing import TypeVar

import trio
from attrs import frozen

from candleactors.actors.backfill import RestTrouble
from candleactors.actors.child import ChildContext
from candleactors.actors.comparing import Comparer
from candleactors.actors.delivery import Receipt
from candleactors.actors.deriving import derived_history
from candleactors.actors.interest import Interest
from candleactors.actors.mailbox import Mailbox
from candleactors.actors.messages import Compared, SequencerMessage
from candleactors.actors.persistence import persistently
from candleactors.actors.rest import VenueRest
from candleactors.actors.store_writer import StoreWriter
from candleactors.core.absences import Absences, Beginning, outages
from candleactors.core.backoff import Backoff
from candleactors.core.continuity_rules import ContinuityRules
from candleactors.core.discrepancies import Discrepancies
from candleactors.core.errands import Errand, Errands
from candleactors.core.fetch import Urgency
from candleactors.core.holes import HoleReason, absent, confirmed, first_open, holes
from candleactors.core.stretches import Stretch, plan
from candleactors.core.venue_clock import VenueClock
from candleactors.errors import CandleactorsError, InvalidSymbol, TransientError
from candleactors.model import Candle, Gap, Stream
from candleactors.stores.base import Store
from candleactors.transport.clock import Clock

T = TypeVar("T")

PATIENCE_S = 300.0
"""How long a stream is waited for that has not begun yet."""
_LIVES = 3  # of the actor that one errand may take
_LOOK_AGAIN_S = 1.0  # while streams are waited for
_MOST_ROWS = 1_000


@frozen
class SyncDeps:
    """What a `Sync` works with."""

    rest: VenueRest
    store: Store
    writer: StoreWriter
    interest: Interest
    rules: ContinuityRules
    clock: Clock
    venue_clock: VenueClock
    sequencer: Mailbox[SequencerMessage]
    expected_ms: Callable[[Stream], int | None]
    """Returns how far a stream was delivered: when its next candle opens; ``None`` before it has begun."""
    backoff: Backoff
    on_trouble: Callable[[RestTrouble], None]


class Sync:
    """Does the `Errands` of one venue, one after the other, one request at a time.

    It asks as comparisons do, with what repairs leave of the budget. What differs is looked at again a moment later,
    at the venue and in the store, and only then handed to the sequencer: what subscribers were told is corrected by
    revisions, what is older than everything stored goes to the store alone. The errands outlive the actor, which goes
    on where its earlier life stood, twice at most.
    """

    def __init__(self, venue: str, deps: SyncDeps) -> None:
        self._venue = venue
        self._deps = deps
        self._comparer = Comparer(
            deps.rest, deps.store, deps.rules, deps.writer.flush, urgency=Urgency.VERIFY, most_rows=_MOST_ROWS
        )
        self._errands = Errands()
        self._asked = trio.Event()
        self._waited_for: dict[Errand, float] = {}  # since when
        self._ended = trio.Event()
        self.begins_ms: dict[Stream, int] = {}
        """When the venue's first candles open, of streams for which that was found."""

    def ask(self, stream: Stream, start_ms: int | None, *, lacking: bool = False) -> Errand:
        """Have `stream` compared from `start_ms` on; ``None``: its most recent candles and all of its holes.

        With `lacking`, only what is not stored is asked for; without `start_ms`, only what lies in holes. What is known
        to be an outage of the venue is no hole. Does not block; the errand says how far it has come. A stream that
        nobody watches is given up.
        """
        errand = self._errands.ask(stream, start_ms, lacking)
        self._asked.set()
        return errand

    async def ended(self, errand: Errand) -> None:
        """Return once `errand` is done or given up."""
        await trio.lowlevel.checkpoint()
        while errand.ended_ms is None:
            await self._ended.wait()

    def works_on(self, stream: Stream) -> bool:
        """Whether `stream` is being compared, or waits for its turn."""
        current = self._errands.current
        return any(errand.stream == stream for errand in (*self._errands.waiting, *([current] if current else [])))

    async def run(self, context: ChildContext) -> None:
        """Compare until asked to stop; what is under way then goes on with the next life, if there is one."""
        self._waited_for = {}
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._work)
            context.started()
            await context.stopping.wait()
            nursery.cancel_scope.cancel()

    async def _work(self) -> None:
        while True:
            errand = await self._next()
            errand.lives += 1
            if errand.lives > _LIVES:
                self._end(errand, "whoever compared it failed again and again")
                continue
            try:
                await self._compare(errand)
            except CandleactorsError as error:
                self._end(errand, str(error))
            else:
                self._end(errand)

    async def _next(self) -> Errand:
        """Return the next errand whose stream can be compared, waiting for one; give up those that never can be.

        What an earlier life of the actor had begun comes first.
        """
        while True:
            self._asked = trio.Event()
            errands, wanted = self._errands, self._wanted()
            for errand in (errands.current,) if errands.current is not None else errands.waiting:
                obstacle = self._obstacle(errand.stream, wanted)
                if obstacle is None and self._has_begun(errand.stream):
                    self._waited_for.pop(errand, None)
                    errands.begin(errand)
                    return errand
                now_s = self._deps.clock.monotonic_s()
                if obstacle is None and now_s >= self._waited_for.setdefault(errand, now_s) + PATIENCE_S:
                    obstacle = "no candle of it has come yet"
                if obstacle is not None:
                    self._end(errand, obstacle)
            waiting = errands.current is not None or errands.waiting
            with trio.move_on_after(_LOOK_AGAIN_S if waiting else math.inf):
                await self._asked.wait()

    def _has_begun(self, stream: Stream) -> bool:
        deps = self._deps
        clock_known = deps.venue_clock.now_ms(deps.clock.monotonic_s()) is not None
        return clock_known and deps.expected_ms(stream) is not None

    def _wanted(self) -> frozenset[Stream]:
        return frozenset(self._deps.interest.desired(self._venue))

    def _obstacle(self, stream: Stream, wanted: frozenset[Stream]) -> str | None:
        """Return why nobody can compare the stream, if so."""
        reason = self._deps.interest.parked.get(stream)
        if reason is not None:
            return f"parked: {reason}"
        return None if stream in wanted else "nobody watches it"

    def _end(self, errand: Errand, error: str | None = None) -> None:
        self._waited_for.pop(errand, None)
        self._errands.end(errand, self._deps.clock.wall_ms(), error)
        self._ended.set()
        self._ended = trio.Event()

    # -- comparing --------------------------------------------------------------------------------------------------

    async def _compare(self, errand: Errand) -> None:
        stream, deps = errand.stream, self._deps
        until_ms = deps.expected_ms(stream)
        if until_ms is None:
            raise TransientError("it begins anew")
        await self._hand_in(stream)  # nothing: what was delivered by now is on its way to the store once that has come
        gaps = await self._persistently(stream, partial(self._stored_gaps, stream))
        if errand.oldest_ms is None:
            errand.oldest_ms = await self._persistently(stream, partial(self._oldest_ms, stream, gaps))
        absences, beginning = Absences(errand.oldest_ms, until_ms), Beginning()
        for piece in await self._pieces(errand, until_ms, gaps):
            if (obstacle := self._obstacle(stream, self._wanted())) is not None:
                raise TransientError(obstacle)
            found = await self._look(stream, piece)
            errand.candles += found.compared
            await self._take(errand, piece, found, absences)
            errand.resume_ms = piece.start_ms
            older = errand.oldest_ms is None or piece.until_ms <= errand.oldest_ms
            if beginning.passed(piece.until_ms - piece.start_ms, empty=older and not found.compared):
                self.begins_ms[stream] = errand.extended_ms or errand.oldest_ms or until_ms
                break
        if errand.extended_ms is not None and errand.oldest_ms is not None:
            await self._derive(errand, errand.extended_ms, errand.oldest_ms)

    async def _take(self, errand: Errand, piece: Stretch, found: Discrepancies, absences: Absences) -> None:
        """Have put right what was found in a piece, once a second look has shown the same."""
        stream, deps = errand.stream, self._deps
        oldest_ms = errand.oldest_ms if errand.oldest_ms is not None else piece.until_ms
        history: list[Candle | Gap] = [candle for open_ms, candle in found.missing.items() if open_ms < oldest_ms]
        if history:
            errand.extended_ms = min(found.missing)
        settled = [] if deps.rules.fills else absences.settled(found)
        found = found.since(oldest_ms)
        revisions: list[Candle] = []
        if found or settled:
            await trio.sleep(deps.rules.confirm_s)
            later = await self._look(stream, piece)
            revisions = found.confirmed_by(later)
            there = set(found.absent) - set(later.absent)
            settled = [open_ms for open_ms in settled if open_ms not in there]
        stored = len(history)
        errand.outages += len(settled)
        history += outages(stream, settled)
        if revisions or history:
            errand.repaired += stored + await self._hand_in(stream, revisions, history)
            await self._persistently(stream, deps.writer.flush)

    async def _pieces(self, errand: Errand, until_ms: int, gaps: Sequence[Gap]) -> Iterator[Stretch]:
        """Return what is to be looked at, the newest first."""
        stream, most = errand.stream, self._comparer.most
        timeframe, start_ms = stream.timeframe, errand.start_ms
        if start_ms is not None and not errand.lacking:
            return plan(timeframe, start_ms, until_ms, recent=0, holes=(), most=most, resume_ms=errand.resume_ms)
        if start_ms is not None:
            start_ms = await self._reach_ms(stream, first_open(timeframe, start_ms, until_ms), errand.oldest_ms)
        covered = partial(self._deps.store.covered, stream, start_ms, until_ms - 1)
        there = await self._persistently(stream, covered)
        if start_ms is None:
            wanted = [hole.stretch for hole in holes(stream, there, gaps) if hole.reason is not HoleReason.CONFIRMED]
        else:
            wanted = absent(Stretch(start_ms, until_ms), [*there, *confirmed(gaps)])
        recent = 0 if errand.lacking else self._deps.rules.history
        return plan(timeframe, None, until_ms, recent=recent, holes=wanted, most=most, resume_ms=errand.resume_ms)

    async def _reach_ms(self, stream: Stream, first_ms: int, oldest_ms: int | None) -> int:
        """Return `first_ms`, or from where on the venue has candles if that is later, as far as that can be known."""
        if oldest_ms is not None and first_ms < oldest_ms and stream not in self.begins_ms:
            begins_ms = await self._persistently(stream, partial(self._comparer.first_ms, stream, first_ms))
            if begins_ms is not None:
                self.begins_ms[stream] = begins_ms
        return max(first_ms, self.begins_ms.get(stream, first_ms))

    async def _look(self, stream: Stream, piece: Stretch) -> Discrepancies:
        """Compare a piece once."""
        return await self._persistently(stream, partial(self._comparer.look, stream, piece))

    async def _persistently(self, stream: Stream, attempt: Callable[[], Awaitable[T]]) -> T:
        """Return what `attempt` does, see `persistently`; a symbol that the venue does not know is parked."""
        deps = self._deps
        try:
            return await persistently(attempt, deps.backoff, lambda error: deps.on_trouble(RestTrouble(stream, error)))
        except InvalidSymbol as error:
            deps.interest.park(stream, str(error))
            raise

    async def _hand_in(
        self,
        stream: Stream,
        revisions: Sequence[Candle] = (),
        history: Sequence[Candle | Gap] = (),
        renew_ms: int | None = None,
    ) -> int:
        """Have it delivered and stored; return how many of the `revisions` were news."""
        receipt = Receipt()
        await self._deps.sequencer.put(Compared(stream, receipt, tuple(revisions), tuple(history), renew_ms))
        await receipt.done.wait()
        if receipt.revisions is None:
            raise TransientError("nobody watches it any more")
        return receipt.revisions

    async def _stored_gaps(self, stream: Stream) -> list[Gap]:
        await self._deps.writer.flush()
        return await self._deps.store.gaps(stream)

    async def _oldest_ms(self, stream: Stream, gaps: Sequence[Gap]) -> int | None:
        """Return when the oldest interval opens that a stream was told of; ``None`` if there is none."""
        oldest = await self._deps.store.candles(stream, limit=1)
        known = [candle.open_time_ms for candle in oldest] + [gap.first_open_ms for gap in gaps[:1]]
        return min(known, default=None)

    # -- what derives from longer history ---------------------------------------------------------------------------

    async def _derive(self, errand: Errand, first_ms: int, oldest_ms: int) -> None:
        """Store what derives from source candles that open in [`first_ms`, `oldest_ms`) and was never told.

        What was told and contains some of them is left to the aggregator.
        """
        source, deps = errand.stream, self._deps
        if errand.derived_since_ms is None:
            errand.derived_since_ms = await self._persistently(source, partial(self._derived_since_ms, source))
        since_ms = errand.derived_since_ms
        if not since_ms:
            return

        async def read(start_ms: int, end_ms: int, limit: int) -> list[Candle]:
            return await self._persistently(source, partial(deps.store.candles, source, start_ms, end_ms, limit))

        timeframes = [stream.timeframe for stream in since_ms]
        async with aclosing(derived_history(read, source, timeframes, first_ms, max(since_ms.values()))) as batches:
            async for candles in batches:
                untold = [candle for candle in candles if candle.open_time_ms < since_ms[candle.stream]]
                await self._hand_in(source, history=untold)
        await self._hand_in(source, renew_ms=source.timeframe.previous_open(oldest_ms))

    async def remake(self, source: Stream) -> int:
        """Store what derives from `source` and lies in holes that nobody noted, so that nobody was told; return how
        many candles that is. What a `TransientError` cuts short is for the next call."""
        store, made = self._deps.store, 0
        for stream in self._deps.interest.derived(self._venue).get(source, ()):
            found = holes(stream, await store.covered(stream), await self._stored_gaps(stream))
            for span in (hole.stretch for hole in found if hole.reason is HoleReason.UNNOTED):
                read = partial(store.candles, source)
                derived = derived_history(read, source, [stream.timeframe], span.start_ms, span.until_ms)
                async with aclosing(derived) as batches:
                    async for candles in batches:
                        await self._hand_in(source, history=candles)
                        made += len(candles)
        return made

    async def _derived_since_ms(self, source: Stream) -> dict[Stream, int]:
        """Return when the oldest stored interval opens of each stream that is made from `source`."""
        since_ms = {}
        for stream in self._deps.interest.derived(source.venue).get(source, ()):
            oldest_ms = await self._oldest_ms(stream, await self._stored_gaps(stream))
            if oldest_ms is not None:
                since_ms[stream] = oldest_ms
        return since_ms
