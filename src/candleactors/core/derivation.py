"""Derivations: every derived candle of one symbol, kept up to date event by event.

A derived candle goes out with its last constituent, be that a candle or a gap. A late constituent, or a corrected one,
changes what was said: each derived candle that says something else now goes out again as a `Revision`.
"""

from __future__ import annotations

from collections.abc import Collection
from contextlib import nullcontext
from typing import TypeAlias

from candleactors.core.cascade import Cascade, Level
from candleactors.core.window import Window
from candleactors.errors import UnorderedCandles
from candleactors.model import Candle, Event, Gap, GapReason, Revision, Stream

Derived: TypeAlias = tuple[Stream, Event]


class Derivation:
    """Derived candles of one source stream.

    `memory` is how many intervals of the source back a late or corrected candle may lie; the windows are bounded by
    that and by the longest interval made of each. What ends up to `silent_until_ms` is not told of. Knows nothing of
    clocks or stores, and never blocks.
    """

    def __init__(self, source: Stream, cascade: Cascade, memory: int, *, silent_until_ms: int = 0) -> None:
        self.source = source
        self.expected_ms: int | None = None
        """Open time of the next source candle in order; ``None`` before the first."""
        self.streams = tuple(Stream(source.venue, source.symbol, timeframe) for timeframe in cascade.timeframes)
        self._cascade = cascade
        self._memory = memory
        self._silent_until_ms = silent_until_ms
        self._windows: list[Window] = []
        self._revisions: dict[tuple[Stream, int], int] = {}
        # What opened before the one and ended by the other is known in part and was not told of from here.
        self._cut_ms = (0, 0)
        # Intervals passed over without any constituent, not told of yet, and why.
        self._gaps: dict[Stream, Gap] = {}
        self._reason = GapReason.UNREPAIRED

    def on_candle(self, candle: Candle) -> list[Derived]:
        """Return what a closed source candle makes deliverable. What was skipped before it counts as absent.

        One that opens earlier than expected is a late or corrected one. Raises `UnorderedCandles` where it lies
        further back than is remembered, see `remembers`.
        """
        open_ms = candle.open_time_ms
        derived: list[Derived] = []
        if open_ms != self.expected_ms:
            if self.expected_ms is None:
                self._begin(open_ms)
            elif open_ms < self.expected_ms:
                return self._on_late(candle)
            else:
                self._pass_over(self.expected_ms, open_ms, GapReason.UNREPAIRED, derived)
        self.expected_ms = end_ms = candle.close_time_ms + 1
        self._append(0, candle, 1, end_ms, derived)
        if self._gaps:
            self._close_gaps(derived)
        return derived

    def on_gap(self, gap: Gap) -> list[Derived]:
        """Return what the absence of source candles makes deliverable. What is known of them already counts."""
        until_ms = gap.stream.timeframe.next_open(gap.last_open_ms)
        derived: list[Derived] = []
        if self.expected_ms is None:
            self._begin(gap.first_open_ms)
        if self.expected_ms is not None and self.expected_ms < until_ms:
            self._pass_over(self.expected_ms, until_ms, gap.reason, derived)
            self._close_gaps(derived)
        return derived

    def remembers(self, open_ms: int) -> bool:
        """Whether a source candle that opens at `open_ms` can be taken in."""
        if self.expected_ms is None or open_ms >= self.expected_ms:
            return True
        return self._cascade.source.count_between(open_ms, self.expected_ms) <= self._memory

    def knows(self, candle: Candle) -> bool:
        """Whether the very same source candle was taken in and is still remembered."""
        if not self._windows or self.expected_ms is None or candle.open_time_ms >= self.expected_ms:
            return False
        index = self._windows[0].index(candle.open_time_ms)
        return index >= 0 and _same(self._windows[0].row(index), candle)

    def said(self, candle: Candle) -> None:
        """Take notice that a derived candle was said before: its next revision counts on from there."""
        if candle.revision and self.remembers(self._cascade.source.floor(candle.close_time_ms)):
            self._revisions[candle.stream, candle.open_time_ms] = candle.revision

    def leave_out(self, before_ms: int) -> None:
        """Never revise an interval that opened before `before_ms` and has ended by now."""
        self._cut_ms = (before_ms, self._expected())

    def forming(self, candle: Candle | None = None, numbers: Collection[int] | None = None) -> dict[int, Candle]:
        """Return the open derived candles by the number of their timeframe, `candle` being the open source candle.

        `numbers` chooses some. They are neither closed nor complete; what nothing is known of yet is left out.
        """
        if self.expected_ms is None:
            return {}
        at_ms = self.expected_ms
        if candle is not None and candle.open_time_ms < at_ms:
            candle = None
        elif candle is not None and candle.open_time_ms > at_ms:
            return {}  # what comes between is not known yet
        formed: dict[int, Candle] = {}
        wanted = frozenset(range(len(self.streams)) if numbers is None else numbers)
        self._form(0, wanted, at_ms, candle, 0 if candle is None else candle.missing, formed)
        return formed

    # -- in order ---------------------------------------------------------------------------------------------------

    def _begin(self, open_ms: int) -> None:
        self.expected_ms = open_ms
        for position, level in enumerate(self._cascade.levels):
            # Late candles reach back into the longest interval that contains the earliest of them.
            memory = self._memory if position == 0 else 2 + self._memory_ms() // level.size.nominal_ms
            self._windows.append(Window(level.size, level.rows + memory, level.size.floor(open_ms)))

    def _memory_ms(self) -> int:
        return self._memory * self._cascade.source.nominal_ms

    def _append(self, position: int, row: Candle | None, steps: int, end_ms: int, derived: list[Derived]) -> None:
        """Add the next row of a level and derive what ends with it."""
        window = self._windows[position]
        window.append(row, steps)
        level, last, streams = self._cascade.levels[position], len(window), self.streams
        silent = end_ms <= self._silent_until_ms
        for number, timeframe, length_ms, rows, due_steps in level.due(end_ms):
            if silent and number >= 0:
                continue
            candle = window.candle(timeframe, end_ms - length_ms, end_ms, last - rows, last, due_steps)
            if number < 0:
                self._append(position + 1, candle, due_steps, end_ms, derived)
            elif candle is not None:
                if self._gaps:
                    self._close_gap(streams[number], derived)
                derived.append((streams[number], candle))
            else:
                self._widen_gap(streams[number], end_ms - length_ms)

    def _pass_over(self, first_ms: int, until_ms: int, reason: GapReason, derived: list[Derived]) -> None:
        """Take source intervals as absent, one by one: derived candles may end in between."""
        self._reason = reason
        next_open = self._cascade.source.next_open
        while first_ms < until_ms:
            first_ms = next_open(first_ms)
            self._append(0, None, 1, first_ms, derived)
        self.expected_ms = first_ms

    def _widen_gap(self, stream: Stream, open_ms: int) -> None:
        known = self._gaps.get(stream)
        first_ms = open_ms if known is None else known.first_open_ms
        self._gaps[stream] = Gap(stream, first_ms, open_ms, self._reason)

    def _close_gap(self, stream: Stream, derived: list[Derived]) -> None:
        if (gap := self._gaps.pop(stream, None)) is not None:
            derived.append((stream, gap))

    def _close_gaps(self, derived: list[Derived]) -> None:
        derived += self._gaps.items()
        self._gaps = {}

    # -- late -------------------------------------------------------------------------------------------------------

    def _on_late(self, candle: Candle) -> list[Derived]:
        open_ms = candle.open_time_ms
        if not self.remembers(open_ms):
            back = self._cascade.source.count_between(open_ms, self._expected())
            raise UnorderedCandles(
                f"a candle of {self.source} lies {back} intervals back; {self._memory} are remembered"
            )
        derived: list[Derived] = []
        self._replace(0, candle, open_ms, 1, derived)
        return derived

    def _replace(self, position: int, row: Candle, row_ms: int, steps: int, derived: list[Derived]) -> None:
        """Put a row of a level right, and derive anew what contains it and was said already."""
        window, level = self._windows[position], self._cascade.levels[position]
        index = window.index(row_ms)
        if _same(window.row(index) if index >= 0 else None, row):
            return
        before = self._containing(level, window, row_ms)
        window.replace(index, row, steps)
        for (number, said), (_, candle) in zip(before, self._containing(level, window, row_ms), strict=True):
            if candle is None or _same(said, candle):
                continue
            open_ms = candle.open_time_ms
            if number < 0:
                self._replace(position + 1, candle, open_ms, level.steps(open_ms, candle.next_open_time_ms), derived)
            elif open_ms >= self._cut_ms[0] or candle.close_time_ms >= self._cut_ms[1]:
                stream = self.streams[number]
                revision = self._revisions[stream, open_ms] = self._revisions.pop((stream, open_ms), 0) + 1
                derived.append((stream, Revision(candle.replace(revision=revision, received_ms=row.received_ms))))
        while len(self._revisions) > 4 * self._memory * len(self.streams):
            del self._revisions[next(iter(self._revisions))]

    def _containing(self, level: Level, window: Window, row_ms: int) -> list[tuple[int, Candle | None]]:
        """Return what the window makes of each ended interval that contains a row, by the number of its timeframe."""
        found = []
        for number, timeframe in level.targets:
            open_ms = timeframe.floor(row_ms)
            end_ms = timeframe.next_open(open_ms)
            if end_ms <= self._expected():
                first, last = window.index(open_ms), max(window.index(end_ms), 0)
                steps = level.steps(open_ms, end_ms)
                found.append((number, window.candle(timeframe, open_ms, end_ms, first, last, steps)))
        return found

    def _expected(self) -> int:
        assert self.expected_ms is not None, "asked for the next candle before the first was known"
        return self.expected_ms

    # -- forming ----------------------------------------------------------------------------------------------------

    def _form(
        self,
        position: int,
        wanted: frozenset[int],
        at_ms: int,
        newest: Candle | None,
        steps: int,
        formed: dict[int, Candle],
    ) -> None:
        """Form the `wanted` timeframes of this level and those above; `newest` is its last row for the time being."""
        window, level = self._windows[position], self._cascade.levels[position]
        with window.having(newest, steps) if newest is not None else nullcontext():
            last = len(window)
            for number, timeframe in level.targets:
                if number >= 0 and number not in wanted:
                    continue
                open_ms = timeframe.floor(at_ms)
                end_ms = timeframe.next_open(open_ms)
                span = level.steps(open_ms, end_ms)
                candle = window.candle(timeframe, open_ms, end_ms, window.index(open_ms), last, span, False)
                if number < 0:
                    self._form(position + 1, wanted, open_ms, candle, span, formed)
                elif candle is not None:
                    formed[number] = candle


def _same(one: Candle | None, other: Candle) -> bool:
    return one is not None and one.same_values(other) and one.missing == other.missing
