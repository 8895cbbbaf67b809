"""Constituents: the rows of a table, prepared so that any stretch of them is summed up without going over it again.

The aggregation rule, as `candleactors.core.window` has it, for columns. Sums are differences of running totals; first
and last traded rows are looked up; only highs and lows are reduced for each timeframe.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
from attrs import evolve

from candleactors.columnar.column import Column, Integers, narrowed
from candleactors.columnar.grid import Grid, Instants, Numbers
from candleactors.model import Source, Timeframe

if TYPE_CHECKING:
    from candleactors.columnar.table import CandleTable

_INT64: Final = 2**63

SUMMED: Final = ("volume", "quote_volume", "trades", "taker_buy_volume", "taker_buy_quote_volume")


class Totals:
    """Running totals of a column: sums over any stretch of rows, exact."""

    def __init__(self, column: Column) -> None:
        self._column = column
        values = column.values
        self._totals = running(values)
        self._lacking = None if column.given is None else running((~column.given).astype(np.int64))
        if values.dtype == object:
            self._largest = self._all = 0
        else:
            self._largest = max(int(values.max()), -int(values.min()))
            # Rounded, but by less than one in a thousand.
            self._all = int(1.001 * float(np.abs(values, dtype=np.float64).sum()))

    def between(self, edges: Integers) -> Column:
        """Return the sum over each stretch between two neighbouring `edges`, not given where a row is not."""
        column, totals = self._column, self._totals
        if totals.dtype != object and not self._fits(edges):
            totals = self._totals = running(column.values.astype(object))
        sums = narrowed(np.diff(totals[edges]))
        if self._lacking is None:
            return Column(sums, column.digits)
        given = np.diff(self._lacking[edges]) == 0
        return Column(np.where(given, sums, 0), column.digits, None if given.all() else given)

    def _fits(self, edges: Integers) -> bool:
        """Whether no sum can leave 64 bits. Totals may: they wrap, and so does their difference, back to the sum."""
        return min(self._largest * int(np.diff(edges).max(initial=0)), self._all) < _INT64


class Constituents:
    """The rows of `table`, which must not be empty, as constituents of whatever timeframe they make up."""

    def __init__(self, table: CandleTable) -> None:
        self._table = table
        count, traded = len(table), table.traded
        rows = np.arange(count)
        self._traded_from = np.minimum.accumulate(np.where(traded, rows, count - 1)[::-1])[::-1]
        """By row, the first traded one from there on; without any, the last row of all."""
        self._traded_until = np.maximum.accumulate(np.where(traded, rows, -1))
        """By row, the last traded one up to there; without any, -1."""
        # In rows without trades, a price that no traded row falls short of, or exceeds: it decides nothing beside one.
        self._highs = np.where(traded, table.high.values, table.high.values.min())
        self._lows = np.where(traded, table.low.values, table.low.values.max())
        self._sums = {name: Totals(getattr(table, name)) for name in SUMMED}
        self._base = Grid(table.base)
        self._present = running(self._spanned(table.open_time_ms, table.until_ms) - table.missing)

    def derive(self, timeframe: Timeframe) -> CandleTable:
        """Return the candles of `timeframe`, which consists of whole intervals of the table's own."""
        table, grid = self._table, Grid(timeframe)
        numbers = grid.number(table.open_time_ms)
        edges = np.concatenate(([0], np.flatnonzero(numbers[1:] != numbers[:-1]) + 1, [len(table)]))
        first, last = edges[:-1], edges[1:] - 1
        open_ms, until_ms = grid.open_ms(numbers[first]), grid.open_ms(numbers[first] + 1)

        closing = self._traded_until[last]
        flat = closing < first
        untraded = np.flatnonzero(flat)
        closing[untraded] = last[untraded]
        close = table.close.values[closing]
        prices = {
            "open": table.open.values[self._traded_from[first]],
            "high": np.maximum.reduceat(self._highs, first),
            "low": np.minimum.reduceat(self._lows, first),
            "close": close,
        }
        for values in prices.values():
            values[untraded] = close[untraded]
        columns: dict[str, Any] = {name: Column(values, table.close.digits) for name, values in prices.items()}
        columns |= {name: totals.between(edges) for name, totals in self._sums.items()}
        missing = self._spanned(open_ms, until_ms) - np.diff(self._present[edges])
        return evolve(
            table,
            timeframe=timeframe,
            open_time_ms=open_ms,
            until_ms=until_ms,
            traded=~flat,
            missing=missing,
            complete=missing == 0,
            source=np.broadcast_to(np.array(Source.DERIVED, dtype=object), len(first)),
            revision=np.broadcast_to(np.array(0), len(first)),
            received_ms=table.received_ms[last],
            finished=table.finished and bool(until_ms[-1] == table.until_ms[-1]),
            **columns,
        )

    def _spanned(self, open_ms: Instants, until_ms: Instants) -> Numbers:
        """Return how many intervals of the base lie in [`open_ms`, `until_ms`)."""
        return self._base.number(until_ms) - self._base.number(open_ms)


def running(values: Integers) -> Integers:
    """Return the totals of `values` before each of them and after the last."""
    totals = np.zeros(len(values) + 1, dtype=values.dtype)
    np.cumsum(values, out=totals[1:])
    return totals
