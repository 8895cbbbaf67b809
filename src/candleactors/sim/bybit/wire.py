"""What Bybit puts on the wire: pushes of klines, replies, and rows of REST, in the order of keys that was seen."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from candleactors.model import Timeframe
from candleactors.sim.candles import Row
from candleactors.sim.tape import SymbolSpec
from candleactors.sim.wire import decimal_writer, dump

_HOUR_MINUTES = 60


class Decimals:
    """Writes ticks and steps of one symbol as the venue's decimal strings, which do not end in zeros."""

    def __init__(self, spec: SymbolSpec) -> None:
        self.price = _short_writer(spec.tick)
        self.quantity = _short_writer(spec.step)
        self.quote = _short_writer(spec.tick + spec.step)


def interval(timeframe: Timeframe) -> str:
    """Return what the venue calls `timeframe`: minutes as a number, or a letter."""
    if timeframe.unit in "mh":
        return str(timeframe.count * (_HOUR_MINUTES if timeframe.unit == "h" else 1))
    return timeframe.unit.upper()


def kline(name: str, row: Row, next_ms: int, decimals: Decimals, event_ms: int, *, closed: bool) -> str:
    """Return one candle as it stands in a push; `name` is the interval, `next_ms` the next one's open time."""
    price, bar = decimals.price, row.bar
    return (
        f'{{"start":{row.open_ms},"end":{next_ms - 1},"interval":"{name}","open":"{price(bar.open)}",'
        f'"close":"{price(bar.close)}","high":"{price(bar.high)}","low":"{price(bar.low)}",'
        f'"volume":"{decimals.quantity(bar.volume)}","turnover":"{decimals.quote(bar.quote_volume)}",'
        f'"confirm":{"true" if closed else "false"},"timestamp":{event_ms}}}'
    )


def push(topic: str, klines: list[str], event_ms: int, *, linear: bool) -> str:
    """Return the push of `klines`, whose keys each market orders in its own way."""
    data = ",".join(klines)
    if linear:
        return f'{{"topic":"{topic}","data":[{data}],"ts":{event_ms},"type":"snapshot"}}'
    return f'{{"type":"snapshot","topic":"{topic}","data":[{data}],"ts":{event_ms}}}'


def reply(
    op: str, text: str, conn_id: str, request_id: str | None, *, success: bool, always_numbered: bool = False
) -> str:
    """Return the reply to one request. Without a `request_id`, linear connections say an empty one: always numbered."""
    said: dict[str, Any] = {"success": success, "ret_msg": text, "conn_id": conn_id}
    if request_id is not None or always_numbered:
        said["req_id"] = request_id or ""
    return dump(said | {"op": op})


def kline_row(row: Row, decimals: Decimals) -> list[str]:
    """Return the seven columns of one REST kline."""
    price, bar = decimals.price, row.bar
    return [
        str(row.open_ms),
        price(bar.open),
        price(bar.high),
        price(bar.low),
        price(bar.close),
        decimals.quantity(bar.volume),
        decimals.quote(bar.quote_volume),
    ]


def _short_writer(held: int) -> Callable[[int], str]:
    write = decimal_writer(held, held)
    if not held:
        return write
    return lambda value: write(value).rstrip("0").rstrip(".")
