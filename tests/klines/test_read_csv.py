"""CSV with a header that is not the exchange's own, read."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import kline_files as files
import pytest
from kline_files import MINUTE_MS, START_MS

from candleactors.errors import MalformedFile
from candleactors.klines import read_klines
from candleactors.klines.reader import KlineFile

ROWS = ["1.0,2.0,0.5,1.5,10.0", "1.5,1.6,1.4,1.5,0", "1.5,3.0,1.5,2.0,7.25"]
TIMES = [START_MS + index * MINUTE_MS for index in range(3)]


def ohlcv(header: str, times: list[str]) -> list[str]:
    return [header, *(f"{time},{row}" for time, row in zip(times, ROWS, strict=True))]


@pytest.mark.parametrize(
    "times",
    [
        [str(at) for at in TIMES],
        [str(at // 1000) for at in TIMES],
        [str(at * 1000) for at in TIMES],
        [f"{at}.0" for at in TIMES],
        ["2026-01-01", "2026-01-01 00:01", "2026-01-01 00:02:00"],
        ["2026-01-01T00:00:00Z", "2026-01-01T00:01:00.000Z", "2026-01-01 00:02:00+00:00"],
        ["2026-01-01 08:00:00+08:00", "2026-01-01 08:01:00+08:00", "2026-01-01 08:02:00+08:00"],
        ["2026-01-01 00:00:00 UTC", "2026-01-01 00:01:00 UTC", "2026-01-01 00:02:00 UTC"],
    ],
)
@pytest.mark.parametrize("name", ["timestamp", "Open Time", "date", "datetime", "unix", "open_time_ms"])
def test_times(tmp_path: Path, name: str, times: list[str]) -> None:
    path = files.write(tmp_path / "BTCUSDT-1m.csv", ohlcv(f"{name},open,high,low,close,volume", times))
    candles = list(read_klines(path))
    assert [candle.open_time_ms for candle in candles] == TIMES
    assert [candle.closed for candle in candles] == [True, True, False]


def test_what_the_file_does_not_give_is_none(tmp_path: Path) -> None:
    path = files.write(
        tmp_path / "BTCUSDT-1m.csv", ohlcv("timestamp,open,high,low,close,volume", [str(at) for at in TIMES])
    )
    candle = next(read_klines(path))
    assert [str(value) for value in candle.values()] == ["1.0", "2.0", "0.5", "1.5", "10.0"] + ["None"] * 4


@pytest.mark.parametrize(
    "header",
    [
        "Open time,Open,High,Low,Close,Volume,Close time,Quote asset volume,Number of trades,"
        "Taker buy base asset volume,Taker buy quote asset volume,Ignore",
        "timestamp,open,high,low,close,volume,close_time,quote_av,trades,tb_base_av,tb_quote_av,ignore",
        "open_time,open,high,low,close,volume,close_time,qav,num_trades,taker_base_vol,taker_quote_vol,ignore",
        "openTime,open,high,low,close,volume,closeTime,quoteVolume,trades,takerBuyBaseVolume,takerBuyQuoteVolume,x",
    ],
)
def test_the_names_that_scripts_give_the_twelve_columns(tmp_path: Path, header: str) -> None:
    dump = list(read_klines(files.write(tmp_path / "BTCUSDT-1m-2026.csv", files.rows(3))))
    path = files.write(tmp_path / "BTCUSDT_1m.csv", [header, *files.rows(3)])
    assert list(read_klines(path)) == dump
    file = KlineFile(path)
    assert len(list(file.rows())) == 3
    assert file.official


def test_columns_in_any_order_beside_others(tmp_path: Path) -> None:
    lines = [",close,low,high,open,vol,turnover,rsi,timestamp", f"0,1.5,0.5,2.0,1.0,10.0,15.5,nan,{START_MS}"]
    candle = next(read_klines(files.write(tmp_path / "BTCUSDT-1m.csv", lines)))
    assert [str(value) for value in candle.values()][:6] == ["1.0", "2.0", "0.5", "1.5", "10.0", "15.5"]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_delimiters_quotes_and_blanks(tmp_path: Path, delimiter: str) -> None:
    lines = [
        delimiter.join(['"timestamp"', "open ", " high", "low", "close", '"volume"']),
        delimiter.join([f'"{START_MS}"', " 1.0", "2.0 ", "0.5", '"1.5"', "10"]),
    ]
    candle = next(read_klines(files.write(tmp_path / "BTCUSDT-1m.csv", lines)))
    assert [str(value) for value in candle.values()][:5] == ["1.0", "2.0", "0.5", "1.5", "10"]


def test_the_epoch_is_trusted_more_than_a_date(tmp_path: Path) -> None:
    # As in files that were exported in somebody's local time.
    for header, time in (
        ("timestamp,datetime", f"{START_MS},2026-01-01 09:00:00"),
        ("timestamp,unix", f"2026-01-01 09:00:00,{START_MS}"),
    ):
        lines = [f"{header},open,high,low,close,volume", f"{time},1,1,1,1,0"]
        assert next(read_klines(files.write(tmp_path / "BTCUSDT-1m.csv", lines))).open_time_ms == START_MS


def test_exponents_as_float_libraries_write_them(tmp_path: Path) -> None:
    lines = ["timestamp,open,high,low,close,volume", f"{START_MS},1.23e-05,1.3E-5,1e-05,1.1e-05,1.5e+12"]
    candle = next(read_klines(files.write(tmp_path / "PEPEUSDT-1m.csv", lines)))
    assert candle.open == Decimal("0.0000123")
    assert candle.volume == Decimal(1_500_000_000_000)


def test_the_symbol_may_stand_in_a_column(tmp_path: Path) -> None:
    header = "timestamp,symbol,open,high,low,close,volume"
    lines = [header, *(f"{at},ETHUSDT,{row}" for at, row in zip(TIMES, ROWS, strict=True))]
    path = files.write(tmp_path / "prices.csv", lines)
    assert {str(candle.stream) for candle in read_klines(path)} == {"unknown:ETHUSDT:1m"}
    lines[3] = lines[3].replace("ETH", "BTC")
    with pytest.raises(MalformedFile, match='line 4: the symbol is "BTCUSDT", in the rows above "ETHUSDT"'):
        list(read_klines(files.write(path, lines)))


def test_the_timeframe_shows_in_the_steps(tmp_path: Path) -> None:
    path = files.write(tmp_path / "a.csv", ohlcv("timestamp,open,high,low,close,volume", [str(at) for at in TIMES]))
    assert next(read_klines(path, symbol="X")).timeframe.text == "1m"


@pytest.mark.parametrize("minutes", [5, 7])
def test_a_name_that_contradicts_the_steps(tmp_path: Path, minutes: int) -> None:
    lines = ["timestamp,open,high,low,close,volume"]
    lines += [f"{START_MS + index * minutes * MINUTE_MS},1,1,1,1,0" for index in range(6)]
    path = files.write(tmp_path / "BTCUSDT_1m.csv", lines)
    with pytest.raises(MalformedFile, match=f"line 2: the rows are {minutes}m apart, not 1m"):
        list(read_klines(path))
    assert len(list(read_klines(path, timeframe=f"{minutes}m"))) == 6


def test_a_market_that_seldom_trades_is_no_contradiction(tmp_path: Path) -> None:
    lines = ["timestamp,open,high,low,close,volume"]
    lines += [f"{START_MS + at * MINUTE_MS},1,1,1,1,1" for at in (0, 2, 5, 9, 11, 17, 23, 30, 33, 40, 44)]
    assert len(list(read_klines(files.write(tmp_path / "XUSDT_1m.csv", lines)))) == 11


def test_repeated_rows_may_be_written_otherwise(tmp_path: Path) -> None:
    lines = ["timestamp,open,high,low,close,volume", f"{START_MS},1.0,1,1,1,0", f"{START_MS},1.00,1.0,1,1,0"]
    assert len(list(read_klines(files.write(tmp_path / "BTCUSDT_1m.csv", lines)))) == 1


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        (["timestamp,open,high,low,close"], "line 1: the header names no column for volume: "),
        (["open,high,low,close,volume"], "line 1: the header names no column for open_time: "),
        (["timestamp,open,Open,high,low,close,volume"], "line 1: two columns say open"),
        (["timestamp,open,high,low,close,volume,vol"], "line 1: two columns say volume"),
        (["a,b,c", "1,2,3"], "line 1: is neither a header nor a kline"),
        (["hello"], "line 1: is neither a header nor a kline"),
        ([f"{START_MS},1,1,1,1,0"], "line 1: 6 columns instead of 12"),
        (["timestamp,open,high,low,close,volume", f"{START_MS},1,1,1,1"], "line 2: 5 columns instead of 6"),
        (["timestamp,open,high,low,close,volume", f"{START_MS},1,1,1,1,0,9"], "line 2: 7 columns instead of 6"),
        (["timestamp,open,high,low,close,volume", '1,"1'], "line 2: no CSV: "),
        (["time;open;high;low;close;volume", f"{START_MS};1,5;1;1;1;0"], 'line 2: "1,5" is not a plain number'),
        (["timestamp,open,high,low,close,volume", "yesterday,1,1,1,1,0"], 'line 2: "yesterday" is not a time'),
        (["timestamp,open,high,low,close,volume", "31/12/2025,1,1,1,1,0"], 'line 2: "31/12/2025" is not a time'),
        (["timestamp,open,high,low,close,volume", "1999-12-31,1,1,1,1,0"], 'line 2: "1999-12-31" is no time from 2000'),
        (["timestamp,open,high,low,close,volume", f"{START_MS},,1,1,1,0"], 'line 2: open is "", not a non-neg'),
        (["timestamp,open,high,low,close,volume", f"{START_MS},1,1,1,1,1e999"], 'line 2: volume is "1e999", not a'),
    ],
)
def test_what_is_not_understood(tmp_path: Path, lines: list[str], problem: str) -> None:
    path = files.write(tmp_path / "BTCUSDT_1m.csv", lines)
    with pytest.raises(MalformedFile) as caught:
        list(read_klines(path))
    assert str(caught.value).startswith(f"{path}: {problem}")
