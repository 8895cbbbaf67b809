"""Messages as OKX sends them, written by hand from its documentation and from captures that others published."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from candleactors.model import Stream, Timeframe
from candleactors.venues.base import Decoded
from candleactors.venues.okx import OkxCodec, okx

OPEN_MS = 1_789_470_120_000  # 2026-09-15 10:22
RECEIVED_MS = OPEN_MS + 60_200

DIALECT: OkxCodec = okx()


def stream(symbol: str = "BTC-USDT", timeframe: str = "1m") -> Stream:
    return Stream("okx", symbol, Timeframe(timeframe))


def row(open_ms: int = OPEN_MS, *, closed: bool = False, **changes: Any) -> list[str]:
    """Return a row of the spot market; `changes` replace its elements by name."""
    values = {
        "ts": str(open_ms),
        "o": "77082.7",
        "h": "77116.6",
        "l": "77082.6",
        "c": "77116.5",
        "vol": "1.57843610",
        "volCcy": "121697.290334104",
        "volCcyQuote": "121697.290334105",
        "confirm": "1" if closed else "0",
    }
    return list((values | changes).values())


def dumps(message: Any) -> bytes:
    return json.dumps(message, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "surrogatepass")


def push(*rows: Sequence[str], symbol: str = "BTC-USDT", channel: str = "candle1m") -> bytes:
    return dumps({"arg": {"channel": channel, "instId": symbol}, "data": rows})


def answer(*data: Any, code: str = "0", msg: str = "") -> bytes:
    return dumps({"code": code, "msg": msg, "data": data})


def watching(*streams: Stream) -> dict[str, Stream]:
    return {DIALECT.stream_name(s): s for s in streams}


def decode(*frames: bytes, streams: dict[str, Stream] | None = None) -> Decoded:
    """Decode `frames` as the only subscriber of BTC-USDT 1m, unless told otherwise."""
    return DIALECT.decode(frames, watching(stream()) if streams is None else streams, RECEIVED_MS)
