"""Formats: how recordings of candles are recognised by the shape of their folder, and read.

Each function yields the tables that are recorded in its format under a folder, without opening more than it must. No
recording is named: one of the same shape that nobody here has seen is found as well.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
import sqlite3
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import closing
from decimal import Decimal
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Final
from urllib.parse import parse_qs

from parquet_rows import MISSING, parquet_records
from table_rows import Row, instant_ms
from venue_tables import Table

from candleactors.errors import InvalidTimeframe
from candleactors.model import Timeframe

_NAMED: Final = re.compile(r"(?P<market>[A-Z0-9:-]+)_(?P<size>\d+(?:[smhdwM]))(?:_[^.]*)?\.(?:csv|csv\.gz|parquet)")
_DUMP: Final = re.compile(r"(?P<market>[A-Z0-9]+)-(?P<size>\d+[a-zA-Z]+)-\d{4}-\d\d(?:-\d\d)?\.(?:zip|csv|csv\.gz)")
_PRICES: Final = frozenset({"open", "high", "low", "close", "volume"})
_OPENED: Final = ("open_time_ms", "open_time", "timestamp", "time", "date", "datetime")
_QUOTE: Final = ("quote_volume", "quote_asset_volume", "turnover")
_COUNT: Final = ("trades", "count", "number_of_trades")
_TAKER: Final = ("taker_buy_volume", "taker_buy_base_asset_volume")
_TAKER_QUOTE: Final = ("taker_buy_quote_volume", "taker_buy_quote_asset_volume")


def found(root: Path) -> list[Table]:
    """Return every table of candles under `root`, whose first folders are the venues."""
    tables: list[Table] = []
    for venue in sorted(path for path in root.iterdir() if path.is_dir()):
        for discover in (rest_answers, recorded_requests, dumps, named_files, octobot_databases):
            tables += discover(root, venue)
    return tables


def rest_answers(root: Path, venue: Path) -> Iterator[Table]:
    """``MARKET/TIMEFRAME/*.json``: answers of the klines endpoint, one after the other."""
    for folder in sorted({path.parent for path in venue.rglob("*.json")}):
        files = sorted(folder.glob("*.json"))
        if (size := _timeframe(folder.name)) is not None and _holds_klines(files[0]):
            read = partial(_klines, files)
            yield Table(venue.name, _relative(root, folder.parents[1]), folder.parent.name, size, read)


def recorded_requests(root: Path, venue: Path) -> Iterator[Table]:
    """``*klines*.json``: a request and its answer; each is a recording of its own, made whenever it was."""
    for path in sorted(venue.rglob("*klines*.json")):
        request = json.loads(path.read_text())
        if isinstance(request, dict) and request.get("path", "").endswith("/klines"):
            query = parse_qs(request["query"])
            size = Timeframe(query["interval"][0])
            read = partial(_answer, request["data"])
            yield Table(venue.name, _relative(root, path), query["symbol"][0], size, read)


def dumps(root: Path, venue: Path) -> Iterator[Table]:
    """``MARKET-TIMEFRAME-DATE.zip`` or ``.csv``: what Binance publishes of days and months that are over."""
    paths = (path for path in venue.rglob("*-*-*") if path.is_file() and _DUMP.fullmatch(path.name))
    for (folder, market, size), files in groupby(sorted(paths), lambda path: (path.parent, *path.name.split("-")[:2])):
        yield Table(
            venue.name, _relative(root, folder), market, Timeframe(size), partial(_dumped, list(files)), final=True
        )


def named_files(root: Path, venue: Path) -> Iterator[Table]:
    """``MARKET_TIMEFRAME*.csv``, ``.csv.gz`` or ``.parquet``, with named columns, written out by way of floats."""
    for path in sorted(venue.rglob("*_*")):
        shape = _NAMED.fullmatch(path.name)
        if shape is not None and (size := _timeframe(shape["size"])) is not None and _holds_candles(path):
            lacks = MISSING if path.suffix == ".parquet" else None
            recording = _relative(root, path.parent)
            yield Table(venue.name, recording, shape["market"], size, partial(_named, path), floats=True, lacks=lacks)


def octobot_databases(root: Path, venue: Path) -> Iterator[Table]:
    """``*.sqlite.gz`` with a table ``ohlcv`` of OctoBot's: a candle is a JSON list in seconds and floats."""
    for path in sorted(venue.rglob("*.sqlite.gz")):
        rows: dict[tuple[str, str], list[Row]] = {}
        for market, size, candle in _select(path, "SELECT symbol, time_frame, candle FROM ohlcv ORDER BY rowid"):
            opened, *values = json.loads(candle, parse_float=str, parse_int=str)
            first, high, low, last, volume = map(Decimal, values[:5])
            row = Row(instant_ms(opened), first, high, low, last, volume)
            rows.setdefault((market.replace("/", ""), size), []).append(row)
        for (market, size), those in rows.items():
            recording = _relative(root, path.parent)
            yield Table(venue.name, recording, market, Timeframe(size), partial(_whole, those), floats=True)


def _klines(files: Iterable[Path]) -> Iterator[Iterable[Row]]:
    return (map(Row.of_kline, json.loads(path.read_text())) for path in files)


def _whole(rows: list[Row]) -> Iterable[Iterable[Row]]:
    return [rows]


def _answer(rows: list[list[str | int]]) -> Iterable[Iterable[Row]]:
    return [map(Row.of_kline, rows)]


def _dumped(files: Iterable[Path]) -> Iterator[Iterable[Row]]:
    for path in files:
        lines = csv.reader(io.StringIO(_text(path)))
        yield (Row.of_kline(line) for line in lines if line[0].isdigit())  # some have a header


def _named(path: Path) -> Iterable[Iterable[Row]]:
    return [_named_rows(path)]


def _named_rows(path: Path) -> Iterator[Row]:
    records: Iterable[dict[str, str]]
    records = parquet_records(path) if path.suffix == ".parquet" else _csv_records(path)
    for record in records:
        yield Row(
            open_ms=instant_ms(next(record[name] for name in _OPENED if name in record)),
            open=Decimal(record["open"]),
            high=Decimal(record["high"]),
            low=Decimal(record["low"]),
            close=Decimal(record["close"]),
            volume=Decimal(record["volume"]),
            quote_volume=_first(record, _QUOTE),
            trades=None if (count := _first(record, _COUNT)) is None else int(count),
            taker_buy_volume=_first(record, _TAKER),
            taker_buy_quote_volume=_first(record, _TAKER_QUOTE),
        )


def _csv_records(path: Path) -> Iterator[dict[str, str]]:
    lines = csv.reader(io.StringIO(_text(path)))
    names = [name.strip().lower() for name in next(lines, [])]
    return (dict(zip(names, line, strict=False)) for line in lines)


def _holds_candles(path: Path) -> bool:
    """Whether a CSV file has the columns of candles; of Parquet files that is not asked, they take longer to open."""
    if path.suffix == ".parquet":
        return True
    columns = set(next(_csv_records(path), {}))
    return columns >= _PRICES and not columns.isdisjoint(_OPENED)


def _holds_klines(path: Path) -> bool:
    answer = json.loads(path.read_text())
    return isinstance(answer, list) and bool(answer) and isinstance(answer[0], list) and len(answer[0]) >= 11


def _first(record: dict[str, str], names: Iterable[str]) -> Decimal | None:
    return next((Decimal(record[name]) for name in names if name in record), None)


def _text(path: Path) -> str:
    raw = path.read_bytes()
    if path.suffix == ".gz":
        raw = gzip.decompress(raw)
    elif path.suffix == ".zip":
        with zipfile.ZipFile(path) as archive:
            raw = archive.read(archive.namelist()[0])
    return raw.decode()


def _select(path: Path, query: str) -> list[tuple[str, ...]]:
    with closing(sqlite3.connect(":memory:")) as database:
        database.deserialize(gzip.decompress(path.read_bytes()))
        return database.execute(query).fetchall()


def _timeframe(text: str) -> Timeframe | None:
    try:
        return Timeframe(text)
    except InvalidTimeframe:
        return None


def _relative(root: Path, path: Path) -> str:
    return path.relative_to(root).as_posix()
