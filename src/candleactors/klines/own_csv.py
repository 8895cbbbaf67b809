"""Our own CSV: candles with everything known of them, as `candleactors.klines.writers` writes them.

One file may hold several streams.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Final, TypeAlias

from candleactors.errors import MalformedFile, excerpt
from candleactors.klines.grid import Grid
from candleactors.klines.lines import Line
from candleactors.klines.rows import Told
from candleactors.model import Candle, Source, Timeframe
from candleactors.records import FIELDS

UNKNOWN_VENUE: Final = "unknown"
"""The venue of rows that nothing says the venue of."""

HEADER: Final = ",".join(FIELDS)
_HEADERS: Final = (HEADER, HEADER.removesuffix(",missing"))
_NUMBER: Final = re.compile(r"[0-9]{1,80}(?:\.[0-9]{1,80})?")
_INTEGER: Final = re.compile(r"[0-9]{1,18}")
_SIGNED: Final = re.compile(r"-?[0-9]{1,18}")
_LATEST_MS: Final = 6 * 10**13
"""From 1970 in either direction: some 1,900 years, within what a calendar can do."""
_BOOLEANS: Final = {"true": True, "false": False}
_SOURCES: Final = {source.value: source for source in Source}

_Name: TypeAlias = tuple[str, str, str]


def is_own(header: str) -> bool:
    """Whether `header` is that of our own files, with the last column or without, which came later than the others."""
    return header in _HEADERS


class OwnRows:
    """Reads lines of our own CSV. What `asked` names has to be what the rows say, an unknown venue excepted."""

    def __init__(self, header: str, asked: Told, path: str) -> None:
        self._columns = header.count(",") + 1
        self._asked = asked
        self._path = path
        self._grids: dict[_Name, Grid] = {}

    def candles(self, lines: Iterator[Line]) -> Iterator[tuple[int, Candle]]:
        """Yield the candles, each with the number of its line; raises `MalformedFile`."""
        for number, line in lines:
            try:
                yield number, self._candle(line)
            except ValueError as error:
                raise MalformedFile(str(error), path=self._path, line=number) from None

    def _candle(self, line: str) -> Candle:
        cells = _cells(line)
        if len(cells) != self._columns:
            raise ValueError(f"{len(cells)} columns instead of {self._columns}")
        venue, symbol, name, opened, closed, *numbers = cells[:14]
        values = dict(zip(FIELDS[3:], cells[3:], strict=False))
        open_ms = _integer(values, "open_time_ms", _SIGNED)
        grid = self._grids.get((venue, symbol, name))
        if grid is None:
            grid = self._grids[venue, symbol, name] = self._begin(venue, symbol, name, open_ms)
        if abs(open_ms) > _LATEST_MS or not grid.has(open_ms):
            raise ValueError(f"opens at {opened}, where no interval of {name} does")
        close_ms = grid.close_ms(open_ms)
        if closed != str(close_ms):
            raise ValueError(f'close_time_ms is "{excerpt(closed, 40)}" instead of {close_ms}')
        candle = Candle(
            self._asked.venue or venue,
            symbol,
            grid.timeframe,
            open_ms,
            close_ms,
            _decimal(values, "open"),
            _decimal(values, "high"),
            _decimal(values, "low"),
            _decimal(values, "close"),
            _decimal(values, "volume"),
            _decimal(values, "quote_volume") if numbers[5] else None,
            _integer(values, "trades") if numbers[6] else None,
            _decimal(values, "taker_buy_volume") if numbers[7] else None,
            _decimal(values, "taker_buy_quote_volume") if numbers[8] else None,
            _boolean(values, "closed"),
            _boolean(values, "complete"),
            _source(values["source"]),
            _integer(values, "revision"),
            _integer(values, "received_ms", _SIGNED),
            _integer(values, "missing") if "missing" in values else 0,
        )
        problem = candle.problem()
        if problem is None and candle.complete and candle.missing:
            problem = f"is complete although {candle.missing} constituents are missing"
        if problem is not None:
            raise ValueError(problem)
        return candle

    def _begin(self, venue: str, symbol: str, name: str, first_open_ms: int) -> Grid:
        asked = self._asked
        if not venue or not symbol:
            raise ValueError("venue or symbol is empty")
        timeframe = Timeframe(name)
        told = [("symbol", symbol, asked.symbol), ("timeframe", timeframe.text, asked.timeframe)]
        if venue != UNKNOWN_VENUE:
            told.insert(0, ("venue", venue, asked.venue))
        for what, said, wanted in told:
            if wanted not in (None, said):
                raise ValueError(f"the {what} is {said}, not {wanted}")
        return Grid(timeframe, first_open_ms)


def _cells(line: str) -> list[str]:
    if '"' not in line:
        return line.split(",")
    try:
        return next(csv.reader([line], strict=True))
    except csv.Error as error:
        raise ValueError(f"no CSV: {error}") from None


def _decimal(values: dict[str, str], name: str) -> Decimal:
    if _NUMBER.fullmatch(values[name]) is None:
        raise ValueError(f'{name} is "{excerpt(values[name], 40)}", not a non-negative number')
    return Decimal(values[name])


def _integer(values: dict[str, str], name: str, shape: re.Pattern[str] = _INTEGER) -> int:
    if shape.fullmatch(values[name]) is None:
        raise ValueError(f'{name} is "{excerpt(values[name], 40)}", not a whole number')
    return int(values[name])


def _boolean(values: dict[str, str], name: str) -> bool:
    value = _BOOLEANS.get(values[name])
    if value is None:
        raise ValueError(f'{name} is "{excerpt(values[name], 40)}", neither true nor false')
    return value


def _source(text: str) -> Source:
    source = _SOURCES.get(text)
    if source is None:
        raise ValueError(f'source is "{excerpt(text, 40)}", none of {", ".join(_SOURCES)}')
    return source
