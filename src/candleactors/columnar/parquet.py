"""Parquet: candle tables in files that dataframes read, every number exact. Needs the extra ``parquet``."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import IO, Any, Final

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]  # it comes without types
import pyarrow.parquet as pq  # type: ignore[import-untyped]  # it comes without types
from attrs import define, field

from candleactors.columnar.column import Column
from candleactors.columnar.table import CandleTable
from candleactors.errors import CandleactorsError
from candleactors.model import Source, Stream

METADATA: Final = "candleactors"
"""The key of what the file says about itself: a JSON object."""
_PRICES: Final = ("open", "high", "low", "close")
NUMBERS: Final = (*_PRICES, "volume", "quote_volume", "taker_buy_volume", "taker_buy_quote_volume")
NAMES: Final = ("venue", "symbol", "timeframe")

_GROUP: Final = 1 << 16  # rows, held in memory as columns
_MOST_128: Final = 38
_MOST: Final = 76
_INSTANT: Final = pa.timestamp("ms", tz="UTC")
_NAME: Final = pa.dictionary(pa.int32(), pa.string())
_SOURCES: Final = tuple(source.value for source in Source)


@define
class Digits:
    """How many digits the numbers of candle tables have before and after the point, at most, by column.

    Prices share theirs. Made from every table that is to be written, before the first is.
    """

    whole: dict[str, int] = field(factory=dict)
    after: dict[str, int] = field(factory=dict)

    def add(self, table: CandleTable) -> None:
        """Take in a table."""
        for name in NUMBERS:
            column: Column = getattr(table, name)
            shared = _shared(name)
            largest = int(column.values.max()) // 10**column.digits
            self.whole[shared] = max(self.whole.get(shared, 1), len(str(largest)))
            self.after[shared] = max(self.after.get(shared, 0), column.digits)

    def type_of(self, name: str) -> Any:
        """Return the Arrow type that holds a column without loss; raises `CandleactorsError` where there is none."""
        after = self.after.get(_shared(name), 0)
        precision = self.whole.get(_shared(name), 1) + after
        if precision > _MOST:
            raise CandleactorsError(f"{name} has {precision} digits, more than Parquet holds; export CSV, or floats")
        return pa.decimal128(precision, after) if precision <= _MOST_128 else pa.decimal256(precision, after)


class ParquetCandles:
    """Writes candle tables of `streams` into `out`, which stays the caller's; blocks. A context manager.

    Numbers are decimals as wide as `digits` say, or ``float64`` without. `named`: with columns for venue, symbol and
    timeframe. Rows are held until there are enough for a row group.
    """

    def __init__(self, out: IO[bytes], streams: Sequence[Stream], digits: Digits | None, *, named: bool) -> None:
        self._names = {name: sorted({str(getattr(stream, name)) for stream in streams}) for name in NAMES if named}
        number = {name: pa.float64() if digits is None else digits.type_of(name) for name in NUMBERS}
        fields: list[tuple[str, Any]] = [
            *((name, _NAME) for name in self._names),
            *(("open_time", _INSTANT), ("close_time", _INSTANT)),
            *((name, number[name]) for name in NUMBERS[:6]),
            ("trades", pa.int64()),
            *((name, number[name]) for name in NUMBERS[6:]),
            *(("complete", pa.bool_()), ("source", _NAME), ("revision", pa.int32())),
            *(("received_at", _INSTANT), ("missing", pa.int32())),
        ]
        self._schema = pa.schema(fields)
        self._writer = pq.ParquetWriter(
            out, self._schema, compression="zstd", use_dictionary=[*self._names, "source"], write_page_index=True
        )
        self._waiting: list[Any] = []
        self._rows = 0

    def write(self, table: CandleTable) -> None:
        """Write a table after those before; raises `CandleactorsError` where its numbers have more digits."""
        rows = len(table)
        columns: dict[str, Any] = {
            "open_time": _instants(table.open_time_ms),
            "close_time": _instants(table.until_ms - 1),
            "trades": pa.array(table.trades.values, pa.int64(), mask=_mask(table.trades)),
            "complete": pa.array(table.complete),
            "source": _named(_SOURCES, np.fromiter(map(_SOURCES.index, table.source), np.int32, rows)),
            "revision": pa.array(table.revision, pa.int32()),
            "received_at": _instants(table.received_ms),
            "missing": pa.array(table.missing, pa.int32()),
        }
        for name, known in self._names.items():
            index = known.index(str(getattr(table, name)))
            columns[name] = _named(known, np.full(rows, index, np.int32))
        for name in NUMBERS:
            number, column = self._schema.field(name).type, getattr(table, name)
            columns[name] = _floats(column) if number == pa.float64() else _decimals(column, number)
        arrays = [columns[name] for name in self._schema.names]
        self._waiting.append(pa.record_batch(arrays, schema=self._schema))
        self._rows += rows
        if self._rows >= _GROUP:
            self._write_group()

    def __enter__(self) -> ParquetCandles:
        return self

    def __exit__(self, *error: object) -> None:
        if self._writer.is_open:
            # Given up: what it would yet write at its end is nothing that anybody reads.
            with suppress(OSError, pa.ArrowException):
                self._writer.close()

    def finish(self, said: Mapping[str, object]) -> None:
        """Write what is left, and `said` as what the file says about itself."""
        self._write_group()
        self._writer.add_key_value_metadata({METADATA: json.dumps(said)})
        self._writer.close()

    def _write_group(self) -> None:
        if self._waiting:
            self._writer.write_table(pa.Table.from_batches(self._waiting), row_group_size=self._rows)
        self._waiting, self._rows = [], 0


def _shared(name: str) -> str:
    return "price" if name in _PRICES else name


def _instants(at_ms: Any) -> Any:
    return pa.array(at_ms, pa.int64()).cast(_INSTANT)


def _named(names: Sequence[str], numbers: Any) -> Any:
    return pa.DictionaryArray.from_arrays(pa.array(numbers), pa.array(names, pa.string()))


def _mask(column: Column) -> Any:
    return None if column.given is None else ~column.given


def _floats(column: Column) -> Any:
    values, mask = column.values, _mask(column)
    if values.dtype == np.int64 and column.digits <= 22 and (values < 1 << 53).all():
        # Both are exact as floats, so that their quotient is the nearest one there is.
        return pa.array(values / 10.0**column.digits, pa.float64(), mask=mask)
    return pa.array([None if number is None else float(number) for number in column.as_decimals()], pa.float64())


def _decimals(column: Column, wanted: Any) -> Any:
    most = 10 ** (wanted.precision - wanted.scale + column.digits)
    if column.digits > wanted.scale or int(column.values.max()) >= most:
        raise CandleactorsError("numbers got longer while they were exported; export them again")
    factor, values = 10 ** (wanted.scale - column.digits), column.values
    if wanted.bit_width != 128 or values.dtype != np.int64 or int(values.max()) * factor >= 1 << 63:
        return pa.array(column.as_decimals(), wanted)
    # As they lie in memory: 16 bytes each, the lower half first. Ten times as quick as from Python's decimals.
    halves = np.zeros((len(values), 2), "<i8")
    halves[:, 0] = values * factor
    given = None if column.given is None else pa.py_buffer(np.packbits(column.given, bitorder="little"))
    return pa.Array.from_buffers(wanted, len(values), [given, pa.py_buffer(halves)])
