"""Kline messages as Binance sends them on a combined stream, encoded ahead of time."""

from __future__ import annotations

from itertools import islice, product
from string import ascii_lowercase
from struct import pack

START_MS = 1_735_689_600_000
ROUNDS_PER_MINUTE = 60
"""A stream sends one message a second; the last of each minute says that the candle is closed."""

_MESSAGE = (
    '{"stream":"%s@kline_1m","data":{"e":"kline","E":%d,"s":"%s","k":{"t":%d,"T":%d,"s":"%s","i":"1m","f":%d,"L":%d,'
    '"o":"96012.34000000","c":"96%03d.56000000","h":"96999.99000000","l":"95888.01000000","v":"%d.61452000","n":%d,'
    '"x":%s,"q":"%d.24718350","V":"%d.30226000","Q":"%d.12359175","B":"0"}}}'
)


def symbols(count: int) -> list[str]:
    """Return `count` made-up symbols in lower case, `aaausdt` first."""
    return [f"{''.join(letters)}usdt" for letters in islice(product(ascii_lowercase, repeat=3), count)]


def stream_names(count: int) -> list[str]:
    """Return the wire names of `count` one-minute streams."""
    return [f"{symbol}@kline_1m" for symbol in symbols(count)]


def message(stream: str, turn: int) -> bytes:
    """Return the message that `stream` sends in its `turn`-th second, about 360 bytes."""
    symbol = stream.partition("@")[0]
    minute, second = divmod(turn, ROUNDS_PER_MINUTE)
    open_ms = START_MS + minute * 60_000
    last = second == ROUNDS_PER_MINUTE - 1
    trades = 17 * (second + 1)
    name = symbol.upper()
    return (
        _MESSAGE
        % (
            symbol,
            open_ms + 60_017 if last else open_ms + second * 1000 + 917,
            name,
            open_ms,
            open_ms + 59_999,
            name,
            1_000_000 + minute * 1020,
            1_000_000 + minute * 1020 + trades,
            (turn * 7) % 1000,
            10 + second,
            trades,
            "true" if last else "false",
            960_000 + second * 96_000,
            5 + second,
            480_000 + second * 48_000,
        )
    ).encode()


def frame(payload: bytes) -> bytes:
    """Return the unmasked text frame of `payload`."""
    if len(payload) < 126:
        return bytes([0x81, len(payload)]) + payload
    return b"\x81\x7e" + pack(">H", len(payload)) + payload
