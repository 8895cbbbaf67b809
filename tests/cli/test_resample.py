"""``candleactors resample``."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest
from commands import Shell, with_stderr_on_a_terminal

import candleactors as library
from candleactors.klines.reader import read_klines
from candleactors.model import Timeframe
from candleactors.records import FIELDS
from recorded import recordings

START_MS = 1_767_225_600_000  # 2026-01-01


def row(index: int, volume: int = 1) -> str:
    open_ms = START_MS + index * 60_000
    return (
        f"{open_ms},{100 + index}.10,{101 + index},{99 + index},{100 + index}.50,{volume},{open_ms + 59_999},1,1,0,0,0"
    )


def dump(name: str, first: int, count: int, **changes: int) -> Path:
    path = Path(name)
    path.write_text("".join(row(at, **changes) + "\n" for at in range(first, first + count)))
    return path


def rows_of(text: str) -> list[dict[str, str]]:
    header, *lines = text.splitlines()
    assert header == ",".join(FIELDS)
    return [dict(zip(FIELDS, line.split(","), strict=True)) for line in lines]


def test_candles_of_another_size_as_csv(candleactors: Shell) -> None:
    outcome = candleactors("resample", dump("BTCUSDT-1m-2026.csv", 0, 14), "--to", "7m")
    assert (outcome.status, outcome.err) == (0, "")
    found = rows_of(outcome.out)
    assert [(each["open"], each["high"], each["low"], each["close"], each["volume"]) for each in found] == [
        ("100.10", "107", "99", "106.50", "7"),
        ("107.10", "114", "106", "113.50", "7"),
    ]
    assert {(each["timeframe"], each["source"], each["complete"], each["missing"]) for each in found} == {
        ("7m", "derived", "true", "0")
    }


def test_the_same_as_the_library(candleactors: Shell, tmp_path: Path) -> None:
    path = dump("BTCUSDT-1m-2026.csv", 3, 3_000)
    assert candleactors("resample", path, "--to", "2m..9m,1h,1d", "--out", "out.csv").status == 0
    assert list(read_klines("out.csv")) == list(library.resample(read_klines(path), "2m..9m,1h,1d"))


@pytest.mark.parametrize(("anchor", "grid"), [("day", "7m"), ("epoch", "7m@epoch")])
def test_anchors(candleactors: Shell, anchor: str, grid: str) -> None:
    # Over midnight, where the two part ways.
    outcome = candleactors("resample", dump("BTCUSDT-1m-2026.csv", 1_430, 30), "--to", "7m", "--anchor", anchor)
    timeframe = Timeframe(grid)
    first_ms, end_ms = START_MS + 1_430 * 60_000, START_MS + 1_460 * 60_000
    found = rows_of(outcome.out)
    assert [int(each["open_time_ms"]) for each in found] == list(timeframe.opens(timeframe.floor(first_ms), end_ms))
    assert {each["timeframe"] for each in found} == {grid}


def test_several_files_in_any_order_with_overlaps(candleactors: Shell) -> None:
    first, second, third = (dump(f"BTCUSDT-1m-{at}.csv", at * 20, 25) for at in range(3))
    outcome = candleactors("resample", third, first, second, "--to", "5m")
    assert [each["complete"] for each in rows_of(outcome.out)] == ["true"] * 13


def test_a_contradiction_names_file_and_line(candleactors: Shell) -> None:
    first = dump("BTCUSDT-1m-a.csv", 0, 20)
    second = dump("BTCUSDT-1m-b.csv", 15, 20, volume=2)
    outcome = candleactors("resample", second, first, "--to", "5m", "--out", "out.csv")
    assert outcome.status == 1
    assert outcome.err == ("candleactors: BTCUSDT-1m-a.csv: line 16: says otherwise than BTCUSDT-1m-b.csv, line 1\n")
    assert not Path("out.csv").exists()


def test_incomplete_candles_say_so_and_can_be_left_out(candleactors: Shell) -> None:
    path = dump("BTCUSDT-1m-2026.csv", 2, 15)
    found = rows_of(candleactors("resample", path, "--to", "5m").out)
    assert [(each["complete"], each["missing"], each["closed"]) for each in found] == [
        ("false", "2", "true"),
        ("true", "0", "true"),
        ("true", "0", "true"),
        ("false", "3", "false"),
    ]
    found = rows_of(candleactors("resample", path, "--to", "5m", "--complete-only").out)
    assert [each["missing"] for each in found] == ["0", "0"]


def test_json(candleactors: Shell) -> None:
    outcome = candleactors("resample", dump("BTCUSDT-1m-2026.csv", 0, 10), "--to", "5m", "--format", "json")
    found = json.loads(outcome.out)
    assert [tuple(each) for each in found] == [FIELDS] * 2
    assert Decimal(found[0]["volume"]) == 5


def test_what_the_file_hides_is_given(candleactors: Shell) -> None:
    dump("prices.csv", 0, 10)
    outcome = candleactors("resample", "prices.csv", "--to", "5m")
    assert outcome.status == 2
    assert outcome.err == (
        "candleactors: prices.csv: neither its rows nor its name say the symbol; give --symbol BTCUSDT, or"
        ' symbol="BTCUSDT" in Python\n'
    )
    given = ("--venue", "binance-usdm", "--symbol", "ETHUSDT", "--timeframe", "1m")
    found = rows_of(candleactors("resample", "prices.csv", *given, "--to", "5m").out)
    assert {(each["venue"], each["symbol"]) for each in found} == {("binance-usdm", "ETHUSDT")}


def test_a_row_that_may_be_unfinished_is_left_out_and_told(candleactors: Shell) -> None:
    lines = [row(at).split(",")[:6] for at in range(10)]
    header = "timestamp,open,high,low,close,volume\n"
    Path("BTCUSDT-1m.csv").write_text(header + "".join(",".join(line) + "\n" for line in lines))
    outcome = candleactors("resample", "BTCUSDT-1m.csv", "--to", "5m")
    assert outcome.status == 0
    assert [each["missing"] for each in rows_of(outcome.out)] == ["0", "1"]
    assert outcome.err.splitlines() == [
        "candleactors: BTCUSDT-1m.csv, line 11: left out, since its interval may not have been over then",
        "candleactors: say when the files were recorded with --recorded-at",
    ]
    outcome = candleactors("resample", "BTCUSDT-1m.csv", "--to", "5m", "--recorded-at", "2026-01-01T00:10")
    assert [each["missing"] for each in rows_of(outcome.out)] == ["0", "0"]
    assert outcome.err == ""


def test_an_existing_file_is_replaced_only_on_success(candleactors: Shell) -> None:
    path = dump("BTCUSDT-1m-2026.csv", 0, 10)
    Path("out.csv").write_text("before")
    path.write_text(path.read_text() + "rubbish\n")
    outcome = candleactors("resample", path, "--to", "5m", "--out", "out.csv")
    assert (outcome.status, outcome.out) == (1, "")
    assert outcome.err == "candleactors: BTCUSDT-1m-2026.csv: line 11: 1 columns instead of 12\n"
    assert Path("out.csv").read_text() == "before"
    dump("BTCUSDT-1m-2026.csv", 0, 10)
    outcome = candleactors("resample", path, "--to", "5m", "--out", "out.csv")
    assert (outcome.status, outcome.out, outcome.err) == (0, "", "out.csv: 2 candles\n")
    assert len(rows_of(Path("out.csv").read_text())) == 2
    assert sorted(each.name for each in Path().iterdir()) == ["BTCUSDT-1m-2026.csv", "out.csv"]


def test_nothing_to_write(candleactors: Shell) -> None:
    Path("BTCUSDT-1m.csv").write_text("timestamp,open,high,low,close,volume\n")
    outcome = candleactors("resample", "BTCUSDT-1m.csv", "--to", "5m", "--out", "out.csv")
    assert (outcome.status, outcome.out) == (1, "")
    assert outcome.err.startswith("candleactors: nothing to write: the files hold no closed candle")
    assert not Path("out.csv").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Missing option '--to'"),
        (["--to", "7"], '"7" is not a timeframe'),
        (["--to", "5min"], '"5min" is not a timeframe; did you mean "5m"?'),
        (["--to", "60m..2m"], '"60m..2m" is not a range of timeframes; did you mean "2m..60m"?'),
        (["--to", "30s"], '"30s" cannot be made of 1m candles'),
        (["--to", "5m", "--timeframe", "minute"], "Invalid value for '--timeframe'"),
        (["--to", "5m", "--venue", "binance_spot"], 'is not a venue; did you mean "binance-spot"?'),
        (["--to", "5m", "--venue", ""], '"" is not a venue'),
        (["--to", "5m", "--anchor", "noon"], "Invalid value for '--anchor'"),
        (["--to", "5m", "--recorded-at", "yesterday"], '"yesterday" is not a time'),
    ],
)
def test_wrong_arguments(candleactors: Shell, arguments: list[str], message: str) -> None:
    outcome = candleactors("resample", dump("BTCUSDT-1m-2026.csv", 0, 10), *arguments)
    assert (outcome.status, outcome.out) == (2, "")
    assert message in outcome.err
    assert outcome.err.count("\n") == 1


def test_files_of_several_sizes_of_one_symbol(candleactors: Shell) -> None:
    path = dump("BTCUSDT-1m-2026.csv", 0, 20)
    candleactors("resample", path, "--to", "2m,5m", "--out", "both.csv")
    outcome = candleactors("resample", "both.csv", "--to", "10m", "--out", "out.csv")
    assert outcome.status == 1
    assert "the files hold unknown:BTCUSDT in 2m and in 5m; of which one are candles to be made?" in outcome.err


def test_a_reader_that_stops_early_is_no_error(candleactors: Shell) -> None:
    path = dump("BTCUSDT-1m-2026.csv", 0, 30_000)
    command = [sys.executable, "-c", "from candleactors.cli import main; main()", "resample", str(path), "--to", "2m"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == ",".join(FIELDS) + "\n"
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait() == 1


def test_a_bar_on_the_terminal_leaves_the_output_alone(candleactors: Shell) -> None:
    path = dump("BTCUSDT-1m-2026.csv", 0, 30_000)
    outcome = with_stderr_on_a_terminal("resample", path, "--to", "5m")
    assert (outcome.status, outcome.out) == (0, candleactors("resample", path, "--to", "5m").out)
    assert "resampling" in outcome.err
    assert "rows/s" in outcome.err
    assert ",5m," not in outcome.err


def test_recorded_days_make_the_venue_s_own_hours(candleactors: Shell) -> None:
    days = recordings("binance_spot/klines_1m_vision_zip_BTCUSDT/BTCUSDT-1m-2025-06-*.zip")
    (hours,) = recordings("binance_spot/klines_rest_json_2025/BTCUSDT/1h/2025-06-01.json")
    assert candleactors("resample", *reversed(days), "--to", "1h", "--out", "hours.csv").status == 0
    derived = list(read_klines("hours.csv"))
    theirs = list(read_klines(hours, recorded_ms=derived[-1].next_open_time_ms))
    assert len(derived) == 720
    assert all(ours.same_values(theirs) for ours, theirs in zip(derived, theirs, strict=True))


def test_packed_files(candleactors: Shell) -> None:
    path = dump("BTCUSDT-1m-2026.csv", 0, 10)
    Path("BTCUSDT-1m-2026.csv.gz").write_bytes(gzip.compress(path.read_bytes()))
    plain = candleactors("resample", path, "--to", "5m").out
    assert candleactors("resample", "BTCUSDT-1m-2026.csv.gz", "--to", "5m").out == plain
