"""Our own CSV: written and read back, and what is refused of it."""

from __future__ import annotations

import io
import json
from decimal import Decimal
from pathlib import Path

import kline_files as files
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kline_files import MINUTE_MS, START_MS

import candleactors
from candleactors.errors import CandleactorsError, ConfigError, MalformedFile
from candleactors.klines import read_klines
from candleactors.klines.writers import replacing, write_csv, write_json
from candleactors.model import Candle, Source, Timeframe
from candleactors.records import FIELDS, candle_record
from candleactors.testing import candle_runs, timeframes

NAMES = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Zl", "Zp")), min_size=1, max_size=12)


def csv_of(candles: list[Candle]) -> str:
    out = io.StringIO(newline="")
    assert write_csv(candles, out) == len(candles)
    return out.getvalue()


def record(candle: Candle) -> dict[str, object]:
    """Return a candle with its digits."""
    return dict(candle_record(candle))


@st.composite
def anything(draw: st.DrawFn) -> list[Candle]:
    """Return a run of candles with whatever a store may hold of them."""
    run = draw(candle_runs(timeframes(), max_size=20, venue=draw(NAMES), symbol=draw(NAMES)))
    found = []
    for candle in run:
        missing = draw(st.integers(0, 3))
        found.append(
            candle.replace(
                closed=draw(st.booleans()),
                complete=missing == 0 and draw(st.booleans()),
                missing=missing,
                source=draw(st.sampled_from(Source)),
                revision=draw(st.integers(0, 2**40)),
            )
        )
    return found


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("own") / "candles.csv"


@settings(max_examples=50)
@given(runs=st.lists(anything(), max_size=3, unique_by=lambda run: (run[0].venue, run[0].symbol, run[0].timeframe)))
def test_what_is_written_is_read_back_to_the_digit(runs: list[list[Candle]], path: Path) -> None:
    candles = [candle for run in runs for candle in run]
    path.write_text(csv_of(candles), "utf-8", newline="")
    read = list(read_klines(path))
    assert read == candles
    assert list(map(record, read)) == list(map(record, candles))


@settings(max_examples=30)
@given(run=candle_runs("1m", min_size=2, max_size=30))
def test_derived_candles_of_several_sizes_in_one_file(run: list[Candle], path: Path) -> None:
    derived = list(candleactors.resample(run, "1m,3m,7m,1h"))
    path.write_text(csv_of(derived), "utf-8", newline="")
    assert list(read_klines(path)) == derived


@settings(max_examples=30)
@given(run=candle_runs("1m", max_size=20))
def test_files_from_before_the_last_column(run: list[Candle], path: Path) -> None:
    lines = csv_of(run).splitlines()
    files.write(path, [line.rpartition(",")[0] for line in lines])
    assert list(read_klines(path)) == run


@settings(max_examples=30)
@given(run=candle_runs("1m", max_size=20))
def test_json_for_programs(run: list[Candle]) -> None:
    out = io.StringIO()
    assert write_json(run, out) == len(run)
    assert json.loads(out.getvalue()) == list(map(record, run))


@pytest.fixture
def lines(tmp_path: Path) -> list[str]:
    """Three rows under a header."""
    dump = files.write(tmp_path / "BTCUSDT-1m.csv", files.rows(3))
    return csv_of(list(read_klines(dump, venue="binance-spot"))).splitlines()


@pytest.mark.parametrize(
    ("field", "value", "problem"),
    [
        ("venue", "", "venue or symbol is empty"),
        ("symbol", "", "venue or symbol is empty"),
        ("timeframe", "1x", '"1x" is not a timeframe'),
        ("timeframe", "5m", "opens at 1767225660000, where no interval of 5m does"),
        ("open_time_ms", "1767225660001", "opens at 1767225660001, where no interval of 1m does"),
        ("open_time_ms", "9" * 18, "opens at 999999999999999999, where no interval of 1m does"),
        ("open_time_ms", "2026-01-01", 'open_time_ms is "2026-01-01", not a whole number'),
        ("open_time_ms", str(START_MS - MINUTE_MS), "close_time_ms is"),
        ("close_time_ms", "1767225720000", 'close_time_ms is "1767225720000" instead of 1767225719999'),
        ("open", "-1", 'open is "-1", not a non-negative number'),
        ("high", "1e3", 'high is "1e3", not a non-negative number'),
        ("low", "0", "a price is not a positive number"),
        ("close", "", 'close is "", not a non-negative number'),
        ("close", "1", "open or close lies outside low and high"),
        ("volume", "", 'volume is "", not a non-negative number'),
        ("quote_volume", "none", 'quote_volume is "none", not a non-negative number'),
        ("trades", "1.0", 'trades is "1.0", not a whole number'),
        ("taker_buy_volume", "NaN", 'taker_buy_volume is "NaN", not a non-negative number'),
        ("closed", "True", 'closed is "True", neither true nor false'),
        ("complete", "1", 'complete is "1", neither true nor false'),
        ("source", "dump", 'source is "dump", none of ws, rest, derived, filled'),
        ("revision", "-1", 'revision is "-1", not a whole number'),
        ("received_ms", "", 'received_ms is "", not a whole number'),
        ("missing", "2", "is complete although 2 constituents are missing"),
        ("missing", "0,0", "21 columns instead of 20"),
    ],
)
def test_one_bad_field(tmp_path: Path, lines: list[str], field: str, value: str, problem: str) -> None:
    lines[2] = files.changed(lines[2], FIELDS.index(field), value)
    path = files.write(tmp_path / "own.csv", lines)
    with pytest.raises(MalformedFile) as caught:
        list(read_klines(path))
    assert (caught.value.path, caught.value.line) == (str(path), 3)
    assert caught.value.problem.startswith(problem)


def test_order_within_each_stream(tmp_path: Path, lines: list[str]) -> None:
    other = [line.replace("BTCUSDT", "ETHUSDT") for line in lines]
    path = files.write(tmp_path / "own.csv", [lines[0], lines[1], other[2], lines[2], other[2], other[3], lines[3]])
    assert [candle.symbol[:3] for candle in read_klines(path)] == ["BTC", "ETH", "BTC", "ETH", "BTC"]
    files.write(path, [lines[0], lines[2], other[1], lines[1]])
    with pytest.raises(MalformedFile, match="line 4: opens before the row above it"):
        list(read_klines(path))


def test_what_is_asked_for_has_to_be_what_the_rows_say(tmp_path: Path, lines: list[str]) -> None:
    path = files.write(tmp_path / "own.csv", lines)
    assert len(list(read_klines(path, venue="binance-spot", symbol="BTCUSDT", timeframe="1m"))) == 3
    for asked, problem in (
        ({"venue": "binance-usdm"}, "the venue is binance-spot, not binance-usdm"),
        ({"symbol": "ETHUSDT"}, "the symbol is BTCUSDT, not ETHUSDT"),
        ({"timeframe": "5m"}, "the timeframe is 1m, not 5m"),
    ):
        with pytest.raises(MalformedFile, match=f"line 2: {problem}"):
            list(read_klines(path, **asked))  # type: ignore[arg-type]  # one argument each


def test_an_unknown_venue_may_be_given_later(tmp_path: Path, lines: list[str]) -> None:
    path = files.write(tmp_path / "own.csv", [line.replace("binance-spot", "unknown") for line in lines])
    assert {candle.venue for candle in read_klines(path)} == {"unknown"}
    assert {candle.venue for candle in read_klines(path, venue="binance-usdm")} == {"binance-usdm"}


def test_a_file_replaces_another_only_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    path.write_text("before")
    path.chmod(0o640)
    with pytest.raises(ZeroDivisionError), replacing(path) as out:
        out.write(f"half{1 / 0}")
    assert path.read_text() == "before"
    with replacing(path) as out:
        out.write("after")
        assert path.read_text() == "before"
    assert path.read_text() == "after"
    assert path.stat().st_mode & 0o777 == 0o640
    assert [each.name for each in tmp_path.iterdir()] == ["out.csv"]


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    link = tmp_path / "out.csv"
    link.symlink_to(tmp_path / "folder" / "real.csv")
    with replacing(link) as out:
        out.write("text")
    assert link.is_symlink()
    assert (tmp_path / "folder" / "real.csv").read_text() == "text"


def test_where_nothing_can_be_written(tmp_path: Path) -> None:
    with pytest.raises(CandleactorsError, match="is not a regular file and cannot be replaced"), replacing(tmp_path):
        pass
    with (
        pytest.raises(CandleactorsError, match=r"out.csv cannot be written: No such file or directory"),
        replacing(tmp_path / "absent" / "out.csv"),
    ):
        pass


def test_an_absent_symbol_is_no_matter_for_own_files(tmp_path: Path, lines: list[str]) -> None:
    path = files.write(tmp_path / "ETHUSDT-5m.csv", lines)
    assert {str(candle.stream) for candle in read_klines(path)} == {"binance-spot:BTCUSDT:1m"}
    with pytest.raises(ConfigError):
        next(read_klines(files.write(tmp_path / "x.csv", files.rows(1))))


def test_every_digit_of_an_exponent_is_written_out(tmp_path: Path) -> None:
    dump = files.write(tmp_path / "BTCUSDT-1m.csv", files.rows(1))
    candle = next(read_klines(dump)).replace(volume=Decimal("1E+3"), quote_volume=Decimal("0E-8"))
    row = csv_of([candle]).splitlines()[1].split(",")
    assert row[FIELDS.index("volume")] == "1000"
    assert row[FIELDS.index("quote_volume")] == "0.00000000"
    assert candle.timeframe == Timeframe("1m")
