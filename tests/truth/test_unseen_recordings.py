"""A recording that nobody here has seen is found by its shape, read, and compared as strictly as the others."""

from __future__ import annotations

import gzip
import json
import sqlite3
import zipfile
from collections.abc import Callable
from contextlib import closing
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import TypeAlias

import pytest
from parquet_rows import MISSING
from table_comparison import Comparison
from table_pairs import Pairs
from venue_tables import outline

from candleactors.model import Timeframe

_START_MS = 1_735_689_600_000  # Wednesday, 2025-01-01
_HOUR_MS = 3_600_000

Kline: TypeAlias = list[str | int]
Write: TypeAlias = Callable[[Path, str, list[Kline]], None]
"""Writes the klines of a timeframe into a folder of recordings."""


def _klines(size: str, count: int) -> list[Kline]:
    """Return what a venue says of `count` hours; in every eighth there is no trade."""
    timeframe = Timeframe(size)
    step = timeframe.nominal_ms // _HOUR_MS
    made: list[Kline] = []
    for first in range(0, count, step):
        traded = [hour for hour in range(first, first + step) if hour % 8 != 7]
        opens = [Decimal(100 + hour * 7 % 13) for hour in traded]
        closes = [one + Decimal("0.25") for one in opens] or [Decimal("100.25") + (first - 1) * 7 % 13]
        prices = [opens[0] if opens else closes[-1], max(closes), min(opens or closes), closes[-1]]
        volume, quote = Decimal(sum(traded) + len(traded)) / 8, Decimal(sum(traded) * 13 + len(traded))
        open_ms = _START_MS + first * _HOUR_MS
        made.append(
            [
                open_ms,
                *map(str, prices),
                str(volume),
                timeframe.close_ms(open_ms),
                str(quote),
                2 * len(traded),
                str(volume / 2),
                str(quote / 4),
                "0",
            ]
        )
    return made


def _rest_answers(root: Path, size: str, klines: list[Kline]) -> None:
    folder = root / "binance_spot" / "klines_rest_json_new" / "NEWUSDT" / size
    folder.mkdir(parents=True)
    half = len(klines) // 2
    for name, part in (("2025-01-01", klines[:half]), ("2025-01-02", klines[half:])):
        (folder / f"{name}.json").write_text(json.dumps(part))


def _requests(root: Path, size: str, klines: list[Kline]) -> None:
    folder = root / "binance_usdm" / "new_answers"
    folder.mkdir(parents=True, exist_ok=True)
    request = {"method": "GET", "path": "/fapi/v1/klines", "query": f"interval={size}&symbol=NEWUSDT", "data": klines}
    (folder / f"fapi_v1_klines_{size}.json").write_text(json.dumps(request))


def _dumps(root: Path, size: str, klines: list[Kline]) -> None:
    folder = root / "binance_usdm" / "klines_new"
    folder.mkdir(parents=True, exist_ok=True)
    header = (
        "open_time,open,high,low,close,volume,close_time,quote_volume,count,taker_buy_volume,taker_buy_quote,ignore"
    )
    lines = [",".join(map(str, [int(one) * 1_000, *values])) for one, *values in klines]
    with zipfile.ZipFile(folder / f"NEWUSDT-{size}-2025-01.zip", "w") as archive:
        archive.writestr(f"NEWUSDT-{size}-2025-01.csv", "\n".join([header, *lines]))


def _named_csv(root: Path, size: str, klines: list[Kline], suffix: str = ".csv") -> None:
    folder = root / "bybit" / "klines_new"
    folder.mkdir(parents=True, exist_ok=True)
    lines = ["timestamp,open,high,low,close,volume,turnover"]
    for kline in klines:
        floats = (repr(float(kline[index])) for index in (1, 2, 3, 4, 5, 7))
        lines.append(",".join([str(kline[0]), *floats]))
    text = "\n".join(lines).encode()
    (folder / f"NEWUSDT_{size}{suffix}").write_bytes(gzip.compress(text) if suffix.endswith(".gz") else text)


def _named_csv_gz(root: Path, size: str, klines: list[Kline]) -> None:
    _named_csv(root, size, klines, ".csv.gz")


def _parquet(root: Path, size: str, klines: list[Kline]) -> None:
    if MISSING is not None:
        pytest.skip(f"needs {MISSING}")
    import polars  # not every place where tests run has it

    folder = root / "aster" / "klines_new"
    folder.mkdir(parents=True, exist_ok=True)
    names = ("open", "high", "low", "close", "volume")
    columns = {name: [float(kline[at]) for kline in klines] for at, name in enumerate(names, 1)}
    opened = polars.from_epoch(polars.Series("timestamp", [kline[0] for kline in klines]), time_unit="ms")
    polars.DataFrame(columns).with_columns(opened).write_parquet(folder / f"NEWUSDT_{size}.parquet")


def _octobot(root: Path, size: str, klines: list[Kline]) -> None:
    folder = root / "binance_spot" / "new_databases"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "new.sqlite.gz"
    with closing(sqlite3.connect(":memory:")) as database:
        if path.exists():
            database.deserialize(gzip.decompress(path.read_bytes()))
        else:
            database.execute("CREATE TABLE ohlcv (timestamp, exchange_name, symbol, time_frame, candle)")
        for kline in klines:
            candle = [int(kline[0]) / 1_000, *(float(value) for value in kline[1:6])]
            row = (candle[0], "binance", "NEW/USDT", size, json.dumps(candle))
            database.execute("INSERT INTO ohlcv VALUES (?, ?, ?, ?, ?)", row)
        database.commit()
        path.write_bytes(gzip.compress(database.serialize()))


_FORMATS = [_rest_answers, _requests, _dumps, _named_csv, _named_csv_gz, _parquet, _octobot]


def _compared(root: Path, write: Write, *, spoil: tuple[int, int, str] | None = None) -> list[Comparison]:
    """Write three timeframes, a value of the highest spoiled, and return what comes of comparing them."""
    for size in ("1h", "2h", "6h"):
        klines = _klines(size, 48)
        if spoil is not None and size == "6h":
            row, column, value = spoil
            klines[row][column] = value
        write(root, size, klines)
    return list(Pairs(root).comparisons())


@pytest.mark.parametrize("write", _FORMATS)
def test_it_is_found_and_equal(write: Write, tmp_path: Path) -> None:
    comparisons = _compared(tmp_path, write)
    sizes = sorted((one.low.size.text, one.high.size.text) for one in comparisons)
    assert sizes == [("1h", "2h"), ("1h", "6h"), ("2h", "6h")]
    for comparison in comparisons:
        assert comparison.differences == []
        assert comparison.compared >= 7
        assert comparison.values >= 5 * comparison.compared


@pytest.mark.parametrize("write", _FORMATS)
@pytest.mark.parametrize(("column", "field"), [(1, "open"), (2, "high"), (3, "low"), (4, "close"), (5, "volume")])
def test_one_wrong_digit_shows(write: Write, column: int, field: str, tmp_path: Path) -> None:
    wrong = Decimal(_klines("6h", 48)[3][column]) + Decimal("0.01")
    comparisons = _compared(tmp_path, write, spoil=(3, column, str(wrong)))
    spoiled = [comparison for comparison in comparisons if comparison.high.size == Timeframe("6h")]
    for comparison in spoiled:
        assert [(one.open, one.field) for one in comparison.differences] == [("2025-01-01 18:00", field)]
    assert len(spoiled) == 2
    assert sum(len(comparison.differences) for comparison in comparisons) == 2


def test_a_missing_row_of_the_venue_shows(tmp_path: Path) -> None:
    for size in ("1h", "2h"):
        klines = _klines(size, 48)
        _named_csv(tmp_path, size, klines[:5] + klines[6:] if size == "2h" else klines)
    (comparison,) = Pairs(tmp_path).comparisons()
    assert [(one.open, one.field) for one in comparison.differences] == [("2025-01-01 10:00", "row")]


def test_what_lacks_rows_is_not_compared_as_if_it_were_whole(tmp_path: Path) -> None:
    for size in ("1h", "2h"):
        klines = _klines(size, 48)
        _named_csv(tmp_path, size, klines[:5] + klines[6:] if size == "1h" else klines)
    (comparison,) = Pairs(tmp_path).comparisons()
    assert comparison.differences == []
    assert (comparison.compared, comparison.holed, comparison.holed_equal) == (22, 1, 0)


@pytest.mark.parametrize(
    ("size", "first", "expected"),
    [
        ("1d", "2025-01-01 00:00", "1d"),
        ("1d", "2024-12-31 16:00", "1d@+0800"),
        ("12h", "2025-01-01 04:00", "12h@+0800"),
        ("1d", "2025-01-01 05:00", "1d@-0500"),
        ("3d", "2025-01-01 00:00", "3d@2025-01-01"),
        ("1w", "2025-01-06 00:00", "1w"),
        ("1w", "2025-01-02 00:00", "1w@2025-01-02"),
        ("1w", "2025-01-05 16:00", "1w@+0800"),
        ("1M", "2024-12-31 16:00", "1M@+0800"),
        ("1h", "2025-01-01 00:20", "1h"),
    ],
)
def test_the_grid_is_that_of_the_rows(size: str, first: str, expected: str) -> None:
    opens = [int(datetime.fromisoformat(f"{first}+00:00").timestamp()) * 1_000]
    for _ in range(40):
        opens.append(Timeframe(expected).next_open(opens[-1]))
    covered = outline(Timeframe(size), [opens])
    assert covered.timeframe == Timeframe(expected)
    assert len(covered.off_grid) == (0 if size != "1h" else 41)
