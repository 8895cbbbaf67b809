"""Binance's REST answers.

Klines: https://github.com/binance/binance-spot-api-docs/blob/master/rest-api.md#klinecandlestick-data and
https://developers.binance.com/docs/derivatives/usds-margined-futures/market-data/rest-api/Kline-Candlestick-Data
Errors: https://github.com/binance/binance-spot-api-docs/blob/master/errors.md
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NoReturn

import msgspec

from candleactors.errors import InvalidSymbol, MalformedMessage, RateLimited, RequestFailed, VenueError, excerpt
from candleactors.model import Candle, Source, Stream, Ticker
from candleactors.venues.answers import (
    MAX_ERROR_BYTES,
    MAX_LIST_BYTES,
    MAX_ROWS_BYTES,
    checked_ms,
    count,
    decode,
    decode_error,
    retry_after_s,
)
from candleactors.venues.base import Instrument
from candleactors.venues.candles import build_candle, is_open_time
from candleactors.venues.decimals import plain_decimal, signed_decimal
from candleactors.venues.unified import unified, yymmdd

_TOO_MUCH_WEIGHT: Final = -1003
_INVALID_SYMBOL: Final = -1121


class _Row(msgspec.Struct, array_like=True, gc=False):
    """A row of twelve elements, the last without meaning; more are tolerated."""

    open_time_ms: int
    open: str
    high: str
    low: str
    close: str
    volume: str
    end_time_ms: int  # short after an outage: never used
    quote_volume: str
    trades: int
    taker_buy_volume: str
    taker_buy_quote_volume: str


class _Time(msgspec.Struct, rename={"server_time_ms": "serverTime"}):
    server_time_ms: int


class _Symbol(msgspec.Struct, gc=False, rename="camel"):
    symbol: str
    status: str
    base_asset: str
    quote_asset: str
    margin_asset: str | None = None
    contract_type: str = ""
    delivery_date: int | None = None


class _Symbols(msgspec.Struct):
    symbols: list[_Symbol]


class _Ticker(msgspec.Struct, gc=False, rename="camel"):
    symbol: str
    last_price: str
    price_change_percent: str
    volume: str
    quote_volume: str


class _Error(msgspec.Struct):
    code: int
    msg: str


_ROWS: Final = msgspec.json.Decoder(list[_Row])
_TIME: Final = msgspec.json.Decoder(_Time)
_SYMBOLS: Final = msgspec.json.Decoder(_Symbols)
_TICKERS: Final = msgspec.json.Decoder(list[_Ticker])
_ERROR: Final = msgspec.json.Decoder(_Error)


def parse_klines(stream: Stream, body: bytes, venue_now_ms: int, received_ms: int) -> list[Candle]:
    """Return the rows as candles; raises `MalformedMessage` if a single one is not valid or out of order.

    The venue sorts ascending and never repeats a row, so an answer that does not is not to be trusted at all.
    """
    candles: list[Candle] = []
    previous_ms = -1
    for row in decode(_ROWS, body, MAX_ROWS_BYTES):
        open_ms = row.open_time_ms
        if not is_open_time(stream.timeframe, open_ms):
            _refuse_row("open time is not one of the interval", row)
        if open_ms <= previous_ms:
            _refuse_row("rows are not in ascending order", row)
        previous_ms = open_ms
        try:
            candle = build_candle(
                stream,
                open_ms,
                prices=(row.open, row.high, row.low, row.close),
                amounts=(row.volume, row.quote_volume, row.taker_buy_volume, row.taker_buy_quote_volume),
                trades=row.trades,
                closed=stream.timeframe.next_open(open_ms) <= venue_now_ms,
                source=Source.REST,
                received_ms=received_ms,
            )
        except ValueError as error:
            _refuse_row(str(error), row)
        candles.append(candle)
    return candles


def parse_server_time(body: bytes) -> int:
    """Return the venue's clock in ms; raises `MalformedMessage`."""
    return checked_ms(decode(_TIME, body, MAX_ERROR_BYTES).server_time_ms, body)


def parse_instruments(body: bytes) -> tuple[Instrument, ...]:
    """Return every symbol; it trades if its status is ``TRADING``. Raises `MalformedMessage`."""
    symbols = decode(_SYMBOLS, body, MAX_LIST_BYTES).symbols
    try:
        "".join(s.symbol + s.base_asset + s.quote_asset for s in symbols).encode("utf-8")
    except UnicodeEncodeError:
        raise MalformedMessage("a symbol that is not Unicode text", body) from None
    return tuple(Instrument(s.symbol, _unified(s), s.status == "TRADING") for s in symbols)


def parse_tickers(venue: str, body: bytes) -> list[Ticker]:
    """Return the tickers of all symbols, which give the change in percent; raises `MalformedMessage`."""
    try:
        return [
            Ticker(
                venue,
                ticker.symbol,
                plain_decimal(ticker.last_price),
                signed_decimal(ticker.price_change_percent) / 100,
                plain_decimal(ticker.volume),
                plain_decimal(ticker.quote_volume),
            )
            for ticker in decode(_TICKERS, body, MAX_LIST_BYTES)
        ]
    except ValueError as error:
        raise MalformedMessage(excerpt(str(error)), body) from None


def check_answer(status: int, headers: Mapping[str, str], body: bytes) -> None:
    """Raise what an answer other than 2xx means, see `candleactors.venues.base.Codec.check_answer`.

    403 comes from the firewall in front of Binance, without an error code and without a wait. It is about the address
    and its behaviour, not about the request, so it counts as `RateLimited`: asking again at once makes it worse.
    """
    if 200 <= status < 300:
        return
    error = decode_error(_ERROR, body)
    message = excerpt(error.msg if error else "")
    if status in (403, 418, 429) or (error and error.code == _TOO_MUCH_WEIGHT):
        raise RateLimited(status, retry_after_s(headers), message)
    if error is None or not 400 <= status < 500:
        raise RequestFailed(f"answered with {status}{f': {message}' if message else ''}", status=status)
    if error.code == _INVALID_SYMBOL:
        raise InvalidSymbol("the venue does not know this symbol")
    raise VenueError(error.code, message, status=status)


def used_weight(headers: Mapping[str, str]) -> int | None:
    """Return the weight used in the current minute, ``None`` where the header is missing or no count."""
    return count(headers.get("x-mbx-used-weight-1m", ""))


def _unified(symbol: _Symbol) -> str:
    delivery = None
    if symbol.contract_type.endswith(("QUARTER", "MONTH")) and symbol.delivery_date is not None:
        delivery = yymmdd(symbol.delivery_date)
    return unified(symbol.base_asset, symbol.quote_asset, symbol.margin_asset, delivery)


def _refuse_row(problem: str, row: _Row) -> NoReturn:
    raise MalformedMessage(problem, repr(row))
