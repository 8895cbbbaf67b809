"""REST answers kept as JSON, read."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import kline_files as files
import pytest
from kline_files import MINUTE_MS, START_MS

from candleactors.errors import ConfigError, MalformedFile
from candleactors.klines import read_klines


@pytest.mark.parametrize("packed", [False, True])
def test_rows(tmp_path: Path, packed: bool) -> None:
    document = json.dumps(files.rest_rows(3), indent=2).encode()
    path = tmp_path / ("BTCUSDT-1m.json.gz" if packed else "BTCUSDT-1m.json")
    path.write_bytes(gzip.compress(document) if packed else b"\xef\xbb\xbf" + document)
    candles = list(read_klines(path))
    dump = files.write(tmp_path / "BTCUSDT-1m.csv", files.rows(3))
    assert candles == [*list(read_klines(dump))[:2], candles[2]]
    assert [str(value) for value in candles[1].values()][:2] == ["101.10000000", "102.00000000"]


def test_only_rows_that_another_follows_are_known_to_be_closed(tmp_path: Path) -> None:
    path = files.write_json(tmp_path / "BTCUSDT-1m.json", files.rest_rows(3))
    assert [candle.closed for candle in read_klines(path)] == [True, True, False]


@pytest.mark.parametrize(("after_ms", "closed"), [(3 * MINUTE_MS - 1, False), (3 * MINUTE_MS, True)])
def test_the_time_of_recording_closes_the_last_row_if_it_was_over(tmp_path: Path, after_ms: int, closed: bool) -> None:
    path = files.write_json(tmp_path / "BTCUSDT-1m.json", files.rest_rows(3))
    assert list(read_klines(path, recorded_ms=START_MS + after_ms))[-1].closed is closed


@pytest.mark.parametrize(("route", "venue"), [("/api/v3/klines", "binance-spot"), ("/fapi/v1/klines", "binance-usdm")])
def test_a_recording_tells_venue_symbol_and_timeframe(tmp_path: Path, route: str, venue: str) -> None:
    recording = {
        "method": "GET",
        "path": route,
        "query": "interval=1m&limit=3&symbol=ETHUSDT",
        "data": files.rest_rows(3),
    }
    path = files.write_json(tmp_path / "answer.json", recording)
    assert {str(candle.stream) for candle in read_klines(path)} == {f"{venue}:ETHUSDT:1m"}
    assert next(read_klines(path, symbol="X")).symbol == "X"


def test_what_the_request_asked_for_comes_before_the_name(tmp_path: Path) -> None:
    recording = {"path": "/api/v3/klines", "query": "symbol=ETHUSDT&interval=1m", "data": files.rest_rows(2)}
    path = files.write_json(tmp_path / "BTCUSDT-5m.json", recording)
    assert str(next(read_klines(path)).stream) == "binance-spot:ETHUSDT:1m"


def test_a_request_for_an_interval_that_there_is_not(tmp_path: Path) -> None:
    recording = {"path": "/api/v3/klines", "query": "symbol=ETHUSDT&interval=1H", "data": files.rest_rows(2)}
    path = files.write_json(tmp_path / "answer.json", recording)
    with pytest.raises(ConfigError, match=r'answer.json: "1H" is not a timeframe; did you mean "1h"'):
        next(read_klines(path))
    assert len(list(read_klines(path, timeframe="1m"))) == 2


def test_further_elements_are_passed_over(tmp_path: Path) -> None:
    more = [[*row, "more", None] for row in files.rest_rows(2)]
    assert len(list(read_klines(files.write_json(tmp_path / "BTCUSDT-1m.json", more)))) == 2
    fewer = [row[:11] for row in files.rest_rows(2)]
    assert len(list(read_klines(files.write_json(tmp_path / "BTCUSDT-1m.json", fewer)))) == 2


def test_no_rows(tmp_path: Path) -> None:
    assert list(read_klines(files.write_json(tmp_path / "a.json", []))) == []


@pytest.mark.parametrize(
    ("document", "problem"),
    [
        (b"[[1,", "is no array of kline rows: Input data was truncated"),
        (b"[1, 2]", "line 1: is no kline row: Expected `array`, got `int`"),
        (
            b'{"code": -1121, "msg": "Invalid symbol."}',
            "is no array of kline rows: Object missing required field `path`",
        ),
        (b'{"path": "/api/v3/time", "data": {}}', "is no array of kline rows: Expected `array`, got `object`"),
        (b'{"path": "/api/v3/time", "data": []}', 'is an answer to "/api/v3/time", not to a request for klines'),
        (b"[\xff]", "is not UTF-8 text"),
        (b"[" * 100_000, "is no array of kline rows"),
        (b'[[{"a": 1}]]', "line 1: is no kline row: Expected `int`, got `object`"),
    ],
)
def test_no_kline_rows(tmp_path: Path, document: bytes, problem: str) -> None:
    path = tmp_path / "BTCUSDT-1m.json"
    path.write_bytes(document)
    with pytest.raises(MalformedFile) as caught:
        list(read_klines(path))
    assert str(caught.value).startswith(f"{path}: {problem}")


@pytest.mark.parametrize(
    ("column", "value", "problem"),
    [
        (0, "1767225660000", "is no kline row: Expected `int`, got `str`"),
        (0, START_MS + MINUTE_MS + 1, "opens at 1767225660001, where no interval of 1m does"),
        (0, -1, 'open_time is "-1", not a time'),
        (1, 101.1, "is no kline row: Expected `str`, got `float`"),
        (1, None, "is no kline row: Expected `str`, got `null`"),
        (4, "NaN", 'close is "NaN", not a non-negative number'),
        (4, "1,5", "13 columns instead of 12"),
        (5, "", 'volume is "", not a non-negative number'),
        (8, -1, 'count is "-1", not a count'),
        (8, 1.5, "is no kline row: Expected `int`, got `float`"),
        (3, "0.00000000", "a price is not a positive number"),
        (2, "100.00000000", "open or close lies outside low and high"),
    ],
)
def test_a_bad_row_is_named_by_its_number(tmp_path: Path, column: int, value: object, problem: str) -> None:
    rows: list[list[object]] = [list(row) for row in files.rest_rows(200)]
    for number in (2, 150):
        spoilt = [list(row) for row in rows]
        moved = (number - 2) * MINUTE_MS
        spoilt[number - 1][column] = value + moved if column == 0 and isinstance(value, int) and value > 0 else value
        path = files.write_json(tmp_path / "BTCUSDT-1m.json", spoilt)
        with pytest.raises(MalformedFile) as caught:
            list(read_klines(path))
        assert (caught.value.path, caught.value.line) == (str(path), number)
        if number == 2:
            assert caught.value.problem.startswith(problem)
