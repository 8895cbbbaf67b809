"""What Binance puts on the wire: kline pushes, notices and REST rows, in the documented shape and key order."""

from __future__ import annotations

from candleactors.sim.candles import Row
from candleactors.sim.tape import SymbolSpec
from candleactors.sim.wire import decimal_writer

_SPOT_DECIMALS = 8


class Decimals:
    """Writes ticks and steps of one symbol as the venue's decimal strings.

    Spot always writes eight decimals, futures as many as tick and step have.
    """

    def __init__(self, spec: SymbolSpec, *, futures: bool) -> None:
        both = spec.tick + spec.step
        self.price = decimal_writer(spec.tick, spec.tick if futures else _SPOT_DECIMALS)
        self.quantity = decimal_writer(spec.step, spec.step if futures else _SPOT_DECIMALS)
        self.quote = decimal_writer(both, both if futures else _SPOT_DECIMALS)


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
