"""Stored candles into files: CSV or Parquet, page by page, each file whole or not at all."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from enum import StrEnum
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias
from urllib.parse import quote

from attrs import define, field

from candleactors.errors import CandleactorsError, ConfigError
from candleactors.klines.coverage import Coverage
from candleactors.klines.writers import replacing, replacing_bytes, write_csv
from candleactors.model import Candle, Stream

if TYPE_CHECKING:
    from candleactors.columnar.parquet import Digits

_PAGE: Final = 5_000

Take: TypeAlias = Callable[[list[Candle]], None]
"""Is given the next closed candles of a stream."""


class Format(StrEnum):
    """What a file of candles is."""

    CSV = "csv"
    PARQUET = "parquet"


class ReadableStore(Protocol):
    """A store that candles can be read from."""

    async def candles(
        self,
        stream: Stream,
        start_ms: int | None = None,
        end_ms: int | None = None,
        limit: int | None = None,
        *,
        newest: bool = False,
    ) -> list[Candle]:
        """See `candleactors.stores.base.Store.candles`."""
        ...


@define
class StreamExport:
    """What is exported of one stream: all that opens in [`first_ms`, `last_ms`], which was the newest at the start."""

    stream: Stream
    first_ms: int
    last_ms: int
    coverage: Coverage = field(init=False)
    candles: int = 0

    def __attrs_post_init__(self) -> None:
        self.coverage = Coverage(self.stream.timeframe)


class Exporter:
    """Exports some streams of a store that others may write to meanwhile.

    `told` is called after each page with what was done, ``looking`` or ``exporting``, how many rows there were, and how
    many milliseconds of history are behind it.
    """

    def __init__(self, store: ReadableStore, told: Callable[[str, int, int], None]) -> None:
        self.streams: list[StreamExport] = []
        """What is exported, in order. Known once it was planned."""
        self._store = store
        self._told = told

    async def plan(self, streams: Iterable[Stream], start_ms: int | None, end_ms: int | None) -> int:
        """Find out what there is; return how many milliseconds of history that is. Streams without any are left out."""
        for stream in streams:
            oldest = await self._store.candles(stream, start_ms, end_ms, 1)
            newest = await self._store.candles(stream, start_ms, end_ms, 1, newest=True)
            if oldest and newest:
                self.streams.append(StreamExport(stream, oldest[0].open_time_ms, newest[0].open_time_ms))
        return sum(each.last_ms - each.first_ms for each in self.streams)

    async def export(self, out: Path, form: Format, *, exact: bool) -> None:
        """Write everything into the file `out`, numbers as floats unless `exact`.

        Raises `CandleactorsError` where it cannot be written, and `ConfigError` where an extra is missing.
        """
        digits = await self._digits() if form is Format.PARQUET and exact else None
        await self._write(_file(out, form, self.streams, digits, named=True), self.streams)

    async def export_folder(self, folder: Path, form: Format, *, exact: bool) -> None:
        """Write a file for each stream into ``venue=…/symbol=…/timeframe=…`` below `folder`; raises like `export`."""
        digits = await self._digits() if form is Format.PARQUET and exact else None
        for each in self.streams:
            path = folder / place_of(each.stream) / f"candles.{form}"
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise CandleactorsError(f"{path.parent} cannot be made: {error.strerror}") from error
            await self._write(_file(path, form, [each], digits, named=form is Format.CSV), [each])

    async def _digits(self) -> Digits:
        """Look at every number once, to know how wide the columns have to be."""
        parquet = _parquet()
        digits: Digits = parquet.Digits()
        for each in self.streams:
            await self._read(each, "looking", lambda candles: digits.add(parquet.CandleTable.of(candles)))
        return digits

    async def _write(self, file: AbstractContextManager[Take], streams: Sequence[StreamExport]) -> None:
        with file as take:
            for each in streams:
                await self._read(each, "exporting", partial(_counted, each, take))

    async def _read(self, each: StreamExport, doing: str, take: Take) -> None:
        start_ms = each.first_ms
        while True:
            rows = await self._store.candles(each.stream, start_ms, each.last_ms, _PAGE)
            if closed := [candle for candle in rows if candle.closed]:
                take(closed)
            until_ms = rows[-1].open_time_ms if len(rows) == _PAGE else each.last_ms
            self._told(doing, len(rows), until_ms - start_ms)
            if len(rows) < _PAGE:
                return
            start_ms = until_ms + 1


def place_of(stream: Stream) -> Path:
    """Return the folder of a stream below that of an export, as programs that read partitioned folders expect it."""
    names = {"venue": stream.venue, "symbol": stream.symbol, "timeframe": stream.timeframe.text}
    return Path(*(f"{name}={quote(value, safe='')}" for name, value in names.items()))


def _counted(each: StreamExport, take: Take, candles: list[Candle]) -> None:
    take(candles)
    each.candles += len(candles)
    for candle in candles:
        each.coverage.add(candle.open_time_ms, candle.next_open_time_ms)


def _file(
    path: Path, form: Format, streams: Sequence[StreamExport], digits: Digits | None, *, named: bool
) -> AbstractContextManager[Take]:
    return _csv_file(path) if form is Format.CSV else _parquet_file(path, streams, digits, named=named)


@contextmanager
def _csv_file(path: Path) -> Iterator[Take]:
    with replacing(path) as out:
        write_csv([], out)

        def take(candles: list[Candle]) -> None:
            write_csv(candles, out, header=False)

        yield take


@contextmanager
def _parquet_file(path: Path, streams: Sequence[StreamExport], digits: Digits | None, *, named: bool) -> Iterator[Take]:
    parquet = _parquet()
    with replacing_bytes(path) as out:
        writer = parquet.ParquetCandles(out, [each.stream for each in streams], digits, named=named)
        with writer:
            yield lambda candles: writer.write(parquet.CandleTable.of(candles))
            writer.finish({"version": 1, "streams": [_said(each) for each in streams]})


def _said(each: StreamExport) -> dict[str, object]:
    holes = each.coverage.holes()
    stream, span = each.stream, each.coverage.span_ms()
    return {
        "venue": stream.venue,
        "symbol": stream.symbol,
        "timeframe": stream.timeframe.text,
        "first_open_time_ms": None if span is None else span[0],
        "last_open_time_ms": None if span is None else span[1],
        "candles": each.candles,
        "holes": len(holes),
        "missing": sum(count for _, _, count in holes),
    }


def _parquet() -> ModuleType:
    try:
        from candleactors.columnar import parquet
    except ModuleNotFoundError as error:
        if error.name not in ("pyarrow", "numpy"):
            raise
        raise ConfigError("Parquet needs pyarrow: pip install 'candleactors[parquet]'") from None
    return parquet
