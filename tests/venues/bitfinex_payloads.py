"""Messages as Bitfinex sends them, written by hand from its documentation and from recordings."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from candleactors.model import Stream, Timeframe
from candleactors.venues.base import Decoded, Session
from candleactors.venues.bitfinex import bitfinex
from candleactors.venues.bitfinex_candle import Row, Update

CODEC = bitfinex()
CHANNEL = 343351
OPEN_MS = 1_574_698_200_000  # 2019-11-25 16:10
MINUTE_MS = 60_000
SENT_MS = OPEN_MS + 50_000
"""The server's clock in frames, unless told otherwise."""
RECEIVED_MS = OPEN_MS + 50_200
VALUES = "7399.9,7379.7,7399.9,7371.8,41.63633658"
"""Open, close, high, low, volume."""


def stream(symbol: str = "tBTCUSD", timeframe: str = "1m") -> Stream:
    return Stream("bitfinex", symbol, Timeframe(timeframe))


NAME = "trade:1m:tBTCUSD"
WATCHED = {NAME: stream()}


def dumps(message: Any) -> bytes:
    return json.dumps(message, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "surrogatepass")


def row(open_ms: int = OPEN_MS, values: str = VALUES) -> str:
    return f"[{open_ms},{values}]"


def frame(content: str, sent_ms: int | None = SENT_MS, channel: int = CHANNEL) -> bytes:
    """Return the frame of a channel; without `sent_ms`, as servers send it that were not asked for their clock."""
    return f"[{channel},{content}{'' if sent_ms is None else f',{sent_ms}'}]".encode()


def snapshot(*rows: str, sent_ms: int | None = SENT_MS, channel: int = CHANNEL) -> bytes:
    return frame(f"[{','.join(rows)}]", sent_ms, channel)


def heartbeat(sent_ms: int | None, channel: int = CHANNEL) -> bytes:
    return frame('"hb"', sent_ms, channel)


def silence(from_ms: int, until_ms: int, channel: int = CHANNEL) -> list[bytes]:
    """Return the heartbeats of a channel on which nothing else happens, the last one at `until_ms`."""
    return [heartbeat(at_ms, channel) for at_ms in (*range(from_ms + 15_000, until_ms, 15_000), until_ms)]


def subscribed(name: str = NAME, channel: int = CHANNEL, **more: Any) -> bytes:
    return dumps({"event": "subscribed", "channel": "candles", "chanId": channel, "key": name} | more)


def session(*names: str) -> Session:
    """Return a session whose channels are `names`, by default the usual one, numbered from `CHANNEL` on."""
    made = CODEC.session()
    for number, name in enumerate(names or (NAME,)):
        made.subscribe(number + 1, [name])
        made.decode([subscribed(name, CHANNEL + number, subId=str(number + 1))], WATCHED, RECEIVED_MS)
    return made


def decode(*frames: bytes, on: Session | None = None, streams: dict[str, Stream] | None = None) -> Decoded:
    """Decode `frames` as the only subscriber of tBTCUSD 1m, unless told otherwise."""
    return (on or session()).decode(frames, WATCHED if streams is None else streams, RECEIVED_MS)


def update(open_ms: int, close: str, sent_ms: int, *, high: str = "", low: str = "", volume: str = "1") -> Update:
    """Return the row that opens and closes at one price."""
    texts = (close, close, high or close, low or close, volume)
    return Update(CHANNEL, Row(open_ms, *(msgspec.Raw(text.encode()) for text in texts)), sent_ms)
