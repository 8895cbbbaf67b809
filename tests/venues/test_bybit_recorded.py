"""What Bybit really sent: every recorded message and row is understood, and no digit is lost."""

from __future__ import annotations

import csv
import io
import json
import shutil
import subprocess
from collections import Counter
from datetime import UTC, datetime
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from bybit_payloads import LINEAR, SPOT, dumps, rows, watching

from candleactors.errors import MalformedMessage
from candleactors.model import Candle, Source, Stream, Timeframe
from candleactors.venues.base import Acked
from candleactors.venues.bybit import BybitCodec
from recorded import recorded, recordings

RECORDING = "bybit/ws_raw/2026-08-09_BYBIT.jsonl.zst"
LATER_MS = 2_000_000_000_000
TIMEFRAMES = {"1d": "1d", "1h": "1h", "30m": "30m", "5m": "5m"}


def unpacked(path: Path) -> str:
    tool = shutil.which("zstd")
    if tool is None:
        pytest.skip("no zstd to unpack a recording with")
    return subprocess.run([tool, "-dcq", str(path)], check=True, capture_output=True).stdout.decode("utf-8")


@pytest.fixture(scope="module")
def records() -> list[dict[str, Any]]:
    return [json.loads(line) for line in unpacked(recorded(RECORDING)).splitlines()]


def market(record: dict[str, Any], records: list[dict[str, Any]]) -> BybitCodec:
    (address,) = {r["addr"] for r in records if r["t"] == "connect" and r["conn"] == record["conn"]}
    return SPOT if address.endswith("/spot") else LINEAR


def text(value: Decimal | None) -> str:
    assert value is not None
    return f"{value:f}"


def assert_says(candle: Candle, kline: dict[str, Any]) -> None:
    """Compare as text: ``1.10`` is not ``1.1`` here."""
    assert candle.open_time_ms == kline["start"]
    assert candle.close_time_ms == kline["end"]
    assert candle.closed is kline["confirm"]
    for field in ("open", "high", "low", "close", "volume"):
        assert text(getattr(candle, field)) == kline[field], field
    assert text(candle.quote_volume) == kline["turnover"]
    assert candle.source is Source.WS


def test_every_message(records: list[dict[str, Any]]) -> None:
    counts: Counter[tuple[str, str]] = Counter()
    for record in records:
        if record["t"] != "recv":
            continue
        dialect = market(record, records)
        minute = Timeframe("1m")
        streams = watching(
            *(Stream(dialect.rules.venue, s, minute) for s in ("BTCUSDT", "ETHUSDT", "SOLUSDT", "DOGEUSDT"))
        )
        said = json.loads(record["data"])
        received_ms = int(record["ts"] * 1000)
        decoded = dialect.session().decode([record["data"].encode()], streams, received_ms)
        assert decoded.rejected == []
        topic = said.get("topic", "")
        if not topic.startswith("kline."):
            assert (decoded.open, decoded.closed) == ({}, [])
            if topic:
                assert decoded.ignored == 1
            else:
                assert decoded.replies == [Acked(None)]  # this client gave its requests no number
            counts[dialect.rules.venue, "other" if topic else "reply"] += 1
            continue
        candles = [candle for _, candle in decoded.closed]
        candles += [wire.to_candle(streams[name], received_ms) for name, wire in decoded.open.items()]
        assert len(candles) == len(said["data"])
        for candle, kline in zip(candles, said["data"], strict=True):
            assert_says(candle, kline)
            counts[dialect.rules.venue, "closed" if candle.closed else "forming"] += 1
        assert all(wire.event_time_ms == said["ts"] for wire in decoded.open.values())
    assert counts["bybit-linear", "closed"] == 4
    assert counts["bybit-linear", "forming"] == 71
    assert counts["bybit-spot", "closed"] == 2
    assert counts["bybit-spot", "forming"] == 23
    assert counts["bybit-linear", "reply"] == 17
    assert counts["bybit-spot", "reply"] == 7
    assert min(counts["bybit-linear", "other"], counts["bybit-spot", "other"]) > 100


def test_one_connection_in_one_batch(records: list[dict[str, Any]]) -> None:
    frames = [
        r["data"].encode()
        for r in records
        if r["t"] == "recv" and market(r, records) is LINEAR and "kline" in r["data"]
    ]
    streams = watching(Stream("bybit-linear", "BTCUSDT", Timeframe("1m")))
    decoded = LINEAR.session().decode(frames, streams, 7)
    (closed,) = decoded.closed
    (forming,) = decoded.open.values()
    assert forming.open_time_ms == closed[1].open_time_ms + 60_000
    assert decoded.ignored == sum(b"BTCUSDT" not in frame for frame in frames)
    assert decoded.messages == len(frames)


@pytest.mark.parametrize("dialect", [SPOT, LINEAR])
def test_instruments(records: list[dict[str, Any]], dialect: BybitCodec) -> None:
    category = dialect.rules.venue.removeprefix("bybit-")
    (body,) = [r["data"].encode() for r in records if r["t"] == "http" and f"category={category}&" in r["url"]]
    dialect.check_answer(200, {}, body)
    page = dialect.parse_instruments(body)
    said = json.loads(body)["result"]["list"]
    assert page.next is None
    assert [i.symbol for i in page.instruments] == [s["symbol"] for s in said]
    assert all(i.trades for i in page.instruments)
    unified = {i.unified: i.symbol for i in page.instruments}
    assert len(unified) == len(said)
    if dialect is SPOT:
        assert unified["BTC/USDT"] == "BTCUSDT"
    else:
        assert unified["BTC/USDT:USDT"] == "BTCUSDT"
        assert unified["BTC/USDC:USDC"] == "BTCPERP"
        assert unified["BTC/USDT:USDT-261225"] == "BTCUSDT-25DEC26"
    for instrument in page.instruments:
        dialect.stream_name(Stream(dialect.rules.venue, instrument.symbol, Timeframe("1m")))
    with pytest.raises(MalformedMessage):
        (LINEAR if dialect is SPOT else SPOT).parse_instruments(body)


def test_rows_with_turnover() -> None:
    """Rows kept as CSV, put back into an answer: the last one of each file had not ended."""
    files = recordings("bybit/klines_with_turnover/*.csv")
    for path in files:
        symbol, name = path.stem.split("_")
        kept = list(csv.reader(io.StringIO(path.read_text("utf-8"))))[1:]
        said = []
        for at, *values in kept:
            moment = datetime.fromisoformat(at).replace(tzinfo=UTC)
            said.append([str(int(moment.timestamp()) * 1000), *values])
        said.reverse()
        watched = Stream("bybit-linear", symbol, Timeframe(TIMEFRAMES[name]))
        now_ms = int(said[0][0]) + 1
        candles = LINEAR.parse_klines(watched, rows(*said, symbol=symbol), now_ms, 7)
        assert [c.closed for c in candles] == [True] * (len(said) - 1) + [False]
        for candle, row in zip(candles, reversed(said), strict=True):
            told = [candle.open, candle.high, candle.low, candle.close, candle.volume, candle.quote_volume]
            assert [str(candle.open_time_ms), *map(text, told)] == row
        apart = {b.open_time_ms - a.close_time_ms for a, b in pairwise(candles)}
        assert apart == {1}
    assert len(files) == 8


def test_documented_errors() -> None:
    for path in recordings("bybit/doc_examples_private/ws_subscription_*.json"):
        decoded = LINEAR.session().decode([path.read_bytes()], {}, 7)
        assert decoded.rejected == []
        assert bool(decoded.replies) is (path.stem == "ws_subscription_failure")
        assert dumps(json.loads(path.read_bytes()))
