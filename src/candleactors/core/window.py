"""Windows: the latest constituents of derived candles, and what any stretch of them amounts to.

The aggregation rule lives here, once:

- A constituent without trades does not touch open, high, low or close as long as another has trades; where none has,
  all four are the last close.
- Volumes and the number of trades are exact sums, ``None`` where a constituent does not say.
- What is absent is counted.

A candle of 60 constituents costs as little as one of two: sums are differences of running totals, and of the highs only
those are kept that no later one reaches, so that the first of them since an instant is the highest since then.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Context, Decimal, DivisionByZero, Inexact, InvalidOperation, Overflow
from typing import Final, TypeAlias

from candleactors.model import Candle, Source, Timeframe

_EXACT: Final = Context(prec=2_000, traps=[Inexact, InvalidOperation, DivisionByZero, Overflow])
_add: Final = _EXACT.add
_subtract: Final = _EXACT.subtract
_ZERO: Final = Decimal(0)
_SLACK: Final = 16

_Totals: TypeAlias = tuple[Decimal, Decimal, int, Decimal, Decimal]
"""Running totals: volume, quote volume, trades, taker volumes; what is not given counts as nothing."""


class Window:
    """The last `limit` or some more intervals of `size`, each a candle or absent, in a row without holes.

    Rows are counted from the oldest one kept. A row stands for a number of *steps*, intervals of the original source:
    one where this is the source's own window, 60 where it holds hours made of minutes. Nothing here blocks.
    """

    __slots__ = (
        "_odd_at",
        "_peaks",
        "_peaks_at",
        "_rows",
        "_steps",
        "_totals",
        "_traded_at",
        "_troughs",
        "_troughs_at",
        "begin_ms",
        "limit",
        "size",
    )

    def __init__(self, size: Timeframe, limit: int, begin_ms: int) -> None:
        self.size = size
        self.limit = limit
        self.begin_ms = begin_ms
        """Open time of the oldest row."""
        self._rows: list[Candle | None] = []
        self._steps: list[int] = []
        self._totals: list[_Totals] = [(_ZERO, _ZERO, 0, _ZERO, _ZERO)]
        # Indices of rows that have trades, and of those that are absent, incomplete or without some value; highs that
        # no later one reaches and lows that no later one undercuts, with their indices.
        self._traded_at: list[int] = []
        self._odd_at: list[int] = []
        self._peaks_at: list[int] = []
        self._peaks: list[Decimal] = []
        self._troughs_at: list[int] = []
        self._troughs: list[Decimal] = []

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
        if len(self._rows) > self.limit + _SLACK:
            self._forget(len(self._rows) - self.limit)
        index = len(self._rows)
        self._rows.append(candle)
        self._steps.append(steps)
        if candle is None:
            self._odd_at.append(index)
            self._totals.append(self._totals[-1])
            return
        volume, quote, trades, taker, taker_quote = self._totals[-1]
        amount, more_quote, count = candle.volume, candle.quote_volume, candle.trades
        more_taker, more_taker_quote = candle.taker_buy_volume, candle.taker_buy_quote_volume
        if count or amount:
            self._push(index, candle.high, candle.low)
        odd = candle.missing
        volume = _add(volume, amount)
        if more_quote is None or count is None or more_taker is None or more_taker_quote is None:
            odd = True
        else:
            quote, trades = _add(quote, more_quote), trades + count
            taker, taker_quote = _add(taker, more_taker), _add(taker_quote, more_taker_quote)
        self._totals.append((volume, quote, trades, taker, taker_quote))
        if odd:
            self._odd_at.append(index)

    @contextmanager
    def having(self, candle: Candle, steps: int) -> Iterator[None]:
        """Have a newest row for a while; the window is left as it was."""
        if len(self._rows) > self.limit + _SLACK:
            self._forget(len(self._rows) - self.limit)
        odd_at, traded_at = self._odd_at[:], self._traded_at[:]
        peaks_at, peaks, troughs_at, troughs = (
            self._peaks_at[:],
            self._peaks[:],
            self._troughs_at[:],
            self._troughs[:],
        )
        self.append(candle, steps)
        yield
        for column in (self._rows, self._steps, self._totals):
            column.pop()
        self._odd_at, self._traded_at = odd_at, traded_at
        self._peaks_at, self._peaks, self._troughs_at, self._troughs = peaks_at, peaks, troughs_at, troughs

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

    def candle(
        self, timeframe: Timeframe, open_ms: int, end_ms: int, first: int, last: int, steps: int, closed: bool = True
    ) -> Candle | None:
        """Return the derived candle of [`open_ms`, `end_ms`), made of the rows from `first` up to but not `last`.

        `steps` is how many source intervals belong to it. A `first` before the oldest row counts as absent. Returns
        ``None`` if every row is absent.
        """
        rows, odd_at = self._rows, self._odd_at
        if first < 0 or not closed or last != len(rows) or (odd_at and odd_at[-1] >= first):
            return self._odd_candle(timeframe, open_ms, end_ms, max(first, 0), last, steps, closed)
        # The usual case: every row is there, with all values and all its steps.
        traded_at, latest = self._traded_at, rows[-1]
        assert latest is not None, "an absent row was taken for a whole one"
        if not traded_at or traded_at[-1] < first:
            opened = high = low = close = latest.close
        else:
            oldest = rows[first if len(traded_at) == last else traded_at[bisect_left(traded_at, first)]]
            newest = rows[traded_at[-1]]
            assert oldest is not None, "an absent row was taken for a whole one"
            assert newest is not None, "an absent row was taken for a whole one"
            opened, close = oldest.open, newest.close
            high = self._peaks[bisect_left(self._peaks_at, first)]
            low = self._troughs[bisect_left(self._troughs_at, first)]
        volume, quote, trades, taker, taker_quote = self._totals[last]
        volume0, quote0, trades0, taker0, taker_quote0 = self._totals[first]
        return Candle(  # by position, which is faster
            latest.venue,
            latest.symbol,
            timeframe,
            open_ms,
            end_ms - 1,
            opened,
            high,
            low,
            close,
            _subtract(volume, volume0),
            _subtract(quote, quote0),
            trades - trades0,
            _subtract(taker, taker0),
            _subtract(taker_quote, taker_quote0),
            True,
            True,
            Source.DERIVED,
            0,
            latest.received_ms,
        )

    def _odd_candle(
        self, timeframe: Timeframe, open_ms: int, end_ms: int, first: int, last: int, steps: int, closed: bool
    ) -> Candle | None:
        """Return the candle of rows of which some may be out of the ordinary, or that has more of them to come."""
        rows = [row for row in self._rows[first:last] if row is not None]
        if not rows:
            return None
        latest = rows[-1]
        traded = [row for row in rows if row.trades or row.volume]
        if traded:
            opened, close = traded[0].open, traded[-1].close
            high, low = max(row.high for row in traded), min(row.low for row in traded)
        else:
            opened = high = low = close = latest.close
        counts = [row.trades for row in rows]
        pairs = zip(self._rows[first:last], self._steps[first:last], strict=True)
        missing = steps - sum(there - row.missing for row, there in pairs if row is not None)
        return Candle(
            latest.venue,
            latest.symbol,
            timeframe,
            open_ms,
            end_ms - 1,
            opened,
            high,
            low,
            close,
            _subtract(self._totals[last][0], self._totals[first][0]),
            _sum([row.quote_volume for row in rows]),
            None if None in counts else sum(count for count in counts if count),
            _sum([row.taker_buy_volume for row in rows]),
            _sum([row.taker_buy_quote_volume for row in rows]),
            closed,
            not missing,
            Source.DERIVED,
            0,
            latest.received_ms,
            missing,
        )

    def _push(self, index: int, high: Decimal, low: Decimal) -> None:
        """Take notice of a row with trades."""
        peaks, peaks_at, troughs, troughs_at = self._peaks, self._peaks_at, self._troughs, self._troughs_at
        while peaks and peaks[-1] <= high:
            peaks.pop()
            peaks_at.pop()
        peaks.append(high)
        peaks_at.append(index)
        while troughs and troughs[-1] >= low:
            troughs.pop()
            troughs_at.pop()
        troughs.append(low)
        troughs_at.append(index)
        self._traded_at.append(index)

    def _following(self, index: int) -> list[tuple[Candle | None, int]]:
        """Return the rows from `index` on, each with the steps it stands for."""
        return list(zip(self._rows[index:], self._steps[index:], strict=True))

    def _cut(self, index: int) -> None:
        """Drop the rows from `index` on."""
        del self._rows[index:], self._steps[index:], self._totals[index + 1 :]
        del self._odd_at[bisect_left(self._odd_at, index) :]
        self._peaks_at, self._peaks, self._troughs_at, self._troughs, self._traded_at = [], [], [], [], []
        for at, row in enumerate(self._rows):
            if row is not None and (row.trades or row.volume):
                self._push(at, row.high, row.low)

    def _forget(self, count: int) -> None:
        """Drop the `count` oldest rows."""
        for _ in range(count):
            self.begin_ms = self.size.next_open(self.begin_ms)
        del self._rows[:count], self._steps[:count], self._totals[:count]
        del self._peaks[: bisect_left(self._peaks_at, count)], self._troughs[: bisect_left(self._troughs_at, count)]
        for indices in (self._odd_at, self._traded_at, self._peaks_at, self._troughs_at):
            indices[:] = [index - count for index in indices if index >= count]


def _sum(amounts: list[Decimal | None]) -> Decimal | None:
    total = _ZERO
    for amount in amounts:
        if amount is None:
            return None
        total = _add(total, amount)
    return total
