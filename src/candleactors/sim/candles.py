"""Candles of the simulated market, built from its tape: the ground truth that everything else is compared with."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from decimal import Decimal
from typing import Any, Final, NamedTuple

from attrs import evolve, frozen

from candleactors.model import DAY_MS, MINUTE_MS, Timeframe
from candleactors.sim.tape import Bar, SymbolSpec, Tape, merge

AMOUNTS: Final = ("quote_volume", "trades", "taker_buy_volume", "taker_buy_quote_volume")
"""The amounts of a candle that not every venue gives."""


class Row(NamedTuple):
    """One candle as the venue shows it. `close_ms` is irregular where an outage cut the interval short."""

    open_ms: int
    close_ms: int
    bar: Bar


@frozen
class TruthCandle:
    """A closed candle as it really was, in exact decimals. `venue_close_ms` is irregular after an outage."""

    symbol: str
    timeframe: Timeframe
    open_time_ms: int
    close_time_ms: int
    venue_close_ms: int
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal
    quote_volume: Decimal | None
    trades: int | None
    taker_buy_volume: Decimal | None
    taker_buy_quote_volume: Decimal | None

    def as_given(self, gives: Collection[str]) -> TruthCandle:
        """Return the same candle as told by a venue that gives no other amounts than `gives`: the rest is ``None``."""
        unknown: dict[str, Any] = {name: None for name in AMOUNTS if name not in gives}
        return evolve(self, **unknown)

    def values(self) -> tuple[Decimal | int | None, ...]:
        """Return the same facts, in the same order, as `Candle.values`."""
        return (
            self.open,
            self.high,
            self.low,
            self.close,
            self.volume,
            self.quote_volume,
            self.trades,
            self.taker_buy_volume,
            self.taker_buy_quote_volume,
        )


def truth_candle(spec: SymbolSpec, timeframe: Timeframe, row: Row, next_open_ms: int) -> TruthCandle:
    """Return `row` in decimals."""
    bar, tick, step = row.bar, -spec.tick, -spec.step
    both = tick + step
    return TruthCandle(
        spec.symbol,
        timeframe,
        row.open_ms,
        next_open_ms - 1,
        row.close_ms,
        Decimal(bar.open).scaleb(tick),
        Decimal(bar.high).scaleb(tick),
        Decimal(bar.low).scaleb(tick),
        Decimal(bar.close).scaleb(tick),
        Decimal(bar.volume).scaleb(step),
        Decimal(bar.quote_volume).scaleb(both),
        bar.trades,
        Decimal(bar.taker_volume).scaleb(step),
        Decimal(bar.taker_quote_volume).scaleb(both),
    )


class Series:
    """The candles of one symbol and one timeframe, up to any instant.

    Keeps the finished candles it was asked for, of timeframes above a minute: at most 0.2 MB a day.

    Phases are the venue's: weeks open on Monday, and the phase of three-day candles is the listing day's.
    """

    def __init__(self, tape: Tape, timeframe: Timeframe) -> None:
        self.tape = tape
        self.timeframe = timeframe
        self._in_minute = timeframe.nominal_ms < MINUTE_MS
        self._is_minute = timeframe.nominal_ms == MINUTE_MS
        self._phase_ms = 0
        if timeframe.unit == "d" and timeframe.count > 1:
            listing_day = tape.listed_ms // DAY_MS
            self._phase_ms = listing_day % timeframe.count * DAY_MS
        self.first_open_ms = self.floor(tape.listed_ms)
        self._finished: dict[int, Bar] = {}
        self._running: tuple[int, int, Bar] | None = None
        self._revision = tape.revision

    def floor(self, at_ms: int) -> int:
        """Return the open time of the interval that contains `at_ms`."""
        return self.timeframe.floor(at_ms - self._phase_ms) + self._phase_ms

    def next_open(self, open_ms: int) -> int:
        """Return the open time of the interval after the one that opens at `open_ms`."""
        return self.timeframe.next_open(open_ms - self._phase_ms) + self._phase_ms

    def row(self, open_ms: int, now_ms: int, *, halted: bool = False) -> Row | None:
        """Return the candle that opens at `open_ms` as known at `now_ms`; ``None`` where the venue has no row.

        With `halted`, the time of an outage is like any other without trades.
        """
        if open_ms < self.first_open_ms or open_ms > now_ms or now_ms < self.tape.listed_ms:
            return None
        next_ms = self.next_open(open_ms)
        close_ms = next_ms - 1
        for outage in self.tape.outages if open_ms < self.tape.outages_end_ms and not halted else ():
            if outage.start_ms <= now_ms:
                if outage.start_ms <= open_ms and min(next_ms, now_ms + 1) <= outage.end_ms:
                    return None
                if open_ms < outage.start_ms < next_ms <= outage.end_ms:
                    close_ms = outage.start_ms - 1
        return Row(open_ms, close_ms, self._bar(open_ms, next_ms, now_ms))

    def rows(
        self, first_ms: int, last_ms: int, limit: int, now_ms: int, *, flat: bool = True, halted: bool = False
    ) -> list[Row]:
        """Return at most `limit` rows that open in [`first_ms`, `last_ms`], ascending, the earliest first.

        Without `flat`, intervals without trades are left out; `halted` is that of `row`.
        """
        found: list[Row] = []
        for open_ms in self._opens(first_ms, self._last_ms(last_ms, now_ms)):
            if len(found) == limit:
                break
            row = self.row(open_ms, now_ms, halted=halted)
            if row is not None and (flat or row.bar.trades):
                found.append(row)
        return found

    def last_rows(self, last_ms: int, limit: int, now_ms: int, *, flat: bool = True) -> list[Row]:
        """Return the most recent `limit` rows that open at or before `last_ms`, ascending; `flat` as in `rows`."""
        found: list[Row] = []
        open_ms = self.floor(self._last_ms(last_ms, now_ms))
        while open_ms >= self.first_open_ms and len(found) < limit:
            row = self.row(open_ms, now_ms)
            if row is not None and (flat or row.bar.trades):
                found.append(row)
            open_ms = self.floor(open_ms - 1)
        found.reverse()
        return found

    def _last_ms(self, last_ms: int, now_ms: int) -> int:
        """Return the last instant that can have a row, so that nobody looks for one after the delisting."""
        delisted_ms = self.tape.delisted_ms
        return min(last_ms, now_ms) if delisted_ms is None else min(last_ms, now_ms, delisted_ms - 1)

    def _opens(self, first_ms: int, last_ms: int) -> Iterator[int]:
        first_ms = max(first_ms, self.first_open_ms)
        at = self.floor(first_ms)
        if at < first_ms:
            at = self.next_open(at)
        while at <= last_ms:
            yield at
            at = self.next_open(at)

    def _bar(self, open_ms: int, next_ms: int, now_ms: int) -> Bar:
        if self._in_minute or (self._is_minute and next_ms > now_ms):
            return self.tape.span(open_ms, min(next_ms, now_ms + 1))
        if self._is_minute:
            return self.tape.bar(open_ms // MINUTE_MS)
        if self._revision != self.tape.revision:
            self._finished.clear()
            self._running = None
            self._revision = self.tape.revision
        finished = self._finished.get(open_ms)
        if finished is not None and next_ms <= now_ms:
            return finished
        first = max(open_ms // MINUTE_MS, self.tape.first_minute)
        if next_ms <= now_ms:
            bar = self._fold(open_ms, first, next_ms // MINUTE_MS)
            self._finished[open_ms] = bar
            return bar
        minute = now_ms // MINUTE_MS
        partial = self.tape.span(max(minute * MINUTE_MS, open_ms), now_ms + 1)
        return merge(self._fold(open_ms, first, minute), partial) if minute > first else partial

    def _fold(self, open_ms: int, first: int, end: int) -> Bar:
        """Fold the minutes [`first`, `end`), going on from where the last fold of the same interval stopped."""
        tape = self.tape
        running = self._running
        if running is not None and running[0] == open_ms and first < running[1] <= end:
            first, bar = running[1], running[2]
        else:
            bar = tape.bar(first)
            first += 1
        for minute in range(first, end):
            bar = merge(bar, tape.bar(minute))
        self._running = (open_ms, end, bar)
        return bar
