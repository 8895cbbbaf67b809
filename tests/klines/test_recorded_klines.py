"""Every recorded file of klines is read as an independent parser reads it: each row, each digit."""

from __future__ import annotations

import csv
import gzip
import io
import json
import zipfile
from datetime import UTC, datetime
from decimal import Decimal
from itertools import pairwise
from pathlib import Path

import pytest

from candleactors.errors import MalformedFile
from candleactors.klines import read_klines
from candleactors.klines.reader import KlineFile
from candleactors.model import Candle
from recorded import recorded, recordings, root

Independent = tuple[int, tuple[str, ...]]
"""The open time in ms and the texts of open, high, low, close, volume and, where it is there, all that follows."""


def content(path: Path) -> str:
    if path.suffix == ".zip":
        with zipfile.ZipFile(path) as archive:
            return archive.read(archive.namelist()[0]).decode()
    raw = path.read_bytes()
    return (gzip.decompress(raw) if path.suffix == ".gz" else raw).decode()


def in_ms(text: str) -> int:
    if not text.isdigit():
        moment = datetime.fromisoformat(text)
        return int(moment.replace(tzinfo=moment.tzinfo or UTC).timestamp() * 1000)
    return int(text) // (1000 if len(text) == 16 else 1)


def independently(path: Path) -> list[Independent]:
    if ".json" in path.suffixes:
        document = json.loads(content(path))
        rows = document["data"] if isinstance(document, dict) else document
        return [(row[0], (*row[1:6], row[7], str(row[8]), *row[9:11])) for row in rows]
    lines = list(csv.reader(io.StringIO(content(path))))
    if lines[0][0].isdigit() or lines[0][:2] == ["open_time", "open"]:
        lines = lines if lines[0][0].isdigit() else lines[1:]
        return [(in_ms(line[0]), (*line[1:6], *line[7:11])) for line in lines]
    where = {name: index for index, name in enumerate(lines[0])}
    columns = [where[name] for name in ("open", "high", "low", "close", "volume")]
    columns += [where["turnover"]] if "turnover" in where else []
    return [(in_ms(line[0]), tuple(line[index] for index in columns)) for line in lines[1:]]


def as_read(candle: Candle, count: int) -> Independent:
    given = [format(value, "f") if isinstance(value, Decimal) else str(value) for value in candle.values()]
    assert given[count:] == ["None"] * (9 - count)
    return candle.open_time_ms, tuple(given[:count])


DUMPS = ("klines_1m_vision_zip_BTCUSDT", "klines_1m_12col_ALGOUSDT_2023-02")
PATTERNS = [
    "binance_spot/klines_1m_vision_zip_BTCUSDT/*.zip",
    "binance_spot/klines_rest_json_*/*/*/*.json",
    "binance_spot/rest_recorded/*_klines_*.json",
    "binance_spot/trades_ws_2024_08/*.csv",
    "binance_usdm/klines_*/*.csv",
    "binance_usdm/klines_*/*.csv.gz",
    "binance_usdm/rest_recorded/*_klines_*.json",
    "bybit/klines_*/*.csv",
    "bybit/klines_*/*.csv.gz",
    "okx/klines_*/*.csv",
    "okx/klines_*/*.csv.gz",
]


@pytest.mark.parametrize("pattern", PATTERNS)
def test_every_row_and_digit(pattern: str) -> None:
    for path in recordings(pattern):
        candles = list(read_klines(path))
        truth = independently(path)
        assert [as_read(candle, len(truth[0][1])) for candle in candles] == truth, path
        assert candles[0].stream == candles[-1].stream
        steps = {after.open_time_ms - before.open_time_ms for before, after in pairwise(candles)}
        interval = {candle.next_open_time_ms - candle.open_time_ms for candle in candles}
        assert not steps or min(steps) in interval, path
        assert all(candle.closed for candle in candles[:-1]), path
        # The exchange's own dumps end with a closed candle; other files may have been written too early for that.
        assert candles[-1].closed == (path.relative_to(root()).parts[1] in DUMPS and "-1m-" in path.name), path


@pytest.mark.parametrize(
    ("path", "stream"),
    [
        ("binance_spot/klines_1m_vision_zip_BTCUSDT/BTCUSDT-1m-2025-05-24.zip", "binance-spot:BTCUSDT:1m"),
        ("binance_usdm/klines_1m_12col_ALGOUSDT_2023-02/ALGOUSDT-1m-2023-02.csv.gz", "unknown:ALGOUSDT:1m"),
        ("binance_usdm/klines_1m_12col_ALGOUSDT_2023-02/ALGOUSDT_1h_2023-02.csv", "unknown:ALGOUSDT:1h"),
        ("binance_spot/klines_rest_json_2025/BTCUSDT/1M/2010-01-01.json", "unknown:BTCUSDT:1M"),
        ("binance_spot/klines_rest_json_2025/BTCUSDT/3d/2020-01-01.json", "unknown:BTCUSDT:3d"),
        ("binance_spot/rest_recorded/api_v3_klines_09.json", "binance-spot:ETHBTC:1d"),
        ("binance_usdm/rest_recorded/fapi_v1_klines_00.json", "binance-usdm:LTCUSDT:5m"),
        ("okx/klines_1m_15m_4h_BTC-USDT-SWAP_2026-01/BTC-USDT-SWAP_4h.csv", "unknown:BTC-USDT-SWAP:4h"),
    ],
)
def test_what_they_are_called(path: str, stream: str) -> None:
    assert str(next(read_klines(recorded(path))).stream) == stream


def test_the_timeframe_shows_in_the_rows_too(tmp_path: Path) -> None:
    for path in recordings("binance_spot/klines_rest_json_2025/*/*/*.json"):
        unnamed = tmp_path / "rows.json"
        unnamed.write_bytes(path.read_bytes())
        named = KlineFile(path)
        assert list(read_klines(unnamed, symbol="BTCUSDT")) == [candle for _, candle in named.rows()]
        assert named.official


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("aster/klines_1h_4h_1d_share/BTCUSDT_trades.json", "line 1: is no kline row"),
        ("aster/klines_1h_4h_1d_share/BTCUSDT_1h.parquet", "is Parquet of another program"),
        ("binance_spot/rest_recorded/api_v3_aggTrades_10.json", 'is an answer to "/api/v3/aggTrades"'),
        ("bitfinex/rest_candles_1m/btc_candle_data.json", "line 1: is no kline row: Expected `str`, got `int`"),
        (
            "bitfinex/trades_ws_2018-11-12/Bitfinex_BTCUSD_1h_2018-11-12_13.csv",
            "line 1: the header names no column for volume",
        ),
        ("binance_spot/ws_candle_snippets/candle_messages.jsonl", "is no array of kline rows"),
        ("binance_spot/klines_multi_tf_sqlite_octobot/XRBBTC_2018-07-16_7984e8d9.sqlite.gz", "line 1: "),
    ],
)
def test_recordings_of_other_things(path: str, problem: str) -> None:
    found = recorded(path)
    with pytest.raises(MalformedFile) as caught:
        list(read_klines(found))
    assert str(caught.value).startswith(f"{found}: {problem}")
