"""CSV files of klines: the exchange's own dumps, with a header or without, and others with a header."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import Final

from candleactors.errors import MalformedFile
from candleactors.klines.header import Columns, cells_of, columns_of
from candleactors.klines.instants import epoch_count, is_microseconds
from candleactors.klines.lines import Line
from candleactors.klines.record import COLUMNS, Record
from candleactors.klines.rows import Records, Told

_SPOT: Final = "binance-spot"
_DUMP_COLUMNS: Final = len(COLUMNS) + 1
_DUMP_HEADER: Final = ",".join(COLUMNS) + ","


def csv_records(first: Line, lines: Iterator[Line], path: str) -> Records:
    """Return the rows of a file whose first line is `first`; raises `MalformedFile`."""
    number, header = first
    try:
        columns = columns_of(header)
    except ValueError as error:
        raise MalformedFile(str(error), path=path, line=number) from None
    if columns is None:
        if not header.lstrip()[:1].isdecimal():
            raise MalformedFile("is neither a header nor a kline", path=path, line=number)
        return _dump(header, chain([first], lines))
    second = next(lines, None)
    if second is None:
        return Records(iter(()), Told(), official=False, sparse=True, last_is_over=True)
    if header.lower().startswith(_DUMP_HEADER) and columns.count == _DUMP_COLUMNS:
        return _dump(second[1], (line for line in chain([second], lines) if line[1] != header))
    return _picked(columns, header, second, lines, path)


def _dump(sample: str, lines: Iterator[Line]) -> Records:
    """Return rows that need no rearranging. Microseconds are what only the spot market's dumps have, since 2025."""
    opened = sample.partition(",")[0]
    spot = opened.isascii() and opened.isdecimal() and is_microseconds(int(opened[:20]))
    return Records(lines, Told(_SPOT if spot else None), official=True, sparse=False, last_is_over=True)


def _picked(columns: Columns, header: str, second: Line, lines: Iterator[Line], path: str) -> Records:
    """Return rows whose columns have to be put in order."""
    delimiter = columns.delimiter
    try:
        sample = cells_of(second[1], delimiter)
    except ValueError as error:
        raise MalformedFile(str(error), path=path, line=second[0]) from None
    # A date beside an epoch is often in somebody's local time.
    digits = [index for index in columns.times if index < len(sample) and sample[index][:9].isdecimal()]
    time = (digits or columns.times)[0]
    symbol = sample[columns.symbol] if columns.symbol is not None and columns.symbol < len(sample) else None
    ended = columns.others[COLUMNS.index("close_time") - 1]

    def rows() -> Iterator[Record]:
        for number, line in chain([second], lines):
            if line == header:
                continue
            try:
                cells = cells_of(line, delimiter)
                if len(cells) != columns.count:
                    raise ValueError(f"{len(cells)} columns instead of {columns.count}")
                if symbol is not None and columns.symbol is not None and cells[columns.symbol] != symbol:
                    raise ValueError(f'the symbol is "{cells[columns.symbol]}", in the rows above "{symbol}"')
                cells[time] = epoch_count(cells[time])
                if ended is not None and cells[ended]:
                    cells[ended] = epoch_count(cells[ended])
            except ValueError as error:
                raise MalformedFile(str(error), path=path, line=number) from None
            picked = [cells[time], *("" if index is None else cells[index] for index in columns.others), ""]
            if any("," in cell for cell in picked):
                wrong = next(cell for cell in picked if "," in cell)
                raise MalformedFile(f'"{wrong}" is not a plain number', path=path, line=number)
            yield number, ",".join(picked)

    official = bool(digits) and None not in columns.others
    return Records(rows(), Told(symbol=symbol or None), official=official, sparse=True, last_is_over=official)
