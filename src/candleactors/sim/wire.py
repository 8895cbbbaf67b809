"""What the venue puts on the wire: kline pushes, notices and REST rows, in the documented shape and key order."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from candleactors.sim.candles import Row
from candleactors.sim.tape import SymbolSpec

_SPOT_DECIMALS = 8


class Decimals:
    """Writes ticks and steps of one symbol as the venue's decimal strings.

    Spot always writes eight decimals, futures as many as tick and step have.
    """

    def __init__(self, spec: SymbolSpec, *, futures: bool) -> None:
        both = spec.tick + spec.step
        self.price = _writer(spec.tick, spec.tick if futures else _SPOT_DECIMALS)
        self.quantity = _writer(spec.step, spec.step if futures else _SPOT_DECIMALS)
        self.quote = _writer(both, both if futures else _SPOT_DECIMALS)


def _writer(held: int, shown: int) -> Callable[[int], str]:
    """Return what writes integers of 0 and more, of which `held` digits are decimals, with `shown` decimals."""
    zeros = "0" * (shown - held)
    point = f".{zeros}" if shown else ""

    def write_whole(value: int) -> str:
        return f"{value}{point}"

    def write(value: int) -> str:
        digits = str(value).zfill(held + 1)
        return f"{digits[:-held]}.{digits[-held:]}{zeros}"

    return write if held else write_whole


def kline(symbol: str, interval: str, row: Row, decimals: Decimals, event_ms: int, *, closed: bool) -> str:
    """Return the raw payload of one kline push."""
    price, quantity, quote, bar = decimals.price, decimals.quantity, decimals.quote, row.bar
    return (
        f'{{"e":"kline","E":{event_ms},"s":"{symbol}","k":{{"t":{row.open_ms},"T":{row.close_ms},"s":"{symbol}",'
        f'"i":"{interval}","f":{bar.first_id},"L":{bar.last_id},"o":"{price(bar.open)}","c":"{price(bar.close)}",'
        f'"h":"{price(bar.high)}","l":"{price(bar.low)}","v":"{quantity(bar.volume)}","n":{bar.trades},'
        f'"x":{"true" if closed else "false"},"q":"{quote(bar.quote_volume)}","V":"{quantity(bar.taker_volume)}",'
        f'"Q":"{quote(bar.taker_quote_volume)}","B":"0"}}}}'
    )


def combined(stream: str, payload: str) -> str:
    """Return `payload` in the wrapper of combined streams."""
    return f'{{"stream":"{stream}","data":{payload}}}'


def server_shutdown(event_ms: int) -> str:
    """Return the raw payload that announces the end of a connection."""
    return f'{{"e":"serverShutdown","E":{event_ms}}}'


def kline_row(row: Row, decimals: Decimals) -> list[int | str]:
    """Return the twelve columns of one REST kline."""
    price, quantity, quote, bar = decimals.price, decimals.quantity, decimals.quote, row.bar
    return [
        row.open_ms,
        price(bar.open),
        price(bar.high),
        price(bar.low),
        price(bar.close),
        quantity(bar.volume),
        row.close_ms,
        quote(bar.quote_volume),
        bar.trades,
        quantity(bar.taker_volume),
        quote(bar.taker_quote_volume),
        "0",
    ]


def dump(value: Any) -> str:
    """Return `value` as compact JSON."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def text_frame(payload: bytes) -> bytes:
    """Return `payload` as one complete, unmasked WebSocket text frame, so that many connections can share it."""
    size = len(payload)
    if size < 126:
        return bytes((0x81, size)) + payload
    if size < 1 << 16:
        return b"\x81\x7e" + size.to_bytes(2, "big") + payload
    return b"\x81\x7f" + size.to_bytes(8, "big") + payload
