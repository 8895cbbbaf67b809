"""Candle tables: the candles of one stream as columns."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import repeat
from typing import Any

import numpy as np
import numpy.typing as npt
from attrs import frozen

from candleactors.columnar.column import Column, Flags, Integers, integers
from candleactors.columnar.constituents import Constituents
from candleactors.columnar.grid import Grid, Instants
from candleactors.core.bars import targets
from candleactors.errors import InvalidTimeframe, UnorderedCandles
from candleactors.model import Candle, Timeframe


@frozen(eq=False, kw_only=True)
class CandleTable:
    """Closed candles of one stream in ascending order, at least one; immutable, and so are its arrays.

    Columns have the names of a candle's fields, and prices share their number of digits. `until_ms` are the open times
    of the next intervals. `missing` counts intervals of `base`, the timeframe that the first table was `of`. `traded`
    tells which rows had trades. Only the last row can be of an interval that is not over, and `finished` is false then.
    """

    venue: str
    symbol: str
    timeframe: Timeframe
    base: Timeframe
    open_time_ms: Instants
    until_ms: Instants
    open: Column
    high: Column
    low: Column
    close: Column
    volume: Column
    quote_volume: Column
    trades: Column
    taker_buy_volume: Column
    taker_buy_quote_volume: Column
    traded: Flags
    missing: Integers
    complete: Flags
    source: npt.NDArray[np.object_]
    revision: Integers
    received_ms: Integers
    finished: bool

    def __attrs_post_init__(self) -> None:
        for name in ("open_time_ms", "until_ms", "traded", "missing", "complete", "source", "revision", "received_ms"):
            getattr(self, name).flags.writeable = False

    @classmethod
    def of(cls, candles: Iterable[Candle]) -> CandleTable:
        """Return `candles`, which belong to one stream and ascend, as a table.

        Those not closed are left out, and those that repeat an earlier one. Raises `UnorderedCandles` for one that goes
        back otherwise, is off the timeframe's grid or belongs to another stream; `ValueError` if nothing remains or a
        number is not finite.
        """
        rows = [candle for candle in candles if candle.closed]
        if not rows:
            raise ValueError("a table needs a closed candle at least")
        venue, symbol, timeframe = rows[0].venue, rows[0].symbol, rows[0].timeframe
        for row in rows:
            if row.timeframe != timeframe or row.symbol != symbol or row.venue != venue:
                raise UnorderedCandles(f"{row.stream} does not belong to {rows[0].stream}")
        open_ms = np.array([row.open_time_ms for row in rows], dtype=np.int64)
        if (open_ms[1:] <= open_ms[:-1]).any():
            rows = _ascending(rows)
            open_ms = np.array([row.open_time_ms for row in rows], dtype=np.int64)
        grid = Grid(timeframe)
        numbers = grid.number(open_ms)
        if (strays := np.flatnonzero(grid.open_ms(numbers) != open_ms)).size:
            raise UnorderedCandles(f"a candle of {rows[0].stream} opens at {open_ms[strays[0]]}, off its grid")
        prices = [price for name in ("open", "high", "low", "close") for price in _all(rows, name)]
        opened, high, low, close = Column.of_decimals(prices).split(4)
        volume = Column.of_decimals(_all(rows, "volume"))
        trades = Column.of_integers(_all(rows, "trades"))
        return cls(
            venue=venue,
            symbol=symbol,
            timeframe=timeframe,
            base=timeframe,
            open_time_ms=open_ms,
            until_ms=grid.open_ms(numbers + 1),
            open=opened,
            high=high,
            low=low,
            close=close,
            volume=volume,
            quote_volume=Column.of_decimals(_all(rows, "quote_volume")),
            trades=trades,
            taker_buy_volume=Column.of_decimals(_all(rows, "taker_buy_volume")),
            taker_buy_quote_volume=Column.of_decimals(_all(rows, "taker_buy_quote_volume")),
            traded=((trades.values != 0) | (volume.values != 0)).astype(np.bool_),
            missing=integers(_all(rows, "missing")),
            complete=np.array(_all(rows, "complete"), dtype=np.bool_),
            source=np.array(_all(rows, "source"), dtype=object),
            revision=integers(_all(rows, "revision")),
            received_ms=integers(_all(rows, "received_ms")),
            finished=True,
        )

    def __len__(self) -> int:
        return len(self.open_time_ms)

    def resample(self, to: Timeframe | str, anchor: str = "day") -> CandleTable:
        """Return the candles of timeframe `to`, as `resample_all` makes them."""
        timeframe = Timeframe(to) if isinstance(to, str) else to
        (table,) = self.resample_all([timeframe], anchor).values()
        return table

    def resample_all(
        self, to: Timeframe | str | Iterable[Timeframe | str], anchor: str = "day"
    ) -> dict[Timeframe, CandleTable]:
        """Return the candles of several timeframes, written as for `candleactors.resample`, and the same as it gives.

        Each is made of the largest one that tiles it, which changes nothing but the time it takes. Of a derived table
        comes what would come of the table it was derived from. Raises `InvalidTimeframe` for one that does not consist
        of whole intervals of this table.
        """
        wanted = targets((to,) if isinstance(to, (str, Timeframe)) else tuple(to), anchor)
        made = {self.timeframe: self}
        for parent, children in _plan(self.timeframe, wanted).items():
            constituents = Constituents(made[parent])
            made |= {child: constituents.derive(child) for child in children}
        return {timeframe: made[timeframe] for timeframe in wanted}

    def candles(self) -> list[Candle]:
        """Return the rows as candles, ascending."""
        rows = len(self)
        return list(
            map(  # by position, in the order of the fields
                Candle,
                repeat(self.venue, rows),
                repeat(self.symbol),
                repeat(self.timeframe),
                self.open_time_ms.tolist(),
                (self.until_ms - 1).tolist(),
                self.open.as_decimals(),
                self.high.as_decimals(),
                self.low.as_decimals(),
                self.close.as_decimals(),
                self.volume.as_decimals(),
                self.quote_volume.as_decimals(),
                self.trades.as_integers(),
                self.taker_buy_volume.as_decimals(),
                self.taker_buy_quote_volume.as_decimals(),
                [True] * (rows - 1) + [self.finished],
                self.complete.tolist(),
                self.source.tolist(),
                self.revision.tolist(),
                self.received_ms.tolist(),
                self.missing.tolist(),
            )
        )


def _plan(source: Timeframe, wanted: Iterable[Timeframe]) -> dict[Timeframe, list[Timeframe]]:
    """Return which of `wanted` to make of which: each of the longest there is, in an order that works out."""
    plan: dict[Timeframe, list[Timeframe]] = {}
    available = [source]
    for timeframe in sorted(set(wanted) - {source}, key=_length):
        if not source.tiles(timeframe):
            raise InvalidTimeframe(f'"{timeframe}" cannot be made of {source} candles')
        parent = max((one for one in available if one.tiles(timeframe)), key=_length)
        plan.setdefault(parent, []).append(timeframe)
        available.append(timeframe)
    return plan


def _length(timeframe: Timeframe) -> int:
    return timeframe.nominal_ms


def _all(candles: Sequence[Candle], name: str) -> list[Any]:
    return [getattr(candle, name) for candle in candles]


def _ascending(candles: Iterable[Candle]) -> list[Candle]:
    """Return `candles` without those that repeat an earlier one; raises `UnorderedCandles` for others that go back."""
    known: dict[int, Candle] = {}
    latest_ms: int | None = None
    for candle in candles:
        open_ms = candle.open_time_ms
        if latest_ms is None or open_ms > latest_ms:
            known[open_ms] = candle
            latest_ms = open_ms
            continue
        same = known.get(open_ms)
        if same is None or not (same.same_values(candle) and same.missing == candle.missing):
            raise UnorderedCandles(
                f"a candle of {candle.stream} opens at {open_ms}, after a later one or another of that time"
            )
    return list(known.values())
