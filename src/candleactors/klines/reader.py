"""Files of klines, read row by row."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from itertools import chain, islice
from pathlib import Path
from typing import Final, TypeAlias

from candleactors.errors import ConfigError, InvalidTimeframe, MalformedFile
from candleactors.klines.container import Unpacked, unpack
from candleactors.klines.csv_rows import csv_records
from candleactors.klines.grid import Grid, contradiction, infer
from candleactors.klines.instants import is_microseconds
from candleactors.klines.lines import lines
from candleactors.klines.names import told_by_name
from candleactors.klines.order import Order
from candleactors.klines.own_csv import HEADER, UNKNOWN_VENUE, OwnRows, is_own
from candleactors.klines.own_parquet import MAGIC, parquet_lines
from candleactors.klines.record import CandleBuilder, Record, times_ms
from candleactors.klines.rest_json import json_records
from candleactors.klines.rows import Records, Told
from candleactors.model import Candle, Stream, Timeframe

Row: TypeAlias = tuple[int, Candle]
"""A candle and where it stands: the number of its line, or of its row in JSON."""
Rows: TypeAlias = Generator[Row, None, None]

_SPOT: Final = "binance-spot"
_AHEAD: Final = 64
"""Rows looked at before the first is believed to be of the timeframe that the file is said to have."""


class KlineFile:
    """One file of klines. What is given as ``None`` is taken from the file or from its name.

    `recorded_ms` is the venue's time when the rows were recorded, where that is known.
    """

    def __init__(
        self,
        path: Path,
        *,
        venue: str | None = None,
        symbol: str | None = None,
        timeframe: Timeframe | str | None = None,
        recorded_ms: int | None = None,
    ) -> None:
        self.path = path
        self.official = False
        """Whether the rows are the exchange's own in full. Known once the first row has been read."""
        self.identity: tuple[int, ...] = ()
        """What the file was when it was opened last: another one, or another size or time, is another identity."""
        given = Timeframe(timeframe) if isinstance(timeframe, str) else timeframe
        self._asked = Told(venue, symbol, given.text if given is not None else None)
        self._recorded_ms = recorded_ms
        self._source: Unpacked | None = None
        self._changed = False

    @property
    def size(self) -> int:
        """The size of the file in bytes, packed as it is; 0 if there is none."""
        try:
            return self.path.stat().st_size
        except OSError:
            return 0

    def rows(self) -> Rows:
        """Yield the rows, ascending for each stream, repeated ones once; close what this returns if it is not used up.

        Each call reads the file anew. Raises `MalformedFile` for what is no kline, and `ConfigError` where symbol or
        timeframe are neither given nor to be found.
        """
        with unpack(self.path) as source:
            self._source, self.identity = source, source.identity()
            try:
                yield from self._in_order(self._rows(source))
            finally:
                self._changed = self.changed()
                self._source = None

    def changed(self) -> bool:
        """Whether the file has been written to since the latest `rows` opened it, as far as that has read."""
        return self._source.identity() != self.identity if self._source is not None else self._changed

    def position(self) -> int:
        """Return how many bytes of the file have been read by the latest `rows`."""
        return self._source.position() if self._source is not None else 0

    def _rows(self, source: Unpacked) -> Iterator[Row]:
        path = str(self.path)
        start = source.read(1 << 16)
        if start.startswith(MAGIC):
            return OwnRows(HEADER, self._asked, path).candles(parquet_lines(source.whole(), path))
        if start.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] in (b"[", b"{"):
            return self._built(json_records(source, start), source)
        text = lines(source, start)
        first = next(text, None)
        if first is None:
            raise MalformedFile("holds no text", path=path)
        if is_own(first[1]):
            return OwnRows(first[1], self._asked, path).candles(text)
        return self._built(csv_records(first, text, path), source)

    def _built(self, records: Records, source: Unpacked) -> Iterator[Row]:
        """Yield the candles of a file of one stream."""
        self.official = records.official
        ahead = list(islice(records.rows, _AHEAD))
        if not ahead:
            return
        stream, grid = self._stream(ahead, records, source)
        rows = self._candles(chain(ahead, records.rows), CandleBuilder(stream, grid, sparse=records.sparse))
        yield from rows if records.last_is_over else _doubting_the_last(rows, self._recorded_ms)

    def _candles(self, records: Iterable[Record], builder: CandleBuilder) -> Iterator[Row]:
        candle = builder.candle
        for number, text in records:
            try:
                yield number, candle(text)
            except ValueError as error:
                raise MalformedFile(str(error), path=str(self.path), line=number) from None

    def _in_order(self, rows: Iterator[Row]) -> Iterator[Row]:
        order = Order()
        for row in rows:
            try:
                if order.is_next(row[1]):
                    yield row
            except ValueError as error:
                raise MalformedFile(str(error), path=str(self.path), line=row[0]) from None

    def _stream(self, ahead: list[Record], records: Records, source: Unpacked) -> tuple[Stream, Grid]:
        """Return whose candles these are; the first place that says so counts."""
        named = told_by_name(self.path, source.member)
        places = (self._asked, records.told, named)
        venue = next((told.venue for told in places if told.venue), None)
        if venue is None:
            venue = self._likely_venue(ahead[0], records)
        symbol = next((told.symbol for told in places if told.symbol), None)
        if symbol is None:
            raise self._unknown("symbol", "BTCUSDT")
        timeframe, opens_ms = self._timeframe(ahead, next((told.timeframe for told in places if told.timeframe), None))
        problem = contradiction(timeframe, opens_ms)
        if problem is not None:
            raise MalformedFile(problem, path=str(self.path), line=ahead[0][0])
        return Stream(venue, symbol, timeframe), Grid(timeframe, opens_ms[0])

    def _timeframe(self, ahead: list[Record], told: str | None) -> tuple[Timeframe, list[int]]:
        opens_ms, lasting_ms = [], []
        for number, text in ahead:
            try:
                open_ms, lasts_ms = times_ms(text)
            except ValueError as error:
                raise MalformedFile(str(error), path=str(self.path), line=number) from None
            opens_ms.append(open_ms)
            if lasts_ms is not None:
                lasting_ms.append(lasts_ms)
        try:
            timeframe = Timeframe(told) if told is not None else infer(opens_ms, lasting_ms)
        except InvalidTimeframe as error:
            raise error.within(str(self.path)) from None
        if timeframe is None:
            raise self._unknown("timeframe", "1m")
        return timeframe, opens_ms

    def _likely_venue(self, first: Record, records: Records) -> str:
        """Return the venue that has rows such as the first: only the spot market writes microseconds, since 2025."""
        opened = first[1].partition(",")[0]
        spot = records.official and opened.isascii() and opened.isdecimal() and is_microseconds(int(opened[:20]))
        return _SPOT if spot else UNKNOWN_VENUE

    def _unknown(self, what: str, example: str) -> ConfigError:
        return ConfigError(
            f'neither its rows nor its name say the {what}; give --{what} {example}, or {what}="{example}" in Python',
            source=str(self.path),
        )


def read_klines(
    path: str | Path,
    *,
    venue: str | None = None,
    symbol: str | None = None,
    timeframe: Timeframe | str | None = None,
    recorded_ms: int | None = None,
) -> Iterator[Candle]:
    """Yield the candles in the file at `path`, ascending, every digit kept.

    Understood are the exchange's public dumps (12 columns), REST answers in JSON, our own CSV and other CSV with a
    header, plain, gzip or zip; docs/klines.md says what is taken for what. Venue, symbol and timeframe come from the
    arguments, else from the file, else from its name; a venue that nothing tells is ``"unknown"``.

    Candles of other files than our own are closed, except the last of a file that may have been written while its
    interval was running: give `recorded_ms`, the venue's time then, to have it closed if it was over.

    Lazy: nothing is opened before the first candle is asked for, and the file is closed with the iterator. Blocks.
    Raises `MalformedFile`, naming file, line and reason, for anything that is not such a file, at the row that is
    wrong; `ConfigError` where symbol or timeframe are unknown, and `InvalidTimeframe` at once.
    """
    file = KlineFile(Path(path), venue=venue, symbol=symbol, timeframe=timeframe, recorded_ms=recorded_ms)
    return (candle for _, candle in file.rows())


def _doubting_the_last(rows: Iterator[Row], recorded_ms: int | None) -> Iterator[Row]:
    """Yield `rows`, the last one not closed unless its interval was over at `recorded_ms`."""
    held = next(rows, None)
    while held is not None:
        following = next(rows, None)
        number, candle = held
        if following is None and (recorded_ms is None or candle.next_open_time_ms > recorded_ms):
            candle = candle.replace(closed=False)
        yield number, candle
        held = following
