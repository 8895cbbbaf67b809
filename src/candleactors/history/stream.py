"""The history of one stream: pieces of it asked for, the newest first, and stored."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from functools import partial
from itertools import islice
from typing import TypeVar

import trio
from attrs import frozen

from candleactors.actors.comparing import Comparer
from candleactors.actors.persistence import persistently
from candleactors.core.absences import Absences, Beginning, outages
from candleactors.core.backoff import Backoff
from candleactors.core.discrepancies import Discrepancies
from candleactors.core.fetch import Fetch
from candleactors.core.filling import flat_candle
from candleactors.core.holes import HoleReason, absent, confirmed, first_open, holes
from candleactors.core.stretches import Stretch, around
from candleactors.errors import CandleactorsError, RemoteProtocolError, TransientError
from candleactors.history.report import StreamReport
from candleactors.model import Candle, Source, Stream
from candleactors.stores.base import Archive

T = TypeVar("T")


@frozen
class StreamDeps:
    """What the streams of one venue share."""

    comparer: Comparer
    store: Archive
    backoff: Callable[[], Backoff]
    now_ms: Callable[[], int]
    """Our wall clock."""
    venue_now_ms: Callable[[], int]
    drifts: Callable[[Stream], bool]
    """Whether its intervals open when they do only at this symbol."""
    on_trouble: Callable[[TransientError | RemoteProtocolError | None], None]
    """Is told what went wrong and will be tried again, and ``None`` once something went well."""
    on_progress: Callable[[], None]


class StreamHistory:
    """Fetches what is asked for of `stream`, `abreast` requests at a time; `report` says how far that has come.

    Every answer is one transaction, the newest first. Methods raise what cannot be cured by trying again for a minute.
    """

    def __init__(self, stream: Stream, deps: StreamDeps, report: StreamReport, abreast: int) -> None:
        self._stream = stream
        self._deps = deps
        self._report = report
        self._abreast = abreast
        self._absences = Absences(None, None)
        self.changed: list[Stretch] = []
        """Where candles were stored."""

    async def backfill(self, start_ms: int, until_ms: int | None) -> Stretch | None:
        """Fetch every candle that opens in [`start_ms`, `until_ms`) and is not stored, without `until_ms` up to now.

        What is known to be an outage is left out. Returns the whole intervals that this comes to, if any.
        """
        oldest_ms, newest_ms = await self._known()
        wanted = await self._wanted(start_ms, until_ms, newest_ms)
        if wanted is None:
            return None
        store = self._deps.store
        there = await store.covered(self._stream, wanted.start_ms, wanted.until_ms - 1)
        lacking = absent(wanted, [*there, *confirmed(await store.gaps(self._stream))])
        if lacking and (oldest_ms is None or lacking[0].start_ms < oldest_ms):
            lacking = await self._since_the_beginning(lacking)
        await self._fetch(lacking, oldest_ms, newest_ms)
        return wanted

    async def repair(self, start_ms: int | None, end_ms: int | None, *, again: bool, compare: bool) -> None:
        """Fetch what lies in holes that open in [`start_ms`, `end_ms`]; `again` those too that are known outages.

        With `compare`, all that is stored there is compared with the venue as well, and corrected.
        """
        store, stream = self._deps.store, self._stream
        oldest_ms, newest_ms = await self._known()
        there = await store.covered(stream, start_ms, end_ms)
        wanted = [
            hole.stretch
            for hole in holes(stream, there, await store.gaps(stream))
            if (again or hole.reason is not HoleReason.CONFIRMED)
            and (start_ms is None or hole.first_ms >= start_ms)
            and (end_ms is None or hole.last_ms <= end_ms)
        ]
        if compare and there:
            wanted = [Stretch(there[0].start_ms, there[-1].until_ms)]
        await self._fetch(wanted, oldest_ms, newest_ms, compare=compare)

    # -- what is to be asked for ------------------------------------------------------------------------------------

    async def _known(self) -> tuple[int | None, int | None]:
        """Return when the oldest and the newest closed stored candles open."""
        store = self._deps.store
        oldest = [candle for candle in await store.candles(self._stream, limit=2) if candle.closed]
        newest = [candle for candle in await store.candles(self._stream, limit=2, newest=True) if candle.closed]
        return (oldest[0].open_time_ms, newest[-1].open_time_ms) if oldest and newest else (None, None)

    async def _wanted(self, start_ms: int, until_ms: int | None, newest_ms: int | None) -> Stretch | None:
        """Return the whole intervals in [`start_ms`, `until_ms`) that every replica of the venue knows by now."""
        timeframe, rules = self._stream.timeframe, self._deps.comparer.rules
        over_ms = self._deps.venue_now_ms() - round(rules.replica_lag_s * 1000)
        if self._deps.drifts(self._stream):
            phase_ms = newest_ms if newest_ms is not None else await self._newest_open()
            if phase_ms is None or timeframe.duration_ms is None:
                return None
            over_ms -= (over_ms - phase_ms) % timeframe.duration_ms
        else:
            over_ms = timeframe.floor(over_ms)
        if until_ms is not None:
            over_ms = first_open(timeframe, until_ms, over_ms)
        first_ms = first_open(timeframe, start_ms, over_ms)
        return Stretch(first_ms, over_ms) if first_ms < over_ms else None

    async def _newest_open(self) -> int | None:
        comparer = self._deps.comparer
        rows, _ = await self._persistently(partial(comparer.rest.rows, Fetch(self._stream, None, 1, comparer.urgency)))
        return rows[-1].open_time_ms if rows else None

    async def _since_the_beginning(self, lacking: list[Stretch]) -> list[Stretch]:
        """Return what of `lacking` is not from before the venue's first candle.

        Where an answer does not end with a window, one row is enough to know that; elsewhere the pieces tell.
        """
        first_ms = await self._persistently(partial(self._deps.comparer.first_ms, self._stream, lacking[0].start_ms))
        if first_ms is None:
            return lacking
        self._report.begins_ms = first_ms
        return [Stretch(max(each.start_ms, first_ms), each.until_ms) for each in lacking if each.until_ms > first_ms]

    # -- asking -----------------------------------------------------------------------------------------------------

    async def _fetch(
        self, wanted: Sequence[Stretch], oldest_ms: int | None, newest_ms: int | None, *, compare: bool = False
    ) -> None:
        """Ask for `wanted` stretches, which ascend, and store what comes."""
        timeframe, report = self._stream.timeframe, self._report
        self._absences = Absences(oldest_ms, newest_ms)
        beginning = Beginning()
        pieces = list(self._pieces(wanted))
        report.planned = sum(timeframe.count_between(piece.start_ms, piece.until_ms) for piece in pieces)
        self._deps.on_progress()
        found_ms = oldest_ms
        asking = iter(pieces)
        while together := tuple(islice(asking, self._abreast)):
            answers: dict[Stretch, Discrepancies | CandleactorsError] = {}
            async with trio.open_nursery() as nursery:
                for piece in together:
                    nursery.start_soon(self._look, piece, answers)
            for piece in together:
                found = answers[piece]
                if isinstance(found, CandleactorsError):
                    raise found
                await self._take(found, compare=compare, piece=piece)
                report.asked += timeframe.count_between(piece.start_ms, piece.until_ms)
                self._deps.on_progress()
                if found.rows_ms is not None:
                    found_ms = found.rows_ms[0] if found_ms is None else min(found_ms, found.rows_ms[0])
                older = found_ms is None or piece.until_ms <= found_ms
                if beginning.passed(piece.until_ms - piece.start_ms, empty=older and not found.compared):
                    report.begins_ms, report.planned = found_ms, report.asked
                    return

    def _pieces(self, wanted: Sequence[Stretch]) -> Iterator[Stretch]:
        if not wanted:
            return iter(())
        return around(self._stream.timeframe, wanted, wanted[-1].until_ms, self._deps.comparer.most)

    async def _look(self, piece: Stretch, answers: dict[Stretch, Discrepancies | CandleactorsError]) -> None:
        look = partial(self._deps.comparer.look, self._stream, piece)
        try:
            answers[piece] = await self._persistently(look)
        except CandleactorsError as error:
            answers[piece] = error  # for whoever takes the pieces in order

    async def _take(self, found: Discrepancies, *, compare: bool, piece: Stretch) -> None:
        """Store what an answer brought and what it proves to be absent."""
        settled = self._absences.settled(found)
        # Whether an interval without a row had no trades, or the symbol was gone by then, is told by what follows.
        candles = [
            candle
            for open_ms, candle in found.missing.items()
            if candle.source is not Source.FILLED or self._absences.followed(open_ms)
        ]
        if compare and found.wrong:
            candles += await self._confirmed(found, piece)
        if self._deps.comparer.rules.fills:
            if found.close is not None:
                received_ms = self._deps.now_ms()
                candles += [flat_candle(self._stream, open_ms, found.close, received_ms) for open_ms in settled]
            settled = []
        now_ms = self._deps.now_ms()
        if candles:
            merge = partial(self._deps.store.merge, candles, corrects=True, repaired_ms=now_ms)
            tallies = await self._persistently(merge)
            for tally in tallies.values():
                self._report.count(tally)
            timeframe = self._stream.timeframe
            opens = [candle.open_time_ms for candle in candles]
            self.changed.append(Stretch(min(opens), timeframe.next_open(max(opens))))
        if settled:
            gaps = outages(self._stream, settled)
            await self._persistently(partial(self._deps.store.write, [], gaps, repaired_ms=now_ms))
            self._report.outages += len(settled)

    async def _confirmed(self, found: Discrepancies, piece: Stretch) -> list[Candle]:
        """Return corrections of stored candles that the venue shows a second time, a moment later."""
        await trio.sleep(self._deps.comparer.rules.confirm_s)
        later = await self._persistently(partial(self._deps.comparer.look, self._stream, piece))
        return [candle for candle in found.confirmed_by(later) if candle.open_time_ms in found.wrong]

    async def _persistently(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """Return what `attempt` does, see `persistently`. Several tasks may wait at once, each for its own request."""
        done = await persistently(attempt, self._deps.backoff(), self._deps.on_trouble)
        self._deps.on_trouble(None)
        return done
