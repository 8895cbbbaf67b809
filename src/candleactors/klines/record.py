"""One row of a kline, written as comma-separated text, and the candle it stands for."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Final, NoReturn, TypeAlias

from candleactors.errors import excerpt
from candleactors.klines.grid import Grid
from candleactors.klines.instants import EARLIEST_MS, LATEST_MS, epoch_ms
from candleactors.model import Candle, Source, Stream

Record: TypeAlias = tuple[int, str]
"""The number of a line or row, and the `COLUMNS` of a kline joined by commas, a last one without meaning included."""

COLUMNS: Final = (
    "open_time",
    "open",
    "high",
    "low",
    "close",
    "volume",
    "close_time",
    "quote_volume",
    "count",
    "taker_buy_volume",
    "taker_buy_quote_volume",
)
"""The names that the exchange's own dumps give them."""
GIVEN_BY_ALL: Final = frozenset({"open_time", "open", "high", "low", "close", "volume"})

_NUMBER: Final = r"[0-9]{1,31}(?:\.[0-9]{1,32})?(?:[eE][+-]?[0-9]{1,2})?"
_COUNT: Final = r"[0-9]{1,15}"
_TIME: Final = r"[0-9]{9,17}"
_SHAPES: Final = {
    **dict.fromkeys(COLUMNS, _NUMBER),
    "open_time": _TIME,
    "close_time": _TIME,
    "count": _COUNT,
}
_WHOLE: Final = re.compile(",".join(f"({_SHAPES[name]})" for name in COLUMNS) + r"(?:,[^,]*)?")
_SPARSE: Final = re.compile(
    ",".join(f"({_SHAPES[name]})" if name in GIVEN_BY_ALL else f"({_SHAPES[name]})?" for name in COLUMNS) + ",",
    re.ASCII,
)
_CELLS: Final = {name: re.compile(shape) for name, shape in _SHAPES.items()}


class CandleBuilder:
    """Makes the records of one stream into candles. All of them are closed, from REST and of revision 0.

    `sparse` records may lack what not every file gives; it becomes ``None``. Nobody recorded when a row was received,
    so `received_ms` is the earliest it can have been: the open time of the next interval.
    """

    def __init__(self, stream: Stream, grid: Grid, *, sparse: bool) -> None:
        self._stream = stream
        self._grid = grid
        self._sparse = sparse
        self._match = (_SPARSE if sparse else _WHOLE).fullmatch

    def candle(self, text: str) -> Candle:
        """Return the exact candle of a record; raises `ValueError` with the reason where there is none."""
        match = self._match(text)
        if match is None:
            _explain(text, self._sparse)
        opened, first, high, low, last, volume, ended, quote, count, taker, taker_quote = match.groups()
        open_ms = int(opened)
        if not EARLIEST_MS <= open_ms < LATEST_MS:
            open_ms = _whole_ms(open_ms)
        stream, grid = self._stream, self._grid
        if not grid.has(open_ms):
            raise ValueError(f"opens at {opened}, where no interval of {stream.timeframe} does")
        close_ms = grid.close_ms(open_ms)
        if ended is not None and not open_ms <= (end_ms := epoch_ms(int(ended))) <= close_ms:
            lasts = f"lasts {end_ms - open_ms + 1} ms" if end_ms >= open_ms else "ends before it opens"
            raise ValueError(f"{lasts}, not {stream.timeframe}")
        candle = Candle(  # by position, which is faster
            stream.venue,
            stream.symbol,
            stream.timeframe,
            open_ms,
            close_ms,
            Decimal(first),
            Decimal(high),
            Decimal(low),
            Decimal(last),
            Decimal(volume),
            None if quote is None else Decimal(quote),
            None if count is None else int(count),
            None if taker is None else Decimal(taker),
            None if taker_quote is None else Decimal(taker_quote),
            True,
            True,
            Source.REST,
            0,
            close_ms + 1,
        )
        # What the shape of the text proves need not be asked again: all numbers are finite and none is negative.
        if not (0 < candle.low <= candle.open <= candle.high and candle.low <= candle.close <= candle.high):
            raise ValueError(candle.problem())
        return candle


def times_ms(text: str) -> tuple[int, int | None]:
    """Return when the interval of a record opens and how long it lasts, ``None`` where it does not say.

    Raises `ValueError` where it is no record.
    """
    cells = text.split(",")
    opened, ended = cells[0], cells[6] if len(cells) > 6 else ""
    if _CELLS["open_time"].fullmatch(opened) is None or (ended and _CELLS["close_time"].fullmatch(ended) is None):
        _explain(text, sparse=not ended)
    open_ms = _whole_ms(int(opened))
    return open_ms, epoch_ms(int(ended)) - open_ms + 1 if ended else None


def _whole_ms(count: int) -> int:
    at_ms = epoch_ms(count)
    if count >= LATEST_MS and count % 1000:
        raise ValueError(f"opens at {count} µs, which is not a whole millisecond")
    return at_ms


def _explain(text: str, sparse: bool) -> NoReturn:
    """Raise what is wrong with a record that has not the right shape."""
    cells = text.split(",")
    if len(cells) not in (len(COLUMNS), len(COLUMNS) + 1):
        raise ValueError(f"{len(cells)} columns instead of {len(COLUMNS) + 1}")
    for name, cell in zip(COLUMNS, cells, strict=False):
        if _CELLS[name].fullmatch(cell) is None and not (sparse and not cell and name not in GIVEN_BY_ALL):
            what = "a time" if _SHAPES[name] == _TIME else "a count" if name == "count" else "a non-negative number"
            raise ValueError(f'{name} is "{excerpt(cell, 40)}", not {what}')
    raise ValueError(f"not the {len(COLUMNS) + 1} columns of a kline")
