"""``candleactors export``: every digit, into files that dataframes and ``candleactors import`` read, or none at all."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import trio
from commands import Shell

from candleactors.errors import MalformedFile
from candleactors.klines.reader import read_klines
from candleactors.model import MINUTE_MS, Candle, Source, Stream, Timeframe
from candleactors.stores.sqlite import open_sqlite

pa = pytest.importorskip("pyarrow", reason="Parquet needs the extra candleactors[parquet]")
pq = pytest.importorskip("pyarrow.parquet")

BTC = Stream("binance-spot", "BTCUSDT", Timeframe("1m"))
HOUR = Stream("binance-spot", "BTCUSDT", Timeframe("1h"))
ODD = Stream("bitfinex", "t1000PEPE:USD", Timeframe("1d@+0800"))
START_MS = 1_704_067_200_000


def candle(n: int, stream: Stream = BTC, **changes: Any) -> Candle:
    """Return the `n`-th candle, with digits of its own."""
    timeframe = stream.timeframe
    opens = timeframe.advance(timeframe.floor(START_MS), n)
    price = Decimal(4_200_000 + n * 7).scaleb(-2)
    values: list[Any] = [
        *(stream.venue, stream.symbol, timeframe, opens, timeframe.close_ms(opens)),
        *(price, price + 1, price - Decimal("0.001"), price, Decimal(n).scaleb(-5)),
        *(Decimal(n * n).scaleb(-8), n, None if n % 3 else Decimal(n), Decimal(n), True, n % 5 > 0),
        *(list(Source)[n % len(Source)], n % 2, opens + 1_000, 0 if n % 5 else 2),
    ]
    made = Candle(*values)
    return made.replace(**changes)


ROWS = [candle(n) for n in range(100) if n not in (50, 51, 70)]
HOURS = [candle(n, HOUR) for n in range(3)]
ODDS = [candle(n, ODD, open=Decimal("0.000000001234"), low=Decimal(n + 1).scaleb(-10)) for n in range(2)]


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A store with three streams."""
    path = tmp_path / "candles.sqlite"
    write(path, [*ROWS, *HOURS, *ODDS, candle(100, closed=False)])
    return path


def write(path: Path, candles: Sequence[Candle]) -> None:
    async def fill() -> None:
        async with open_sqlite(path, threaded=False) as opened:
            await opened.write(candles, [])

    trio.run(fill)


def stored(path: Path) -> dict[Stream, list[Candle]]:
    async def read() -> dict[Stream, list[Candle]]:
        async with open_sqlite(path, threaded=False, read_only=True) as opened:
            return {stream: await opened.candles(stream) for stream in await opened.streams()}

    return trio.run(read)


def test_a_parquet_file_says_what_the_store_does(store: Path, candleactors: Shell, tmp_path: Path) -> None:
    done = candleactors("export", "BTCUSDT", "1m", "--output", "btc.parquet")
    assert (done.status, done.out) == (0, "")
    assert done.err == (
        f"{BTC}: 97 candles, 2024-01-01 00:00:00 to 2024-01-01 01:39:00, 2 holes (3 missing)\nbtc.parquet: 97 candles\n"
    )
    table = pq.read_table(tmp_path / "btc.parquet")
    assert table.column_names == [
        *("venue", "symbol", "timeframe", "open_time", "close_time", "open", "high", "low", "close", "volume"),
        *("quote_volume", "trades", "taker_buy_volume", "taker_buy_quote_volume", "complete", "source", "revision"),
        *("received_at", "missing"),
    ]
    assert table.schema.field("open_time").type == pa.timestamp("ms", tz="UTC")
    assert table.schema.field("open").type == pa.decimal128(8, 3)
    assert pa.types.is_dictionary(table.schema.field("symbol").type)
    for row, expected in zip(table.to_pylist(), ROWS, strict=True):
        for name in ("venue", "symbol", *table.column_names[5:15], "revision", "missing"):
            assert row[name] == getattr(expected, name), name
        assert (row["timeframe"], row["source"]) == ("1m", expected.source.value)
        times = [round(row[name].timestamp() * 1000) for name in ("open_time", "close_time", "received_at")]
        assert times == [expected.open_time_ms, expected.close_time_ms, expected.received_ms]
    said = json.loads(pq.read_metadata("btc.parquet").metadata[b"candleactors"])
    assert said["streams"] == [
        {
            "venue": "binance-spot",
            "symbol": "BTCUSDT",
            "timeframe": "1m",
            "candles": 97,
            "holes": 2,
            "missing": 3,
            "first_open_time_ms": START_MS,
            "last_open_time_ms": START_MS + 99 * MINUTE_MS,
        }
    ]
    assert sorted(file.name for file in tmp_path.iterdir() if "sqlite" not in file.name) == ["btc.parquet"]


def test_dataframes_read_it_in_one_line(store: Path, candleactors: Shell, tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas", reason="for dataframes: pip install 'candleactors[truth]'")
    polars = pytest.importorskip("polars", reason="for dataframes: pip install 'candleactors[truth]'")
    assert candleactors("export", "BTCUSDT", "1m", "--output", "exact.parquet").status == 0
    assert candleactors("export", "BTCUSDT", "1m", "--output", "quick.parquet", "--numbers", "float").status == 0
    frame = pandas.read_parquet("exact.parquet")
    assert frame["low"].tolist() == [each.low for each in ROWS]
    assert frame["open_time"].astype("int64").tolist() == [each.open_time_ms for each in ROWS]
    assert polars.read_parquet("exact.parquet")["low"].to_list() == [each.low for each in ROWS]
    for values in (pandas.read_parquet("quick.parquet")["low"], polars.read_parquet("quick.parquet")["low"]):
        assert list(values) == [float(each.low) for each in ROWS]
    quick = polars.read_parquet("quick.parquet")["taker_buy_volume"].to_list()
    assert quick == [None if each.taker_buy_volume is None else float(each.taker_buy_volume) for each in ROWS]


def test_a_folder_gets_a_file_for_each_stream(store: Path, candleactors: Shell, tmp_path: Path) -> None:
    polars = pytest.importorskip("polars", reason="for dataframes: pip install 'candleactors[truth]'")
    pandas = pytest.importorskip("pandas", reason="for dataframes: pip install 'candleactors[truth]'")
    assert candleactors("export", "--all", "--output", "all/").status == 0
    folder = tmp_path / "all"
    assert sorted(str(file.relative_to(folder)) for file in folder.rglob("*.parquet")) == [
        "venue=binance-spot/symbol=BTCUSDT/timeframe=1h/candles.parquet",
        "venue=binance-spot/symbol=BTCUSDT/timeframe=1m/candles.parquet",
        "venue=bitfinex/symbol=t1000PEPE%3AUSD/timeframe=1d%40%2B0800/candles.parquet",
    ]
    expected = {(each.venue, each.symbol, each.timeframe.text, each.low) for each in (*ROWS, *HOURS, *ODDS)}
    for rows in (
        pandas.read_parquet(folder).to_dict("records"),
        polars.read_parquet(folder / "**/*.parquet", hive_partitioning=True).to_dicts(),
    ):
        assert {(row["venue"], row["symbol"], row["timeframe"], row["low"]) for row in rows} == expected
    # Once more, and into a file.
    assert candleactors("export", "--all", "--venue", "bitfinex", "--output", "all").status == 0
    assert candleactors("export", "--all", "--output", "all.parquet").status == 0
    assert pq.read_table("all.parquet").num_rows == len(expected) == 102


@pytest.mark.parametrize("name", ["all.csv", "all.parquet"])
def test_import_takes_it_back(name: str, store: Path, candleactors: Shell, tmp_path: Path) -> None:
    assert candleactors("export", "--all", "--output", name).status == 0
    done = candleactors("import", name, "--store", "other.sqlite")
    assert (done.status, done.err) == (0, "")
    before, after = stored(store), stored(tmp_path / "other.sqlite")
    del before[BTC][-1]  # not closed
    assert after == before
    assert "0 new, 0 changed, 97 unchanged" in candleactors("import", name, "--store", "other.sqlite").out


def test_files_of_a_folder_are_taken_back_too(store: Path, candleactors: Shell, tmp_path: Path) -> None:
    assert candleactors("export", "--all", "--output", "all/").status == 0
    files = sorted((tmp_path / "all").rglob("*.parquet"))
    assert candleactors("import", *files, "--store", "other.sqlite").status == 0
    before, after = stored(store), stored(tmp_path / "other.sqlite")
    del before[BTC][-1]
    assert after == before
    assert list(read_klines(files[0])) == HOURS


def test_parquet_that_is_not_ours(store: Path, candleactors: Shell, tmp_path: Path) -> None:
    pq.write_table(pa.table({"open": [1.0]}), "foreign.parquet")
    assert candleactors("export", "BTCUSDT", "1m", "--output", "quick.parquet", "--numbers", "float").status == 0
    assert candleactors("export", "BTCUSDT", "1m", "--output", "cut.parquet").status == 0
    whole = Path("cut.parquet").read_bytes()
    for name, problem in (("foreign", "Parquet of another program"), ("quick", "holds floats")):
        with pytest.raises(MalformedFile, match=problem):
            list(read_klines(f"{name}.parquet"))
    for end in (4, 100, len(whole) // 2, len(whole) - 1):
        Path("cut.parquet").write_bytes(whole[:end])
        with pytest.raises(MalformedFile, match=r"cut\.parquet.*damaged"):
            list(read_klines("cut.parquet"))


@pytest.mark.parametrize(
    ("digits", "kind"), [(38, "decimal128(38, 30)"), (39, "decimal256(39, 31)"), (76, "decimal256(76, 68)")]
)
def test_numbers_of_any_length(digits: int, kind: str, candleactors: Shell, tmp_path: Path) -> None:
    volume = Decimal("1" * 8 + "." + "2" * (digits - 9) + "3")
    rows = [candle(0, volume=volume), candle(1, volume=Decimal("1e3"))]
    write(tmp_path / "candles.sqlite", rows)
    assert candleactors("export", "BTCUSDT", "1m", "--output", "long.parquet").status == 0
    column = pq.read_table("long.parquet")["volume"]
    assert str(column.type) == kind
    assert column.to_pylist() == [volume, 1000]
    assert list(read_klines("long.parquet")) == rows


def test_numbers_that_parquet_does_not_hold(candleactors: Shell, tmp_path: Path) -> None:
    write(tmp_path / "candles.sqlite", [candle(0, volume=Decimal("1." + "2" * 76))])
    failed = candleactors("export", "BTCUSDT", "1m", "--output", "long.parquet")
    assert (failed.status, failed.out) == (1, "")
    assert failed.err == "candleactors: volume has 77 digits, more than Parquet holds; export CSV, or floats\n"
    assert not Path("long.parquet").exists()
    assert candleactors("export", "BTCUSDT", "1m", "--output", "long.csv").status == 0
    assert candleactors("export", "BTCUSDT", "1m", "--output", "long.parquet", "--numbers", "float").status == 0


def test_a_stretch_of_it(store: Path, candleactors: Shell) -> None:
    arguments = ("--from", "2024-01-01T00:10", "--to", "2024-01-01T00:20", "--output", "part.csv")
    assert candleactors("export", "BTCUSDT", "1m", *arguments).status == 0
    assert list(read_klines("part.csv")) == ROWS[10:21]
    failed = candleactors("export", "BTCUSDT", "1m", "--from", "2025-01-01", "--output", "none.csv")
    assert (failed.status, failed.err) == (1, "candleactors: no candle that is stored opens in that time\n")
    assert not Path("none.csv").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--output", "x.csv"], "name SYMBOL and TIMEFRAME, or --all"),
        (["BTCUSDT", "1m", "--all", "--output", "x.csv"], "name SYMBOL and TIMEFRAME, or --all"),
        (["BTCUSDT", "--output", "x.csv"], "which TIMEFRAME of BTCUSDT?"),
        (["BTCUSDT", "1m", "--output", "x.txt"], '"x.txt" ends with neither .parquet nor .csv'),
        (["BTCUSDT", "1m"], "Missing option '--output'"),
        (["BTCUSDT", "1min", "--output", "x.csv"], 'did you mean "1m"?'),
    ],
)
def test_mistakes(arguments: list[str], message: str, store: Path, candleactors: Shell) -> None:
    failed = candleactors("export", *arguments)
    assert (failed.status, failed.out) == (2, "")
    assert message in failed.err
    assert failed.err.count("\n") == 1


def test_what_is_not_there(store: Path, candleactors: Shell) -> None:
    failed = candleactors("export", "BTCUSD", "1m", "--output", "x.csv")
    assert failed.status == 1
    assert 'the nearest stored is "BTCUSDT 1m --venue binance-spot"' in failed.err
    failed = candleactors("export", "--all", "--venue", "okx", "--output", "x.csv")
    assert (failed.status, failed.err) == (1, "candleactors: candles.sqlite has nothing of okx\n")


def test_without_pyarrow(store: Path, candleactors: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    assert candleactors("export", "BTCUSDT", "1m", "--output", "x.parquet").status == 0
    for name in [*(name for name in sys.modules if name.split(".")[0] == "pyarrow"), "pyarrow"]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.delitem(sys.modules, "candleactors.columnar.parquet", raising=False)
    monkeypatch.delattr("candleactors.columnar.parquet", raising=False)
    for arguments in (["export", "BTCUSDT", "1m", "--output", "y.parquet"], ["import", "x.parquet"]):
        failed = candleactors(*arguments)
        assert failed.status == 2
        assert "Parquet needs pyarrow: pip install 'candleactors[parquet]'" in failed.err
    assert candleactors("export", "BTCUSDT", "1m", "--output", "y.csv").status == 0


LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv.pop(1)),) * 2)
from candleactors.cli import main
main()
"""


@pytest.mark.parametrize("name", ["old.parquet", "old.csv"])
def test_a_disk_that_is_full_leaves_what_was_there(name: str, store: Path, tmp_path: Path, candleactors: Shell) -> None:
    write(store, [candle(n) for n in range(200, 3_000)])
    (tmp_path / name).write_bytes(b"before")
    command = [sys.executable, "-c", LIMITED, "40000", "export", "BTCUSDT", "1m", "--output", name]
    failed = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert (failed.returncode, failed.stdout) == (1, "")
    assert failed.stderr == f"candleactors: {name} cannot be written: File too large\n"
    assert (tmp_path / name).read_bytes() == b"before"
    assert not [file.name for file in tmp_path.iterdir() if file.name.endswith(".part")]


KILLED = """
import os, signal
from candleactors.klines import exporting
exporting._counted = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
from candleactors.cli import main
main()
"""


@pytest.mark.parametrize("name", ["old.parquet", "old.csv"])
def test_a_kill_leaves_what_was_there(name: str, store: Path, tmp_path: Path, candleactors: Shell) -> None:
    (tmp_path / name).write_bytes(b"before")
    command = [sys.executable, "-c", KILLED, "export", "BTCUSDT", "1m", "--output", name]
    assert subprocess.run(command, cwd=tmp_path, timeout=60, check=False).returncode == -signal.SIGKILL
    assert (tmp_path / name).read_bytes() == b"before"
    assert candleactors("export", "BTCUSDT", "1m", "--output", name).status == 0
    assert len(list(read_klines(tmp_path / name))) == len(ROWS)


@pytest.mark.parametrize("name", ["old.parquet", "old.csv"])
def test_an_interrupt_leaves_what_was_there(
    name: str, store: Path, tmp_path: Path, candleactors: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    from candleactors.klines import exporting

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    (tmp_path / name).write_bytes(b"before")
    monkeypatch.setattr(exporting, "_counted", interrupted)
    assert candleactors("export", "BTCUSDT", "1m", "--output", name).status == 130
    assert (tmp_path / name).read_bytes() == b"before"
    assert not [file.name for file in tmp_path.iterdir() if file.name.endswith(".part")]


async def test_beside_a_writer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is written meanwhile is in the file or not; there is never a hole in it."""
    from candleactors.klines import exporting

    monkeypatch.setattr(exporting, "_PAGE", 20)
    async with open_sqlite(tmp_path / "candles.sqlite") as feed:
        await feed.write([candle(n, complete=True, missing=0) for n in range(500)], [])

        async def go_on() -> None:
            for n in range(500, 2_000, 3):
                await feed.write([candle(n + step, complete=True, missing=0) for step in range(3)], [])

        async with open_sqlite(tmp_path / "candles.sqlite", read_only=True) as reader, trio.open_nursery() as nursery:
            nursery.start_soon(go_on)
            exporter = exporting.Exporter(reader, lambda doing, rows, passed_ms: None)
            await exporter.plan([BTC], None, None)
            await exporter.export(tmp_path / "live.parquet", exporting.Format.PARQUET, exact=True)
            nursery.cancel_scope.cancel()
    found = list(read_klines(tmp_path / "live.parquet"))
    assert pq.read_metadata(tmp_path / "live.parquet").num_rows == len(found) >= 500
    assert [each.open_time_ms for each in found] == [candle(n).open_time_ms for n in range(len(found))]
