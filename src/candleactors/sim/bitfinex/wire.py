"""What Bitfinex puts on the wire: rows of JSON numbers, frames of channels, and events.

https://docs.bitfinex.com/reference/ws-public-candles and https://docs.bitfinex.com/docs/ws-general
"""

from __future__ import annotations

from collections.abc import Callable

from attrs import field, frozen

from candleactors.model import Timeframe
from candleactors.sim.candles import Row
from candleactors.sim.tape import SymbolSpec


@frozen
class Numbers:
    """Writes ticks and steps of one symbol."""

    spec: SymbolSpec
    price: Callable[[int], str] = field(init=False)
    quantity: Callable[[int], str] = field(init=False)

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "price", lambda value: number(value, self.spec.tick))
        object.__setattr__(self, "quantity", lambda value: number(value, self.spec.step))


def number(value: int, decimals: int) -> str:
    """Return a value of which so many digits are decimals as the venue's servers write it.

    These are JavaScript's numbers: no zeros at the end, and an exponent below a millionth.
    """
    sign, digits = ("-", str(-value)) if value < 0 else ("", str(value))
    if value == 0:
        return "0"
    digits = digits.zfill(decimals + 1)
    whole, part = (digits[:-decimals], digits[-decimals:].rstrip("0")) if decimals else (digits, "")
    if whole == "0" and part.startswith("000000"):
        rest = part.lstrip("0")
        return f"{sign}{rest[0]}{'.' if rest[1:] else ''}{rest[1:]}e-{len(part) - len(rest) + 1}"
    return f"{sign}{whole}{'.' if part else ''}{part}"


def wire_timeframe(timeframe: Timeframe) -> str:
    """Return what the venue calls `timeframe`: days and weeks in capitals."""
    return timeframe.text.upper() if timeframe.unit in "dw" else timeframe.text


def candle(row: Row, numbers: Numbers) -> str:
    """Return one candle: open time, open, close, high, low, volume."""
    price, bar = numbers.price, row.bar
    return (
        f"[{row.open_ms},{price(bar.open)},{price(bar.close)},{price(bar.high)},{price(bar.low)},"
        f"{numbers.quantity(bar.volume)}]"
    )


def channel_frame(channel: int, content: str, stamp_ms: int | None) -> str:
    """Return a frame of a channel; with `stamp_ms`, the server's clock at its end."""
    return f"[{channel},{content}]" if stamp_ms is None else f"[{channel},{content},{stamp_ms}]"
