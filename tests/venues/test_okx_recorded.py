"""What OKX really sent: recorded messages are understood, and no digit is lost."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
from collections import Counter
from decimal import Decimal
from typing import Any

import pytest
from okx_payloads import DIALECT, dumps, stream, watching

from candleactors.errors import InvalidSymbol
from candleactors.model import Candle
from candleactors.venues.base import Acked, Instrument
from recorded import lines, recorded

KLINES = "okx/klines_1m_15m_4h_BTC-USDT-SWAP_2026-01"


def test_single_candles_of_several_markets() -> None:
    found = [line for line in lines(recorded("okx/ws_candle_snippets/candle_messages.jsonl")) if line]
    understood = {}
    for line in found:
        message = json.loads(line)
        symbol = message["arg"]["instId"]
        watched = stream(symbol)
        try:
            streams = watching(watched)
        except InvalidSymbol:
            decoded = DIALECT.decode([line.encode()], {}, 7)
            assert (decoded.ignored, decoded.rejected) == (1, [])
            continue
        decoded = DIALECT.decode([line.encode()], streams, 7)
        (wire,) = decoded.open.values()
        candle = wire.to_candle(watched, 7)
        (values,) = message["data"]
        assert [str(candle.open_time_ms), *map(str, (candle.open, candle.high, candle.low, candle.close))] == values[:5]
        understood[symbol] = candle.volume, candle.quote_volume
    assert understood == {
        "BTC-USDT": (Decimal("0.0111536"), Decimal("333.86246417")),
        "BTC-USD-SWAP": (Decimal("6.7561"), None),
        "BTC-USDT-SWAP": (Decimal("40.7"), None),
    }
    assert len(found) == 6


def recording() -> list[dict[str, Any]]:
    """Return the entries of a recorded connection and the answers before it."""
    path = recorded("okx/ws_raw/2026-08-09_OKX.jsonl.zst")
    if shutil.which("zstd") is None:
        pytest.skip("no zstd to unpack the recording with")
    unpacked = subprocess.run(["zstd", "-dc", str(path)], capture_output=True, check=True).stdout
    return [json.loads(line) for line in unpacked.decode("utf-8").splitlines()]


def test_a_connection_about_other_things() -> None:
    counts: Counter[str] = Counter()
    for entry in recording():
        if entry["t"] == "recv":
            decoded = DIALECT.decode([entry["data"].encode()], watching(stream()), 7)
            assert (decoded.rejected, decoded.replies, decoded.open, decoded.closed) == ([], [], {}, [])
            counts["ignored"] += decoded.ignored
            counts["acks"] += '"event":"subscribe"' in entry["data"]
    assert counts["ignored"] == 410
    assert counts["acks"] > 3


def test_its_acknowledgements_if_they_were_about_candles() -> None:
    acked = []
    for entry in recording():
        if entry["t"] == "recv" and '"event":"subscribe"' in entry["data"]:
            said = json.loads(entry["data"])
            said["arg"]["channel"] = "candle1m"
            decoded = DIALECT.decode([dumps(said)], {}, 7)
            acked += decoded.replies
    names = {name for reply in acked if isinstance(reply, Acked) for name in reply.names or ()}
    assert names == {"candle1m:BTC-USDT", "candle1m:UNI-USD-SWAP"}
    assert {reply.request_id for reply in acked} == {None}


def test_recorded_instruments() -> None:
    bodies = {entry["url"]: entry["data"].encode() for entry in recording() if entry["t"] == "http"}
    everything: dict[str, Instrument] = {}
    for kind, page in (("SPOT", None), ("SWAP", "SWAP")):
        (body,) = [body for url, body in bodies.items() if url.endswith(f"instType={kind}")]
        DIALECT.check_answer(200, {}, body)
        found = DIALECT.parse_instruments(body, page).instruments
        assert len(found) == len(json.loads(body)["data"]) > 100
        everything |= {i.symbol: i for i in found}
    assert len({i.unified for i in everything.values()}) == len(everything)
    assert everything["BTC-USDT"].unified == "BTC/USDT"
    assert everything["BTC-USDT-SWAP"].unified == "BTC/USDT:USDT"
    assert everything["BTC-USD-SWAP"].unified == "BTC/USD:BTC"
    for symbol, instrument in everything.items():
        assert instrument.trades
        assert DIALECT.stream_name(stream(symbol)) == f"candle1m:{symbol}"


@pytest.mark.parametrize(
    ("path", "timeframe"), [("1m.csv.gz", "1m"), ("15m.csv", "15m"), ("4h.csv", "4h")], ids=["1m", "15m", "4h"]
)
def test_recorded_history(path: str, timeframe: str) -> None:
    """Rows that others fetched, in answers as the venue gives them."""
    table = list(csv.DictReader(lines(recorded(f"{KLINES}/BTC-USDT-SWAP_{path}"))))
    watched = stream("BTC-USDT-SWAP", timeframe)
    limit = DIALECT.rules.klines_limit
    count = 0
    for first in range(0, len(table), limit):
        part = table[first : first + limit]
        request = DIALECT.klines(watched, int(part[0]["open_time_ms"]), None, limit)
        params = dict(request.params)
        inside = [r for r in table if int(params["before"]) < int(r["open_time_ms"]) < int(params["after"])]
        assert inside == part
        rows = [
            [r["open_time_ms"], r["open"], r["high"], r["low"], r["close"], "0", r["volume"], "0", "1"]
            for r in reversed(part)
        ]
        candles = DIALECT.parse_klines(watched, dumps({"code": "0", "msg": "", "data": rows}), 2_000_000_000_000, 7)
        for candle, r in zip(candles, part, strict=True):
            assert_same_digits(candle, r)
        count += len(candles)
    assert count == len(table) > 90


def assert_same_digits(candle: Candle, values: dict[str, str]) -> None:
    assert candle.closed
    for field, text in values.items():
        assert str(getattr(candle, field)) == text, field
