"""Messages as Binance sends them, written by hand from its documentation and from recordings."""

from __future__ import annotations

import json
from typing import Any

from candleactors.model import Stream, Timeframe
from candleactors.venues import codec
from candleactors.venues.base import Codec, Decoded

VENUES = ("aster", "binance-spot", "binance-usdm")
"""Those that speak this language."""
OPEN_MS = 1_681_153_980_000  # 2023-04-10 19:13
RECEIVED_MS = OPEN_MS + 60_200


def stream(symbol: str = "BTCUSDT", timeframe: str = "1m", venue: str = "binance-spot") -> Stream:
    return Stream(venue, symbol, Timeframe(timeframe))


def event(
    symbol: str = "BTCUSDT",
    timeframe: str = "1m",
    open_ms: int = OPEN_MS,
    *,
    closed: bool = False,
    event_ms: int | None = None,
    **changes: Any,
) -> dict[str, Any]:
    """Return a kline event; `changes` replace members of its ``k``, ``...`` removes them."""
    close_ms = Timeframe(timeframe).close_ms(open_ms)
    kline: dict[str, Any] = {
        "t": open_ms,
        "T": close_ms,
        "s": symbol,
        "i": timeframe,
        "f": 35012468,
        "L": 35012469,
        "o": "0.04110000",
        "c": "0.04140000",
        "h": "0.04150000",
        "l": "0.04100000",
        "v": "243.00000000",
        "n": 2,
        "x": closed,
        "q": "9.98730000",
        "V": "143.00000000",
        "Q": "5.87730000",
        "B": "0",
    }
    kline |= changes
    if event_ms is None:
        event_ms = close_ms + 5 if closed else open_ms + 2_004
    return {"e": "kline", "E": event_ms, "s": symbol, "k": {k: v for k, v in kline.items() if v is not ...}}


def dumps(message: Any) -> bytes:
    return json.dumps(message, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "surrogatepass")


def combined(payload: dict[str, Any], name: str | None = None) -> bytes:
    """Return `payload` in the wrapper of the combined streams; the name defaults to the right one."""
    if name is None:
        name = f"{payload['s'].lower()}@kline_{payload['k']['i']}"
    return dumps({"stream": name, "data": payload})


def kline(*args: Any, **changes: Any) -> bytes:
    return combined(event(*args, **changes))


def watching(*streams: Stream) -> dict[str, Stream]:
    return {codec(s.venue).stream_name(s): s for s in streams}


def decode(*frames: bytes, streams: dict[str, Stream] | None = None, dialect: Codec | None = None) -> Decoded:
    """Decode `frames` as the only subscriber of BTCUSDT 1m, unless told otherwise."""
    dialect = dialect or codec("binance-spot")
    return dialect.session().decode(frames, watching(stream()) if streams is None else streams, RECEIVED_MS)
