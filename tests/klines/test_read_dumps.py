"""The exchange's public dumps, read."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import kline_files as files
import pytest
from kline_files import MINUTE_MS, START_MS

import candleactors
from candleactors.errors import ConfigError, InvalidTimeframe, MalformedFile
from candleactors.klines import read_klines
from candleactors.klines.reader import KlineFile
from candleactors.model import DAY_MS, HOUR_MS, Candle, Source, Timeframe

EXPECTED = Candle(
    "unknown",
    "BTCUSDT",
    Timeframe("1m"),
    START_MS + MINUTE_MS,
    START_MS + 2 * MINUTE_MS - 1,
    Decimal("101.10000000"),
    Decimal("102.00000000"),
    Decimal("101.00000000"),
    Decimal("101.50000000"),
    Decimal("1.25000000"),
    Decimal("101.00000000"),
    1,
    Decimal("0.10000000"),
    Decimal("10.01000000"),
    closed=True,
    complete=True,
    source=Source.REST,
    revision=0,
    received_ms=START_MS + 2 * MINUTE_MS,
)


def digits(candle: Candle) -> list[str]:
    return [str(value) for value in candle.values()]


def test_a_row_becomes_a_candle_with_every_digit(tmp_path: Path) -> None:
    path = files.write(tmp_path / "BTCUSDT-1m-2026-01-01.csv", files.rows(3))
    candles = list(candleactors.read_klines(path))
    assert len(candles) == 3
    assert candles[1] == EXPECTED
    assert digits(candles[1]) == digits(EXPECTED)


@pytest.mark.parametrize("header", [None, files.DUMP_HEADER, files.DUMP_HEADER.upper()])
@pytest.mark.parametrize("per_ms", [1, 1000])
@pytest.mark.parametrize("packing", ["plain", "gzip", "zip"])
def test_all_packings_and_units_say_the_same(tmp_path: Path, packing: str, per_ms: int, header: str | None) -> None:
    lines = ([header] if header else []) + files.rows(100, per_ms=per_ms)
    name = "BTCUSDT-1m-2026-01-01"
    if packing == "plain":
        path = files.write(tmp_path / f"{name}.csv", lines)
    elif packing == "gzip":
        path = files.write_gz(tmp_path / f"{name}.csv.gz", lines)
    else:
        path = files.write_zip(tmp_path / f"{name}.zip", lines)
    candles = list(read_klines(path))
    assert len(candles) == 100
    # Only the spot market writes microseconds.
    assert candles[1] == EXPECTED.replace(venue="binance-spot" if per_ms == 1000 else "unknown")
    assert all(candle.closed for candle in candles)


def test_seconds(tmp_path: Path) -> None:
    lines = [
        files.changed(files.changed(line, 0, str(START_MS // 1000 + 60 * at)), 6, str(START_MS // 1000 + 60 * at + 59))
        for at, line in enumerate(files.rows(3))
    ]
    path = files.write(tmp_path / "BTCUSDT-1m.csv", lines)
    assert [candle.open_time_ms for candle in read_klines(path)] == [START_MS + MINUTE_MS * at for at in range(3)]


def test_what_the_packing_is_shows_in_the_content_not_in_the_name(tmp_path: Path) -> None:
    path = files.write_gz(tmp_path / "BTCUSDT-1m.csv", files.rows(2))
    assert len(list(read_klines(path))) == 2


def test_milliseconds_and_microseconds_in_one_file(tmp_path: Path) -> None:
    # What `cat` makes of the dumps of December 2024 and January 2025.
    lines = [*files.rows(2), *files.rows(2, start_ms=START_MS + 2 * MINUTE_MS, per_ms=1000)]
    path = files.write(tmp_path / "BTCUSDT-1m.csv", lines)
    assert [candle.open_time_ms for candle in read_klines(path)] == [START_MS + MINUTE_MS * at for at in range(4)]


def test_headers_in_the_middle_and_repeated_rows_are_passed_over(tmp_path: Path) -> None:
    # What `cat` makes of files with headers that overlap by a row.
    lines = [files.DUMP_HEADER, *files.rows(3), files.DUMP_HEADER, *files.rows(5)[2:]]
    assert len(list(read_klines(files.write(tmp_path / "BTCUSDT-1m.csv", lines)))) == 5


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbf" + files.text_of(files.rows(3)),
        files.text_of(files.rows(3), "\r\n"),
        files.text_of(files.rows(3)) + b"\n\r\n  \n",
        files.text_of(files.rows(3)).removesuffix(b"\n"),
        files.text_of(files.rows(3), "\r\n").removesuffix(b"\n"),
    ],
    ids=["mark", "crlf", "blank lines", "no last line end", "half a last line end"],
)
def test_how_editors_save_text(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "BTCUSDT-1m.csv"
    path.write_bytes(content)
    assert len(list(read_klines(path))) == 3


def test_files_larger_than_what_is_read_at_once(tmp_path: Path) -> None:
    lines = files.rows(6_000)
    path = files.write(tmp_path / "BTCUSDT-1m.csv", lines)
    assert path.stat().st_size > 1 << 19
    candles = list(read_klines(path))
    assert [str(candle.open_time_ms) for candle in candles] == [line.partition(",")[0] for line in lines]


def test_holes_and_short_intervals_are_the_venue_s_business(tmp_path: Path) -> None:
    # An outage: the venue's close time is where it went down, and rows are missing.
    lines = files.rows(10)
    lines[3] = files.changed(lines[3], 6, str(START_MS + 3 * MINUTE_MS + 17))
    path = files.write(tmp_path / "BTCUSDT-1m.csv", lines[:4] + lines[7:])
    candles = list(read_klines(path))
    assert candles[3].close_time_ms == START_MS + 4 * MINUTE_MS - 1
    assert candles[4].open_time_ms == START_MS + 7 * MINUTE_MS


@pytest.mark.parametrize(("phase", "ok"), [(0, True), (1, True), (2, True), (0.5, False)])
def test_three_day_candles_have_a_phase_of_their_own(tmp_path: Path, phase: float, ok: bool) -> None:
    lines = files.rows(5, start_ms=START_MS + int(phase * DAY_MS), step_ms=3 * DAY_MS)
    path = files.write(tmp_path / "BTCUSDT-3d-2026.csv", lines)
    if ok:
        assert [candle.next_open_time_ms - candle.open_time_ms for candle in read_klines(path)] == [3 * DAY_MS] * 5
    else:
        with pytest.raises(MalformedFile, match="line 1: opens at"):
            list(read_klines(path))


@pytest.mark.parametrize(
    ("name", "member", "expected"),
    [
        ("BTCUSDT-1m-2025-05-24.csv", None, ("unknown", "BTCUSDT", "1m")),
        ("btcusdt_1m.csv", None, ("unknown", "BTCUSDT", "1m")),
        ("BTC-USDT-SWAP_1m.csv", None, ("unknown", "BTC-USDT-SWAP", "1m")),
        ("BTCUSDT_230331-1m-2023-01.csv", None, ("unknown", "BTCUSDT_230331", "1m")),
        ("1000SATSUSDT-1m-2025-05-24.csv", None, ("unknown", "1000SATSUSDT", "1m")),
        ("BTCUSDT-1min.csv", None, ("unknown", "BTCUSDT", "1m")),
        ("BTCUSDT 1m.txt", None, ("unknown", "BTCUSDT", "1m")),
        ("ETHUSDT/1m/2025-05-19.csv", None, ("unknown", "ETHUSDT", "1m")),
        ("download.zip", "BTCUSDT-1m-2025-05-24.csv", ("unknown", "BTCUSDT", "1m")),
        ("download.zip", "a/folder/BTCUSDT-1m-2025-05-24.csv", ("unknown", "BTCUSDT", "1m")),
        ("spot/daily/klines/BTCUSDT/1m/BTCUSDT-1m-2025.csv", None, ("binance-spot", "BTCUSDT", "1m")),
        ("futures/um/monthly/klines/BTCUSDT/1m/BTCUSDT-1m-2025.csv", None, ("binance-usdm", "BTCUSDT", "1m")),
        ("futures/cm/monthly/klines/BTCUSD_PERP/1m/BTCUSD_PERP-1m-2025.csv", None, ("unknown", "BTCUSD_PERP", "1m")),
    ],
)
def test_what_the_name_says(tmp_path: Path, name: str, member: str | None, expected: tuple[str, str, str]) -> None:
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if member is None:
        files.write(path, files.rows(2))
    else:
        files.write_zip(path, files.rows(2), member)
    stream = next(read_klines(path)).stream
    assert (stream.venue, stream.symbol, stream.timeframe.text) == expected


def test_the_monthly_interval_is_spelt_differently_in_names(tmp_path: Path) -> None:
    january = files.row(0, step_ms=31 * DAY_MS)
    february = files.row(0, start_ms=START_MS + 31 * DAY_MS, step_ms=28 * DAY_MS)
    path = files.write(tmp_path / "BTCUSDT-1mo-2026-01.csv", [january, february])
    assert [candle.timeframe.text for candle in read_klines(path)] == ["1M", "1M"]
    path = files.write(tmp_path / "prices.csv", [january, february])
    assert next(read_klines(path, symbol="BTCUSDT")).timeframe.text == "1M"


@pytest.mark.parametrize(
    ("step_ms", "expected"),
    [(1000, "1s"), (MINUTE_MS, "1m"), (90 * MINUTE_MS, "90m"), (4 * HOUR_MS, "4h"), (DAY_MS, "1d"), (3 * DAY_MS, "3d")],
)
@pytest.mark.parametrize("count", [1, 5])
def test_the_timeframe_shows_in_the_rows(tmp_path: Path, step_ms: int, expected: str, count: int) -> None:
    path = files.write(tmp_path / "BTCUSDT.csv", files.rows(count, step_ms=step_ms))
    assert {candle.timeframe.text for candle in read_klines(path, symbol="BTCUSDT")} == {expected}


def test_weeks_begin_on_monday(tmp_path: Path) -> None:
    monday_ms = START_MS + 4 * DAY_MS
    path = files.write(tmp_path / "a.csv", files.rows(3, start_ms=monday_ms, step_ms=7 * DAY_MS))
    assert next(read_klines(path, symbol="BTCUSDT")).timeframe.text == "1w"
    path = files.write(tmp_path / "BTCUSDT-1w-2026.csv", files.rows(3, step_ms=7 * DAY_MS))
    with pytest.raises(MalformedFile, match="line 1: opens at 1767225600000, where no interval of 1w does"):
        list(read_klines(path))


def test_arguments_come_before_the_name(tmp_path: Path) -> None:
    path = files.write(tmp_path / "BTCUSDT-5m-2026.csv", files.rows(2))
    candle = next(read_klines(str(path), venue="binance-usdm", symbol="X", timeframe="1m"))
    assert str(candle.stream) == "binance-usdm:X:1m"
    assert next(read_klines(path, timeframe=Timeframe("1m"))).timeframe == Timeframe("1m")


@pytest.mark.parametrize("name", ["prices.csv", "Binance_BTCUSDT_1m.csv", "binance-btcusdt-1m.csv", "2026-01-01.csv"])
def test_a_symbol_that_nothing_tells_for_certain_has_to_be_given(tmp_path: Path, name: str) -> None:
    path = files.write(tmp_path / name, files.rows(2))
    with pytest.raises(ConfigError, match="neither its rows nor its name say the symbol; give --symbol BTCUSDT, or"):
        next(read_klines(path))
    assert next(read_klines(path, symbol="BTCUSDT")).symbol == "BTCUSDT"


def test_an_archive_and_its_file_that_contradict_each_other(tmp_path: Path) -> None:
    path = files.write_zip(tmp_path / "BTCUSDT-1m-2026.zip", files.rows(2), "ETHUSDT-1m-2026.csv")
    with pytest.raises(ConfigError, match=r"by its name it holds BTCUSDT, but the file in it is ETHUSDT-1m-2026.csv"):
        next(read_klines(path))


def test_a_bad_timeframe_is_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(InvalidTimeframe, match="5min"):
        read_klines(tmp_path / "absent.csv", timeframe="5min")


def test_nothing_is_opened_before_it_is_needed(tmp_path: Path) -> None:
    candles = read_klines(tmp_path / "BTCUSDT-1m.csv")
    files.write(tmp_path / "BTCUSDT-1m.csv", files.rows(2))
    assert len(list(candles)) == 2


def test_a_header_alone_is_no_candle(tmp_path: Path) -> None:
    assert list(read_klines(files.write(tmp_path / "a.csv", [files.DUMP_HEADER]))) == []


def test_the_position_grows_to_the_size_of_the_file(tmp_path: Path) -> None:
    file = KlineFile(files.write_gz(tmp_path / "BTCUSDT-1m.csv.gz", files.rows(20_000)))
    positions = [file.position() for _ in file.rows()]
    assert positions == sorted(positions)
    assert 0 < positions[0] < positions[-1] <= file.size
    assert file.position() == 0
    assert file.official
