"""``candleactors history``."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest
import trio
from commands import Shell

from candleactors.model import MINUTE_MS, Candle, Source, Stream, Timeframe
from candleactors.records import FIELDS
from candleactors.stores.sqlite import open_sqlite

START_MS = 1_767_225_600_000  # 2026-01-01
SPOT = Stream("binance-spot", "BTCUSDT", Timeframe("1m"))
USDM = Stream("binance-usdm", "BTCUSDT", Timeframe("1m"))
ONLY_SPOT = Stream("binance-spot", "ETHUSDT", Timeframe("1m"))


def candle(stream: Stream, index: int) -> Candle:
    open_ms = START_MS + index * MINUTE_MS
    price = Decimal("0.00001000")
    return Candle(
        stream.venue,
        stream.symbol,
        stream.timeframe,
        open_ms,
        stream.timeframe.close_ms(open_ms),
        *(price,) * 4,
        Decimal(index),
        None,
        None,
        None,
        None,
        closed=True,
        complete=True,
        source=Source.REST,
        revision=index % 2,
        received_ms=open_ms + MINUTE_MS,
    )


@pytest.fixture
def store(tmp_path: Path) -> Path:
    path = tmp_path / "candles.sqlite"

    async def fill() -> None:
        async with open_sqlite(path, threaded=False) as store:
            await store.write([candle(stream, i) for stream in (SPOT, USDM, ONLY_SPOT) for i in range(40)], [])

    trio.run(fill)
    return path


def test_the_public_names_are_the_model_s() -> None:
    assert Candle.__struct_fields__ == FIELDS


def test_json(candleactors: Shell, store: Path) -> None:
    outcome = candleactors("history", "ETHUSDT", "1m", "--format", "json")
    assert (outcome.status, outcome.err) == (0, "")
    rows = json.loads(outcome.out)
    assert len(rows) == 40
    assert tuple(rows[1]) == FIELDS
    assert rows[1]["open"] == "0.00001000"
    assert rows[1]["open_time_ms"] == START_MS + MINUTE_MS
    assert rows[1]["quote_volume"] is None
    assert rows[1]["closed"] is True
    assert rows[1]["revision"] == 1


def test_csv(candleactors: Shell, store: Path) -> None:
    outcome = candleactors("history", "ETHUSDT", "1m", "--format", "csv", "--limit", "2")
    rows = list(csv.reader(io.StringIO(outcome.out)))
    assert tuple(rows[0]) == FIELDS
    assert len(rows) == 3
    last = dict(zip(FIELDS, rows[2], strict=True))
    assert last["open_time_ms"] == str(START_MS + 39 * MINUTE_MS)
    assert (last["low"], last["trades"], last["closed"], last["source"]) == ("0.00001000", "", "true", "rest")


def test_the_table_shows_the_newest(candleactors: Shell, store: Path) -> None:
    lines = candleactors("history", "ETHUSDT", "1m").out.splitlines()
    rows = [line for line in map(str.strip, lines) if line.startswith("2026-")]
    assert len(rows) == 30
    assert rows[-1].startswith("2026-01-01 00:39:00")
    assert "0.00001000" in rows[-1]
    assert rows[-1].rstrip().endswith("revision 1")


def test_ranges(candleactors: Shell, store: Path) -> None:
    def opens(*options: str) -> list[int]:
        out = candleactors("history", "ETHUSDT", "1m", "--format", "json", *options).out
        return [(row["open_time_ms"] - START_MS) // MINUTE_MS for row in json.loads(out)]

    assert opens("--start", "2026-01-01T00:10", "--end", "2026-01-01T00:12:00Z") == [10, 11, 12]
    assert opens("--start", "2026-01-01T01:10+01:00", "--limit", "2") == [10, 11]
    assert opens("--end", str(START_MS + 5 * MINUTE_MS), "--limit", "2") == [4, 5]


def test_the_store_of_a_configuration(candleactors: Shell, store: Path, tmp_path: Path) -> None:
    config = tmp_path / "feed.toml"
    config.write_text('[store]\npath = "moved.sqlite"')
    store.rename("moved.sqlite")
    assert candleactors("history", "ETHUSDT", "1m", "--config", config).status == 0
    assert candleactors("history", "ETHUSDT", "1m", "--store", "moved.sqlite").status == 0
    config.rename("candles.toml")
    assert candleactors("history", "ETHUSDT", "1m").status == 0


def test_several_venues(candleactors: Shell, store: Path) -> None:
    outcome = candleactors("history", "BTCUSDT", "1m")
    assert outcome.status == 2
    assert "several venues have BTCUSDT 1m; add --venue, one of binance-spot, binance-usdm" in outcome.err
    rows = json.loads(candleactors("history", "BTCUSDT", "1m", "--venue", "binance-usdm", "--format", "json").out)
    assert {row["venue"] for row in rows} == {"binance-usdm"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["ETHUSD", "1m"], 'candles.sqlite has no ETHUSD 1m; the nearest stored is "ETHUSDT 1m --venue binance-spot"'),
        (
            ["ethusdt", "1m"],
            'candles.sqlite has no ethusdt 1m; the nearest stored is "ETHUSDT 1m --venue binance-spot"',
        ),
        (
            ["ETHUSDT", "5m", "--venue", "binance-spot"],
            'no ETHUSDT 5m of binance-spot; the nearest stored is "ETHUSDT 1m --venue binance-spot"',
        ),
        (
            ["ETHUSDT", "1m", "--start", "2027-01-01"],
            "no candle of binance-spot:ETHUSDT:1m opens in that time; stored are 2026-01-01 00:00:00 to"
            " 2026-01-01 00:39:00",
        ),
        (["ETHUSDT", "1m", "--store", "absent"], "absent: cannot be opened"),
    ],
)
def test_nothing_to_print_is_a_helpful_line_and_status_1(
    candleactors: Shell, store: Path, arguments: list[str], message: str
) -> None:
    outcome = candleactors("history", *arguments)
    assert (outcome.status, outcome.out) == (1, "")
    assert outcome.err.count("\n") == 1
    assert message in outcome.err


def test_an_empty_store(candleactors: Shell, tmp_path: Path) -> None:
    async def make() -> None:
        async with open_sqlite(tmp_path / "candles.sqlite", threaded=False):
            pass

    trio.run(make)
    outcome = candleactors("history", "ETHUSDT", "1m")
    assert (outcome.status, outcome.err) == (1, "candleactors: candles.sqlite has no ETHUSDT 1m; the store is empty\n")


def test_a_reader_that_stops_early_is_no_error(store: Path) -> None:
    arguments = [sys.executable, "-c", "from candleactors.cli import main; main()", "history", "ETHUSDT", "1m"]
    command = subprocess.Popen(
        [*arguments, "--store", str(store), "--format", "json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert command.stdout is not None
    assert command.stderr is not None
    command.stdout.close()
    assert command.stderr.read() == ""
    command.stderr.close()
    assert command.wait() == 1
