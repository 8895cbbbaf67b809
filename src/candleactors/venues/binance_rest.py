"""Binance's REST answers.

Klines: https://github.com/binance/binance-spot-api-docs/blob/master/rest-api.md#klinecandlestick-data and
https://developers.binance.com/docs/derivatives/usds-margined-futures/market-data/rest-api/Kline-Candlestick-Data
Errors: https://github.com/binance/binance-spot-api-docs/blob/master/errors.md
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, NoReturn, TypeVar

import msgspec

from candleactors.errors import InvalidSymbol, MalformedMessage, RateLimited, RequestFailed, VenueError, excerpt
from candleactors.model import Candle, Source, Stream
from candleactors.venues.binance_kline import EARLIEST_MS, LATEST_MS, build_candle, grid_ms

MAX_KLINES_BYTES: Final = 4 << 20  # 1,500 rows take about 0.3 MiB
MAX_SYMBOLS_BYTES: Final = 64 << 20  # the spot list took about 12 MiB in 2026
_MAX_ERROR_BYTES: Final = 64 << 10
_MAX_RETRY_AFTER_S: Final = 3 * 24 * 3600  # the longest ban Binance documents

_TOO_MUCH_WEIGHT: Final = -1003
_INVALID_SYMBOL: Final = -1121

_COUNT: Final = re.compile(r"[0-9]{1,9}", re.ASCII)


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


class _Symbol(msgspec.Struct, gc=False):
    symbol: str
    status: str


class _Symbols(msgspec.Struct):
    symbols: list[_Symbol]


class _Error(msgspec.Struct):
    code: int
    msg: str


_T = TypeVar("_T")
_ROWS: Final = msgspec.json.Decoder(list[_Row])
_TIME: Final = msgspec.json.Decoder(_Time)
_SYMBOLS: Final = msgspec.json.Decoder(_Symbols)
_ERROR: Final = msgspec.json.Decoder(_Error)


def parse_klines(stream: Stream, body: bytes, venue_now_ms: int, received_ms: int) -> list[Candle]:
    """Return the rows as candles; raises `MalformedMessage` if a single one is not valid or out of order.

    The venue sorts ascending and never repeats a row, so an answer that does not is not to be trusted at all.
    """
    candles: list[Candle] = []
    step_ms = grid_ms(stream.timeframe)
    previous_ms = -1
    for row in _decode(_ROWS, body, MAX_KLINES_BYTES):
        open_ms = row.open_time_ms
        if not EARLIEST_MS <= open_ms <= LATEST_MS or open_ms % step_ms:
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
    time_ms = _decode(_TIME, body, _MAX_ERROR_BYTES).server_time_ms
    if not EARLIEST_MS <= time_ms <= LATEST_MS:
        raise MalformedMessage("an absurd server time", body)
    return time_ms


def parse_symbols(body: bytes) -> dict[str, bool]:
    """Return every symbol and whether its status is ``TRADING``; raises `MalformedMessage`."""
    symbols = {s.symbol: s.status == "TRADING" for s in _decode(_SYMBOLS, body, MAX_SYMBOLS_BYTES).symbols}
    try:
        "".join(symbols).encode("utf-8")
    except UnicodeEncodeError:
        raise MalformedMessage("a symbol that is not Unicode text", body) from None
    return symbols


def check_answer(status: int, headers: Mapping[str, str], body: bytes) -> None:
    """Raise what an answer other than 2xx means, see `candleactors.venues.base.Codec.check_answer`.

    403 comes from the firewall in front of Binance, without an error code and without a wait. It is about the address
    and its behaviour, not about the request, so it counts as `RateLimited`: asking again at once makes it worse.
    """
    if 200 <= status < 300:
        return
    error = _error(body)
    message = excerpt(error.msg if error else "")
    if status in (403, 418, 429) or (error and error.code == _TOO_MUCH_WEIGHT):
        raise RateLimited(status, _retry_after_s(headers), message)
    if error is None or not 400 <= status < 500:
        raise RequestFailed(f"answered with {status}{f': {message}' if message else ''}", status=status)
    if error.code == _INVALID_SYMBOL:
        raise InvalidSymbol("the venue does not know this symbol")
    raise VenueError(error.code, message, status=status)


def used_weight(headers: Mapping[str, str]) -> int | None:
    """Return the weight used in the current minute, ``None`` where the header is missing or no count."""
    text = headers.get("x-mbx-used-weight-1m", "").strip()
    return int(text) if _COUNT.fullmatch(text) else None


def _retry_after_s(headers: Mapping[str, str]) -> float | None:
    # A date, which HTTP allows too, would need a clock to make sense of; Binance documents seconds.
    text = headers.get("retry-after", "").strip()
    return float(min(int(text), _MAX_RETRY_AFTER_S)) if _COUNT.fullmatch(text) else None


def _error(body: bytes) -> _Error | None:
    if len(body) > _MAX_ERROR_BYTES:
        return None
    try:
        return _ERROR.decode(body)
    except (ValueError, RecursionError):
        return None


def _decode(decoder: msgspec.json.Decoder[_T], body: bytes, limit: int) -> _T:
    if len(body) > limit:
        raise MalformedMessage(f"an answer of {len(body)} bytes", body)
    try:
        body.decode("utf-8")  # the decoder looks only at the text that it keeps
        return decoder.decode(body)
    except (ValueError, RecursionError) as error:
        raise MalformedMessage(excerpt(str(error)), body) from None


def _refuse_row(problem: str, row: _Row) -> NoReturn:
    raise MalformedMessage(problem, repr(row))
