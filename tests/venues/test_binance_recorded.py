"""What Binance really sent: every recorded message and row is understood, and no digit is lost."""

from __future__ import annotations

import gzip
import json
import re
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
from binance_payloads import watching

from candleactors.model import Candle, Source, Stream, Timeframe
from candleactors.venues import codec
from recorded import lines, recorded, recordings

AT_SOME_LATER_TIME_MS = 2_000_000_000_000
_LINE = re.compile(r"(\d+\.\d+): (\{.*\})")  # receive time and message; lines about REST start with a URL
_TOLD_COUNT = re.compile(r"rows/messages: (\d+)")

RECORDINGS = [
    # path, kline messages, of them closed
    ("binance-spot", "binance_spot/ws_raw/2021-04-04_BINANCE-ee25be.0.gz", 118, 3),
    ("binance-spot", "binance_spot/ws_raw/2021-04-17_BINANCE.ws.1.0.gz", 20, 0),
    ("binance-spot", "binance_spot/ws_raw/2023-04-30_BINANCE_TR.ws.1.0", 8, 4),
    ("binance-usdm", "binance_usdm/ws_raw/2021-11-03_BINANCE_FUTURES.ws.1.0.gz", 67, 4),
]


def messages(path: Path) -> list[tuple[int, bytes]]:
    found = filter(None, map(_LINE.fullmatch, lines(path)))
    return [(int(float(match[1]) * 1000), match[2].encode()) for match in found]


def assert_same_digits(candle: Candle, values: dict[str, Any]) -> None:
    """Compare as text: ``1.10`` is not ``1.1`` here."""
    for field, text in values.items():
        value = getattr(candle, field)
        assert (f"{value:f}" if isinstance(value, Decimal) else str(value)) == str(text), field


def kline_values(kline: dict[str, Any]) -> dict[str, Any]:
    return {
        "symbol": kline["s"],
        "timeframe": kline["i"],
        "open_time_ms": kline["t"],
        "close_time_ms": kline["T"],
        "open": kline["o"],
        "high": kline["h"],
        "low": kline["l"],
        "close": kline["c"],
        "volume": kline["v"],
        "quote_volume": kline["q"],
        "trades": kline["n"],
        "taker_buy_volume": kline["V"],
        "taker_buy_quote_volume": kline["Q"],
        "closed": kline["x"],
    }


@pytest.mark.parametrize(("venue", "path", "klines", "closed"), RECORDINGS, ids=[r[1] for r in RECORDINGS])
def test_every_message_of_a_connection(venue: str, path: str, klines: int, closed: int) -> None:
    recording = messages(recorded(path))
    sent = [json.loads(raw)["data"] for _, raw in recording]
    events = [event for event in sent if event.get("e") == "kline"]
    streams = watching(*(Stream(venue, event["s"], Timeframe(event["k"]["i"])) for event in events))
    dialect = codec(venue)
    counts: Counter[str] = Counter()
    for (received_ms, raw), event in zip(recording, sent, strict=True):
        decoded = dialect.session().decode([raw], streams, received_ms)
        assert decoded.rejected == []
        counts["ignored"] += decoded.ignored
        candles = [candle for _, candle in decoded.closed]
        candles += [wire.to_candle(streams[name], received_ms) for name, wire in decoded.open.items()]
        for candle in candles:
            assert_same_digits(candle, kline_values(event["k"]))
            assert candle.problem() is None
            assert candle.received_ms == received_ms
            counts["closed" if candle.closed else "forming"] += 1
    assert counts == Counter(closed=closed, forming=klines - closed, ignored=len(recording) - klines)

    batch = dialect.session().decode([raw for _, raw in recording], streams, 0)
    assert (batch.messages, batch.ignored, len(batch.closed)) == (len(recording), counts["ignored"], closed)
    newest = {dialect.stream_name(Stream(venue, e["s"], Timeframe(e["k"]["i"]))): e for e in events if not e["k"]["x"]}
    assert {name: wire.event_time_ms for name, wire in batch.open.items()} == {n: e["E"] for n, e in newest.items()}


def test_single_messages_of_several_markets() -> None:
    found = [line for line in lines(recorded("binance_spot/ws_candle_snippets/candle_messages.jsonl")) if line]
    assert len(found) == 5
    for line in found:
        message = json.loads(line)
        kline = message["data"]["k"]
        watched = Stream("binance-usdm", kline["s"], Timeframe(kline["i"]))
        decoded = codec("binance-usdm").session().decode([line.encode()], watching(watched), 7)
        assert list(decoded.open) == [message["stream"]]
        assert_same_digits(decoded.open[message["stream"]].to_candle(watched, 7), kline_values(kline))


def answers(folder: str) -> Iterator[tuple[str, str, str, list[Any]]]:
    """Yield venue, symbol, timeframe and rows of every recorded answer about klines."""
    for path in recordings(f"{folder}/rest_recorded/*_klines_*.json"):
        answer = json.loads(path.read_bytes())
        query = parse_qs(answer["query"])
        venue = "binance-usdm" if answer["path"].startswith("/fapi/") else "binance-spot"
        yield venue, query["symbol"][0], query["interval"][0], answer["data"]


def row_values(row: list[Any]) -> dict[str, Any]:
    fields = "open_time_ms open high low close volume end quote_volume trades taker_buy_volume taker_buy_quote_volume"
    values = dict(zip(fields.split(), row, strict=False))
    del values["end"]
    return values


@pytest.mark.parametrize("folder", ["binance_spot", "binance_usdm"])
def test_every_row_of_recorded_answers(folder: str) -> None:
    told = recorded(f"{folder}/rest_recorded/SOURCE.txt").read_text("utf-8")
    rows = sum(int(n) for n in re.findall(r"^\S+_klines_\S+\n.*\n +rows/messages: (\d+)", told, re.MULTILINE))
    count = 0
    for venue, symbol, timeframe, answer in answers(folder):
        watched = Stream(venue, symbol, Timeframe(timeframe))
        body = json.dumps(answer).encode()
        candles = codec(venue).parse_klines(watched, body, AT_SOME_LATER_TIME_MS, 7)
        for candle, row in zip(candles, answer, strict=True):
            assert_same_digits(candle, row_values(row))
            assert (candle.source, candle.closed, candle.stream) == (Source.REST, True, watched)
            count += 1
    assert count == rows > 1000


@pytest.mark.parametrize("folder", ["klines_rest_json_2025", "klines_rest_json_outages"])
def test_every_row_of_recorded_history(folder: str) -> None:
    count = told = irregular = 0
    for source in recordings(f"binance_spot/{folder}/*/*/SOURCE.txt"):
        told += sum(int(n) for n in _TOLD_COUNT.findall(source.read_text("utf-8")))
        symbol, timeframe = source.parts[-3:-1]
        watched = Stream("binance-spot", symbol, Timeframe(timeframe))
        for path in sorted(source.parent.glob("*.json*")):
            body = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
            rows = json.loads(body)
            candles = codec("binance-spot").parse_klines(watched, body, AT_SOME_LATER_TIME_MS, 7)
            for candle, row in zip(candles, rows, strict=True):
                assert_same_digits(candle, row_values(row))
                irregular += candle.close_time_ms != row[6]
            count += len(candles)
    assert count == told > 0
    assert bool(irregular) is (folder == "klines_rest_json_outages")


def test_a_row_in_the_middle_of_a_recorded_answer_is_still_running_for_an_earlier_clock() -> None:
    _, symbol, timeframe, answer = next(answers("binance_spot"))
    watched = Stream("binance-spot", symbol, Timeframe(timeframe))
    middle = len(answer) // 2
    now_ms = answer[middle][0] + 1
    candles = codec("binance-spot").parse_klines(watched, json.dumps(answer).encode(), now_ms, 7)
    assert [candle.closed for candle in candles] == [True] * middle + [False] * (len(answer) - middle)


def test_the_recorded_clock() -> None:
    answer = json.loads(recorded("binance_usdm/rest_recorded/fapi_v1_time_00.json").read_bytes())
    time_ms = codec("binance-usdm").parse_server_time({}, json.dumps(answer["data"]).encode())
    assert Decimal(time_ms) == 1620099477465
