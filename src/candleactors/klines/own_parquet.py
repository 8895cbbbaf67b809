"""Our own Parquet: candles as `candleactors export` writes them, row by row as lines of our own CSV.

So there is one set of rules for what a row has to be.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping
from typing import IO, Any, Final

from candleactors.errors import ConfigError, MalformedFile
from candleactors.klines.lines import Line
from candleactors.records import FIELDS

MAGIC: Final = b"PAR1"

_BATCH: Final = 5_000
_NAMES: Final = FIELDS[:3]
_COLUMNS: Final = {"open_time_ms": "open_time", "close_time_ms": "close_time", "received_ms": "received_at"}
"""Where a column has another name than the field, since it holds an instant."""


def parquet_lines(file: IO[bytes], path: str) -> Iterator[Line]:
    """Yield the rows of a Parquet file as lines of our own CSV, numbered from 1.

    Raises `MalformedFile` for what is damaged or not of our own making, and `ConfigError` where pyarrow is missing.
    """
    try:
        import pyarrow as pa  # type: ignore[import-untyped]  # it comes without types
        import pyarrow.parquet as pq  # type: ignore[import-untyped]  # it comes without types
    except ModuleNotFoundError:
        raise ConfigError("Parquet needs pyarrow: pip install 'candleactors[parquet]'", source=path) from None
    try:
        parquet = pq.ParquetFile(file)
        names = _names(parquet, path)
        number = 0
        for batch in parquet.iter_batches(_BATCH):
            columns = [_cells(pa, batch, field, names) for field in FIELDS]
            for row in zip(*columns, strict=True):
                number += 1
                yield number, _line(row)
    except (pa.ArrowException, OSError, KeyError) as error:
        problem = " ".join(str(error).split())
        raise MalformedFile(f"the Parquet is damaged ({problem})", path=path) from None


def _names(parquet: Any, path: str) -> Mapping[str, str]:
    """Return what the file says of itself instead of in columns, as one in a partitioned folder does."""
    schema = parquet.schema_arrow
    said = (parquet.metadata.metadata or {}).get(b"candleactors")
    if said is None:
        raise MalformedFile("is Parquet of another program; what candleactors export writes is read", path=path)
    if any(str(schema.field(name).type) == "double" for name in ("open", "volume")):
        raise MalformedFile("holds floats, which are not what the venue said; export decimals", path=path)
    streams = json.loads(said)["streams"]
    return {name: streams[0][name] for name in _NAMES} if len(streams) == 1 else {}


def _cells(pa: Any, batch: Any, field: str, names: Mapping[str, str]) -> list[Any]:
    if field == "closed":
        return ["true"] * batch.num_rows
    name = _COLUMNS.get(field, field)
    if field in names and name not in batch.schema.names:
        return [names[field]] * batch.num_rows
    column = batch.column(name)
    values: list[Any] = (column.cast(pa.int64()) if name in _COLUMNS.values() else column).to_pylist()
    if pa.types.is_decimal(column.type):
        return [None if value is None else format(value, "f") for value in values]
    return [str(value).lower() if isinstance(value, bool) else value for value in values]


def _line(row: tuple[Any, ...]) -> str:
    venue, symbol = row[:2]
    if any(character in f"{venue}{symbol}" for character in ',"\r\n'):
        out = io.StringIO()
        csv.writer(out, lineterminator="").writerow(row)
        return out.getvalue()
    return ",".join(["" if cell is None else str(cell) for cell in row])
