"""Windows: the latest constituents of derived candles, and what any stretch of them amounts to.

The aggregation rule lives here, once:

- A constituent without trades does not touch open, high, low or close as long as another has trades; where none has,
  all four are the last close.
- Volumes and the number of trades are exact sums, ``None`` where a constituent does not say.
- What is absent is counted.

Sums are differences of running totals, so a candle of 60 constituents costs as little as one of two.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Context, Decimal, DivisionByZero, Inexact, InvalidOperation, Overflow
from typing import Any, Final, TypeAlias

from candleactors.core.cascade import Due
from candleactors.model import Candle, Source, Timeframe

_EXACT: Final = Context(prec=2_000, traps=[Inexact, InvalidOperation, DivisionByZero, Overflow])
_add: Final = _EXACT.add
_subtract: Final = _EXACT.subtract
_ZERO: Final = Decimal(0)
_BELOW_ALL: Final = Decimal("-Infinity")
_ABOVE_ALL: Final = Decimal("Infinity")
_SLACK: Final = 16

_Sums: TypeAlias = tuple[Decimal | None, int | None, Decimal | None, Decimal | None]
"""Quote volume, trades, taker volumes: what a venue need not give."""
_Totals: TypeAlias = tuple[Decimal, Decimal, int, Decimal, Decimal]
"""Running totals: volume, quote volume, trades, taker volumes; what is not given counts as nothing."""
_Counts: TypeAlias = tuple[int, int, int, int]
"""Running counts: rows present, rows with trades, rows that lack a value, steps present."""


class Window:
    """The last `limit` or some more intervals of `size`, each a candle or absent, in a row without holes.

    Rows are counted from the oldest one kept. A row stands for a number of *steps*, intervals of the original source:
    one where this is the source's own window, 60 where it holds hours made of minutes. Nothing here blocks.
    """

    __slots__ = ("_counts", "_highs", "_lows", "_plain", "_rows", "_totals", "begin_ms", "limit", "size")

    def __init__(self, size: Timeframe, limit: int, begin_ms: int) -> None:
        self.size = size
        self.limit = limit
        self.begin_ms = begin_ms
        """Open time of the oldest row."""
        self._rows: list[Candle | None] = []
        # Of rows without trades, what no comparison picks.
        self._highs: list[Decimal] = []
        self._lows: list[Decimal] = []
        self._totals: list[_Totals] = [(_ZERO, _ZERO, 0, _ZERO, _ZERO)]
        self._counts: list[_Counts] = [(0, 0, 0, 0)]
        self._plain: list[int] = [0]  # running count of rows that have trades, all values and all their steps

    def __len__(self) -> int:
        return len(self._rows)

    def index(self, open_ms: int) -> int:
        """Return the row of the interval that opens at `open_ms`; negative for one before the oldest."""
        count = self.size.count_between
        return count(self.begin_ms, open_ms) if open_ms >= self.begin_ms else -count(open_ms, self.begin_ms)

    def row(self, index: int) -> Candle | None:
        """Return the candle in a row, ``None`` where it is absent."""
        return self._rows[index]

    def append(self, candle: Candle | None, steps: int = 1) -> None:
        """Add the next interval: its candle, of which `steps` less its own `missing` count as present, or nothing."""
        rows = self._rows
        if len(rows) > self.limit + _SLACK:
            self._forget(len(rows) - self.limit)
        rows.append(candle)
        present, traded, lacking, have = self._counts[-1]
        plain, high, low = self._plain[-1], _BELOW_ALL, _ABOVE_ALL
        if candle is None:
            self._totals.append(self._totals[-1])
        else:
            volume, quote, trades, taker, taker_quote = self._totals[-1]
            amount, more_quote, count = candle.volume, candle.quote_volume, candle.trades
            more_taker, more_taker_quote = candle.taker_buy_volume, candle.taker_buy_quote_volume
            present += 1
            have += steps - candle.missing
            if count or amount:
                traded += 1
                high, low = candle.high, candle.low
            if more_quote is None or count is None or more_taker is None or more_taker_quote is None:
                lacking += 1
                self._totals.append((_add(volume, amount), quote, trades, taker, taker_quote))
            else:
                plain += 1 if (count or amount) and not candle.missing else 0
                self._totals.append(
                    (
                        _add(volume, amount),
                        _add(quote, more_quote),
                        trades + count,
                        _add(taker, more_taker),
                        _add(taker_quote, more_taker_quote),
                    )
                )
        self._highs.append(high)
        self._lows.append(low)
        self._plain.append(plain)
        self._counts.append((present, traded, lacking, have))

    def pop(self) -> None:
        """Take back the newest row."""
        for column in self._columns():
            column.pop()

    def replace(self, index: int, candle: Candle | None, steps: int = 1) -> None:
        """Put another candle into a row; a negative `index` extends the window into the past."""
        if index < 0:
            following = self._following(0)
            self._cut(0)
            for _ in range(-index):
                self.begin_ms = self.size.previous_open(self.begin_ms)
            following[:0] = [(None, 0)] * -index
            index = 0
        else:
            following = self._following(index)
            self._cut(index)
        following[0] = (candle, steps)
        for row, row_steps in following:
            self.append(row, row_steps)

    def ending(self, due: Sequence[Due], end_ms: int) -> list[Candle | None]:
        """Return the derived candles of the intervals that end with the newest row, shortest first.

        Each contains the one before, and so do its high and low.
        """
        highs, lows, plain, totals, rows = self._highs, self._lows, self._plain, self._totals, self._rows
        last = reached = len(rows)
        newest = rows[-1]
        volume, quote, trades, taker, taker_quote = totals[-1]
        high, low = _BELOW_ALL, _ABOVE_ALL
        ended: list[Candle | None] = []
        for _, timeframe, length_ms, count, steps in due:
            first = last - count if count < last else 0
            if first < reached:
                high = max(high, *highs[first:reached])
                low = min(low, *lows[first:reached])
                reached = first
            oldest = rows[first]
            if plain[last] - plain[first] != count or oldest is None or newest is None:
                ended.append(self._make(timeframe, end_ms - length_ms, end_ms, first, last, high, low, steps, True))
                continue
            # What follows is `_make` where nothing is out of the ordinary: most candles by far.
            volume0, quote0, trades0, taker0, taker_quote0 = totals[first]
            ended.append(
                Candle(
                    newest.venue,
                    newest.symbol,
                    timeframe,
                    end_ms - length_ms,
                    end_ms - 1,
                    oldest.open,
                    high,
                    low,
                    newest.close,
                    _subtract(volume, volume0),
                    _subtract(quote, quote0),
                    trades - trades0,
                    _subtract(taker, taker0),
                    _subtract(taker_quote, taker_quote0),
                    True,
                    True,
                    Source.DERIVED,
                    0,
                    newest.received_ms,
                )
            )
        return ended

    def candle(
        self, timeframe: Timeframe, open_ms: int, end_ms: int, first: int, last: int, steps: int, *, closed: bool = True
    ) -> Candle | None:
        """Return the derived candle of [`open_ms`, `end_ms`), made of the rows from `first` up to but not `last`.

        `steps` is how many source intervals belong to it. A `first` before the oldest row counts as absent. Returns
        ``None`` if every row is absent.
        """
        first = max(first, 0)
        high = max(self._highs[first:last], default=_BELOW_ALL)
        low = min(self._lows[first:last], default=_ABOVE_ALL)
        return self._make(timeframe, open_ms, end_ms, first, last, high, low, steps, closed)

    def _make(
        self,
        timeframe: Timeframe,
        open_ms: int,
        end_ms: int,
        first: int,
        last: int,
        high: Decimal,
        low: Decimal,
        steps: int,
        closed: bool,
    ) -> Candle | None:
        present, traded, lacking, have = self._counts[last]
        present0, traded0, lacking0, have0 = self._counts[first]
        if present == present0:
            return None
        rows = self._rows
        latest = newest = rows[last - 1]
        if traded - traded0 == last - first:
            oldest = rows[first]
        else:
            there = [row for row in rows[first:last] if row is not None]
            latest = there[-1]
            there = [row for row in there if row.trades or row.volume]
            oldest, newest = (there[0], there[-1]) if there else (None, latest)
        assert newest is not None
        assert latest is not None
        if oldest is None:
            opened = high = low = newest.close
        else:
            opened = oldest.open
        volume, volume0 = self._totals[last][0], self._totals[first][0]
        missing = steps - have + have0
        return Candle(
            latest.venue,
            latest.symbol,
            timeframe,
            open_ms,
            end_ms - 1,
            opened,
            high,
            low,
            newest.close,
            _subtract(volume, volume0),
            *self._sums(first, last, lacking != lacking0),
            closed,
            not missing,
            Source.DERIVED,
            0,
            latest.received_ms,
            missing,
        )

    def _sums(self, first: int, last: int, lacking: bool) -> _Sums:
        """Return the sums of what a candle need not have; `lacking` tells that one of them does not have it all."""
        _, quote, trades, taker, taker_quote = self._totals[last]
        _, quote0, trades0, taker0, taker_quote0 = self._totals[first]
        if not lacking:
            return (
                _subtract(quote, quote0),
                trades - trades0,
                _subtract(taker, taker0),
                _subtract(taker_quote, taker_quote0),
            )
        rows = [row for row in self._rows[first:last] if row is not None]
        counts = [row.trades for row in rows]
        return (
            _total([row.quote_volume for row in rows]),
            None if None in counts else sum(count for count in counts if count),
            _total([row.taker_buy_volume for row in rows]),
            _total([row.taker_buy_quote_volume for row in rows]),
        )

    def _following(self, index: int) -> list[tuple[Candle | None, int]]:
        """Return the rows from `index` on, each with the steps it stands for."""
        rows, have = self._rows, [counts[-1] for counts in self._counts]
        return [
            (row, 0 if row is None else have[at + 1] - have[at] + row.missing)
            for at, row in enumerate(rows[index:], index)
        ]

    def _cut(self, index: int) -> None:
        """Drop the rows from `index` on."""
        while len(self._rows) > index:
            self.pop()

    def _forget(self, count: int) -> None:
        for _ in range(count):
            self.begin_ms = self.size.next_open(self.begin_ms)
        for column in self._columns():
            del column[:count]

    def _columns(self) -> tuple[list[Any], ...]:
        return self._rows, self._highs, self._lows, self._totals, self._counts, self._plain


def _total(amounts: list[Decimal | None]) -> Decimal | None:
    total = _ZERO
    for amount in amounts:
        if amount is None:
            return None
        total = _add(total, amount)
    return total
