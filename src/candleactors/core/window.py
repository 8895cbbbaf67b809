"""Windows: the latest constituents of derived candles, and what any stretch of them amounts to.

The aggregation rule lives here, once:

- A constituent without trades does not touch open, high, low or close as long as another has trades; where none has,
  all four are the last close.
- Volumes and the number of trades are exact sums, ``None`` where a constituent does not say.
- What is absent is counted.

Sums are differences of running totals, so a candle of 60 constituents costs as little as one of two.
"""

from __future__ import annotations

from decimal import Context, Decimal, DivisionByZero, Inexact, InvalidOperation, Overflow
from typing import Final, TypeAlias

from candleactors.model import Candle, Source, Timeframe

_EXACT: Final = Context(prec=2_000, traps=[Inexact, InvalidOperation, DivisionByZero, Overflow])
_add: Final = _EXACT.add
_subtract: Final = _EXACT.subtract
_ZERO: Final = Decimal(0)
_BELOW_ALL: Final = Decimal("-Infinity")
_ABOVE_ALL: Final = Decimal("Infinity")
_SLACK: Final = 16
_OPTIONAL: Final = ("quote_volume", "trades", "taker_buy_volume", "taker_buy_quote_volume")

_Totals: TypeAlias = tuple[Decimal, Decimal, int, Decimal, Decimal, int, int, int, int]
"""Volume, quote volume, trades, taker volumes; rows present, rows traded, rows that lack a value; steps present."""
_NOTHING: Final[_Totals] = (_ZERO, _ZERO, 0, _ZERO, _ZERO, 0, 0, 0, 0)


class Window:
    """The last `limit` or some more intervals of `size`, each a candle or absent, in a row without holes.

    Rows are counted from the oldest one kept. A row stands for a number of *steps*, intervals of the original source:
    one where this is the source's own window, 60 where it holds hours made of minutes. Nothing here blocks.
    """

    __slots__ = ("_highs", "_lows", "_rows", "_totals", "begin_ms", "limit", "size")

    def __init__(self, size: Timeframe, limit: int, begin_ms: int) -> None:
        self.size = size
        self.limit = limit
        self.begin_ms = begin_ms
        """Open time of the oldest row."""
        self._rows: list[Candle | None] = []
        # Of rows without trades, what no comparison picks.
        self._highs: list[Decimal] = []
        self._lows: list[Decimal] = []
        self._totals: list[_Totals] = [_NOTHING]

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
        volume, quote, trades, taker, taker_quote, present, traded, lacking, have = self._totals[-1]
        if candle is None:
            self._highs.append(_BELOW_ALL)
            self._lows.append(_ABOVE_ALL)
        else:
            present += 1
            have += steps - candle.missing
            amount, count = candle.volume, candle.trades
            if count or amount:
                traded += 1
                self._highs.append(candle.high)
                self._lows.append(candle.low)
            else:
                self._highs.append(_BELOW_ALL)
                self._lows.append(_ABOVE_ALL)
            volume = _add(volume, amount)
            more_quote, more_taker = candle.quote_volume, candle.taker_buy_volume
            more_taker_quote = candle.taker_buy_quote_volume
            if more_quote is None or count is None or more_taker is None or more_taker_quote is None:
                lacking += 1
            else:
                quote = _add(quote, more_quote)
                trades += count
                taker = _add(taker, more_taker)
                taker_quote = _add(taker_quote, more_taker_quote)
        self._totals.append((volume, quote, trades, taker, taker_quote, present, traded, lacking, have))

    def pop(self) -> None:
        """Take back the newest row."""
        for column in (self._rows, self._highs, self._lows, self._totals):
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

    def candle(
        self, timeframe: Timeframe, open_ms: int, end_ms: int, first: int, last: int, steps: int, *, closed: bool = True
    ) -> Candle | None:
        """Return the derived candle of [`open_ms`, `end_ms`), made of the rows from `first` up to but not `last`.

        `steps` is how many source intervals belong to it. A `first` before the oldest row counts as absent. Returns
        ``None`` if every row is absent.
        """
        first = max(first, 0)
        totals = self._totals
        volume, quote, trades, taker, taker_quote, present, traded, lacking, have = totals[last]
        volume0, quote0, trades0, taker0, taker_quote0, present0, traded0, lacking0, have0 = totals[first]
        if present == present0:
            return None
        rows = self._rows
        if traded - traded0 == last - first:
            oldest, newest, latest = rows[first], rows[last - 1], rows[last - 1]
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
            opened, high, low = oldest.open, max(self._highs[first:last]), min(self._lows[first:last])
        amounts: tuple[Decimal | None, int | None, Decimal | None, Decimal | None] = (
            _subtract(quote, quote0),
            trades - trades0,
            _subtract(taker, taker0),
            _subtract(taker_quote, taker_quote0),
        )
        if lacking != lacking0:
            amounts = self._sums(first, last)
        missing = steps - have + have0
        return Candle(  # by position, which is faster
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
            *amounts,
            closed,
            not missing,
            Source.DERIVED,
            0,
            latest.received_ms,
            missing,
        )

    def _sums(self, first: int, last: int) -> tuple[Decimal | None, int | None, Decimal | None, Decimal | None]:
        """Return the sums of what a candle need not have, where one of them does not have it all."""
        sums: list[Decimal | int | None] = []
        rows = [row for row in self._rows[first:last] if row is not None]
        for name in _OPTIONAL:
            values = [getattr(row, name) for row in rows]
            if None in values:
                sums.append(None)
            elif name == "trades":
                sums.append(sum(values))
            else:
                total = _ZERO
                for value in values:
                    total = _add(total, value)
                sums.append(total)
        return tuple(sums)  # type: ignore[return-value]  # one of each kind, in the order of the names

    def _following(self, index: int) -> list[tuple[Candle | None, int]]:
        """Return the rows from `index` on, each with the steps it stands for."""
        rows, have = self._rows, [totals[-1] for totals in self._totals]
        return [
            (row, 0 if row is None else have[at + 1] - have[at] + row.missing)
            for at, row in enumerate(rows[index:], index)
        ]

    def _cut(self, index: int) -> None:
        del self._rows[index:], self._highs[index:], self._lows[index:], self._totals[index + 1 :]

    def _forget(self, count: int) -> None:
        for _ in range(count):
            self.begin_ms = self.size.next_open(self.begin_ms)
        for column in (self._rows, self._highs, self._lows, self._totals):
            del column[:count]
