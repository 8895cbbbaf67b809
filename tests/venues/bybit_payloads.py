"""Messages and answers as Bybit sends them, written by hand from its documentation and from recordings."""

from __future__ import annotations

import json
from typing import Any

from candleactors.model import Stream, Timeframe
from candleactors.venues import bybit
from candleactors.venues.base import Decoded
from candleactors.venues.bybit import BybitCodec

OPEN_MS = 1_672_324_800_000  # 2022-12-29 14:40
RECEIVED_MS = OPEN_MS + 300_200

SPOT = bybit.spot()
LINEAR = bybit.linear()
MARKETS = (SPOT, LINEAR)
NAME = "kline.5.BTCUSDT"

WIRE = {
    "1m": "1",
    "3m": "3",
    "5m": "5",
    "15m": "15",
    "30m": "30",
    "1h": "60",
    "2h": "120",
    "4h": "240",
    "6h": "360",
    "12h": "720",
    "1d": "D",
    "1w": "W",
    "1M": "M",
}

DOCUMENTED_PUSH = (
    b'{"topic":"kline.5.BTCUSDT","data":[{"start":1672324800000,"end":1672325099999,"interval":"5","open":"16649.5",'
    b'"close":"16677","high":"16677","low":"16608","volume":"2.081","turnover":"34666.4005","confirm":false,'
    b'"timestamp":1672324988882}],"ts":1672324988882,"type":"snapshot"}'
)
SPOT_ACK = (
    b'{"success":true,"ret_msg":"subscribe","conn_id":"2324d924-aa4d-45b0-a858-7b8be29ab52b","req_id":"10001",'
    b'"op":"subscribe"}'
)
LINEAR_ACK = b'{"success":true,"ret_msg":"","conn_id":"cejreaspqfh6c4ovtm20-59dki","req_id":"10001","op":"subscribe"}'
PONGS = (
    b'{"success":true,"ret_msg":"pong","conn_id":"0970e817-426e-429a-a679-ff7f55e0b16a","op":"ping"}',
    b'{"success":true,"ret_msg":"pong","conn_id":"465772b1-7630-4fdc-a492-e003e6f0f260","req_id":"","op":"ping"}',
    b'{"req_id":"test","op":"pong","args":["1675418560633"],"conn_id":"cfcb4ocsvfriu23r3er0-1b"}',
)


def stream(symbol: str = "BTCUSDT", timeframe: str = "5m", dialect: BybitCodec = LINEAR) -> Stream:
    return Stream(dialect.rules.venue, symbol, Timeframe(timeframe))


def watching(*streams: Stream) -> dict[str, Stream]:
    return {LINEAR.stream_name(s): s for s in streams}


def dumps(message: Any) -> bytes:
    return json.dumps(message, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "surrogatepass")


def entry(timeframe: str = "5m", open_ms: int = OPEN_MS, *, closed: bool = False, **changes: Any) -> dict[str, Any]:
    """Return an element of ``data``; `changes` replace members, ``...`` removes them."""
    kline: dict[str, Any] = {
        "start": open_ms,
        "end": Timeframe(timeframe).close_ms(open_ms),
        "interval": WIRE[timeframe],
        "open": "16649.50",
        "close": "16677",
        "high": "16677.5",
        "low": "16608",
        "volume": "2.0810",
        "turnover": "34666.4005",
        "confirm": closed,
        "timestamp": open_ms + 188_882,
    }
    kline |= changes
    return {k: v for k, v in kline.items() if v is not ...}


def message(*entries: dict[str, Any], symbol: str = "BTCUSDT", ts: int | None = None, **changes: Any) -> dict[str, Any]:
    if ts is None:
        ts = max(e["end"] + 5 if e["confirm"] else e["start"] + 2_000 for e in entries)
    topic = f"kline.{entries[0]['interval']}.{symbol}"
    said = {"topic": topic, "data": list(entries), "ts": ts, "type": "snapshot"} | changes
    return {k: v for k, v in said.items() if v is not ...}


def push(
    symbol: str = "BTCUSDT",
    timeframe: str = "5m",
    open_ms: int = OPEN_MS,
    *,
    closed: bool = False,
    ts: int | None = None,
    **changes: Any,
) -> bytes:
    return dumps(message(entry(timeframe, open_ms, closed=closed, **changes), symbol=symbol, ts=ts))


def decode(*frames: bytes, streams: dict[str, Stream] | None = None, dialect: BybitCodec = LINEAR) -> Decoded:
    """Decode `frames` as the only subscriber of BTCUSDT 5m, unless told otherwise."""
    return dialect.session().decode(frames, watching(stream()) if streams is None else streams, RECEIVED_MS)


def reply(text: str, request_id: str | None = "7", op: str = "subscribe", *, success: bool = False) -> bytes:
    said: dict[str, Any] = {"success": success, "ret_msg": text, "conn_id": "2324d924"}
    if request_id is not None:
        said["req_id"] = request_id
    return dumps(said | {"op": op})


def answer(result: Any, time: int = RECEIVED_MS, **changes: Any) -> bytes:
    return dumps({"retCode": 0, "retMsg": "OK", "result": result, "retExtInfo": {}, "time": time} | changes)


def refusal(code: int, text: str, time: int = RECEIVED_MS) -> bytes:
    return dumps({"retCode": code, "retMsg": text, "result": {}, "retExtInfo": {}, "time": time})


def row(open_ms: int = OPEN_MS, *values: str) -> list[str]:
    return [str(open_ms), *(values or ("16649.50", "16677.5", "16608", "16677", "2.0810", "34666.4005"))]


def rows(*said: list[str], symbol: str = "BTCUSDT", category: str = "linear", time: int = 2_000_000_000_000) -> bytes:
    return answer({"symbol": symbol, "category": category, "list": list(said)}, time)
