"""Bybit's REST answers.

Klines: https://bybit-exchange.github.io/docs/v5/market/kline
Errors: https://bybit-exchange.github.io/docs/v5/error
Rates: https://bybit-exchange.github.io/docs/v5/rate-limit
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, Generic, NoReturn, TypeVar
from urllib.parse import unquote

import msgspec

from candleactors.errors import InvalidSymbol, MalformedMessage, RateLimited, RequestFailed, VenueError, excerpt
from candleactors.model import Candle, Source, Stream, Ticker
from candleactors.venues.answers import (
    MAX_ERROR_BYTES,
    MAX_LIST_BYTES,
    MAX_ROWS_BYTES,
    checked_ms,
    decode,
    decode_error,
    retry_after_s,
)
from candleactors.venues.base import Instrument, InstrumentPage
from candleactors.venues.candles import build_candle, is_open_time
from candleactors.venues.decimals import plain_decimal, signed_decimal
from candleactors.venues.unified import unified, yymmdd

_GOOD: Final = b'{"retCode":0,'  # how every good answer begins
_PARAMETERS: Final = 10001
_TOO_MANY: Final = frozenset({10006, 10429})  # of a user, of the whole system
_ADDRESS_TOO_MANY: Final = 10018
_FAILED: Final = frozenset({10000, 10016})  # a time-out, an internal error
_BAN_S: Final = 600.0
_MAX_WAIT_S: Final = 600.0
_TIME: Final = re.compile(r"[0-9]{12,13}", re.ASCII)
_NANOSECONDS: Final = re.compile(r"[0-9]{18,19}", re.ASCII)
_MAX_CURSOR_CHARACTERS: Final = 1_000

_T = TypeVar("_T")


class _Answer(msgspec.Struct, Generic[_T], rename="camel", gc=False):
    ret_code: int
    result: _T
    time: int
    """The venue's clock when it answered, in ms."""


class _Row(msgspec.Struct, array_like=True, gc=False):
    """A row of seven elements; more are tolerated."""

    start: str
    open: str
    high: str
    low: str
    close: str
    volume: str
    turnover: str


class _Rows(msgspec.Struct, gc=False, rename={"rows": "list"}):
    category: str
    symbol: str
    rows: list[_Row]


class _Time(msgspec.Struct, rename="camel", gc=False):
    time_nano: str


class _Instrument(msgspec.Struct, gc=False, rename="camel"):
    symbol: str
    status: str
    base_coin: str
    quote_coin: str
    settle_coin: str | None = None
    contract_type: str | None = None
    delivery_time: str | None = None


class _Instruments(msgspec.Struct, gc=False, rename={"rows": "list", "cursor": "nextPageCursor"}):
    category: str
    rows: list[_Instrument]
    cursor: str | None = None


class _Ticker(msgspec.Struct, gc=False, rename={"last": "lastPrice", "change": "price24hPcnt"}):
    symbol: str
    last: str
    change: str = ""
    volume24h: str = ""
    turnover24h: str = ""


class _Tickers(msgspec.Struct, gc=False, rename={"rows": "list"}):
    category: str
    rows: list[_Ticker]


class _Error(msgspec.Struct, rename="camel"):
    ret_code: int
    ret_msg: str = ""
    time: int | None = None


_ROWS: Final = msgspec.json.Decoder(_Answer[_Rows])
_CLOCK: Final = msgspec.json.Decoder(_Answer[_Time])
_INSTRUMENTS: Final = msgspec.json.Decoder(_Answer[_Instruments])
_TICKERS: Final = msgspec.json.Decoder(_Answer[_Tickers])
_ERROR: Final = msgspec.json.Decoder(_Error)


def parse_klines(category: str, stream: Stream, body: bytes, venue_now_ms: int, received_ms: int) -> list[Candle]:
    """Return the rows as candles, oldest first; raises `MalformedMessage` if a single one is not valid.

    The venue sends the newest first and never repeats a row, so an answer that does not is not to be trusted at all.
    A row is closed only if its interval was over when the venue answered, which the answer itself says, too.
    """
    answer = _good(_ROWS, body, MAX_ROWS_BYTES)
    result = answer.result
    if result.category != category or result.symbol != stream.symbol:
        raise MalformedMessage("an answer about another category or symbol", body)
    venue_now_ms = min(venue_now_ms, checked_ms(answer.time, body))
    candles: list[Candle] = []
    previous_ms: int | None = None
    for row in result.rows:
        if _TIME.fullmatch(row.start) is None:
            _refuse_row("start is no time", row)
        open_ms = int(row.start)
        if not is_open_time(stream.timeframe, open_ms):
            _refuse_row("start is not one of the interval", row)
        if previous_ms is not None and open_ms >= previous_ms:
            _refuse_row("rows are not in descending order", row)
        previous_ms = open_ms
        try:
            candle = build_candle(
                stream,
                open_ms,
                prices=(row.open, row.high, row.low, row.close),
                amounts=(row.volume, row.turnover, None, None),
                trades=None,
                closed=stream.timeframe.next_open(open_ms) <= venue_now_ms,
                source=Source.REST,
                received_ms=received_ms,
            )
        except ValueError as error:
            _refuse_row(str(error), row)
        candles.append(candle)
    candles.reverse()
    return candles


def parse_server_time(body: bytes) -> int:
    """Return the venue's clock in ms; raises `MalformedMessage`."""
    text = _good(_CLOCK, body, MAX_ERROR_BYTES).result.time_nano
    if _NANOSECONDS.fullmatch(text) is None:
        raise MalformedMessage("an absurd server time", body)
    return checked_ms(int(text) // 1_000_000, body)


def parse_instruments(category: str, body: bytes, page: str | None) -> InstrumentPage:
    """Return the instruments of one answer to the request for `page`; raises `MalformedMessage`.

    The venue writes its cursors as they stand in a URL, percent-encoded; `InstrumentPage.next` is plain, as the
    parameters of a `RestRequest` are.
    """
    answer = _good(_INSTRUMENTS, body, MAX_LIST_BYTES).result
    _check_category(answer.category, category, body)
    _check_text("".join([i.symbol + i.base_coin + i.quote_coin + (i.settle_coin or "") for i in answer.rows]), body)
    cursor = answer.cursor or ""
    if len(cursor) > _MAX_CURSOR_CHARACTERS:
        raise MalformedMessage("an absurd cursor", body)
    _check_text(cursor, body)
    following = unquote(cursor) or None
    if following is not None and following == page:
        raise MalformedMessage("a page that is followed by itself", body)
    try:
        return InstrumentPage(
            tuple(Instrument(i.symbol, _unified(i), i.status == "Trading") for i in answer.rows), following
        )
    except ValueError as error:
        raise MalformedMessage(excerpt(str(error)), body) from None


def parse_tickers(category: str, venue: str, body: bytes) -> list[Ticker]:
    """Return the tickers, which give the change as a share; raises `MalformedMessage`.

    A symbol that has no price yet, before its first trade, has no ticker.
    """
    answer = _good(_TICKERS, body, MAX_LIST_BYTES).result
    _check_category(answer.category, category, body)
    _check_text("".join([ticker.symbol for ticker in answer.rows]), body)
    try:
        return [
            Ticker(
                venue,
                ticker.symbol,
                plain_decimal(ticker.last),
                signed_decimal(ticker.change) if ticker.change else None,
                plain_decimal(ticker.volume24h) if ticker.volume24h else None,
                plain_decimal(ticker.turnover24h) if ticker.turnover24h else None,
            )
            for ticker in answer.rows
            if ticker.last
        ]
    except ValueError as error:
        raise MalformedMessage(excerpt(str(error)), body) from None


def check_answer(status: int, headers: Mapping[str, str], body: bytes) -> None:
    """Raise what an answer means, see `candleactors.venues.base.Codec.check_answer`.

    Most refusals come with HTTP 200. 403 means that the address asked too often and has to keep quiet for ten minutes.
    """
    succeeded = 200 <= status < 300
    if succeeded and body.startswith(_GOOD):
        return
    error = decode_error(_ERROR, body, MAX_LIST_BYTES)
    if succeeded and error is not None and error.ret_code == 0:
        return
    message = excerpt(error.ret_msg if error else "")
    if status == 403 or (error and error.ret_code == _ADDRESS_TOO_MANY):
        raise RateLimited(403, max(_BAN_S, retry_after_s(headers) or 0.0), message)
    if status in (418, 429) or (error and error.ret_code in _TOO_MANY):
        raise RateLimited(418 if status == 418 else 429, _wait_s(headers, error), message)
    if error is None or error.ret_code == 0 or error.ret_code in _FAILED or status >= 500:
        raise RequestFailed(f"answered with {status}{f': {message}' if message else ''}", status=status)
    if error.ret_code == _PARAMETERS and "symbol" in error.ret_msg.lower():
        raise InvalidSymbol("the venue does not know this symbol")
    raise VenueError(error.ret_code, message, status=status)


def _good(decoder: msgspec.json.Decoder[_Answer[_T]], body: bytes, limit: int) -> _Answer[_T]:
    answer = decode(decoder, body, limit)
    if answer.ret_code != 0:
        raise MalformedMessage("no good answer", body)
    return answer


def _check_category(told: str, category: str, body: bytes) -> None:
    if told != category:
        raise MalformedMessage("an answer about another category", body)


def _check_text(text: str, body: bytes) -> None:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise MalformedMessage("half a surrogate pair", body) from None


def _unified(instrument: _Instrument) -> str:
    delivery = None
    if (instrument.contract_type or "").endswith("Futures"):
        text = instrument.delivery_time or ""
        if _TIME.fullmatch(text) is None:
            raise ValueError("a dated contract without a day of delivery")
        delivery = yymmdd(int(text))
    return unified(instrument.base_coin, instrument.quote_coin, instrument.settle_coin, delivery)


def _wait_s(headers: Mapping[str, str], error: _Error | None) -> float | None:
    """Return how long to wait: until the venue counts anew, by its own clock."""
    reset = headers.get("x-bapi-limit-reset-timestamp", "").strip()
    if error is None or error.time is None or _TIME.fullmatch(reset) is None:
        return retry_after_s(headers)
    return min(max((int(reset) - error.time) / 1000, 1.0), _MAX_WAIT_S)


def _refuse_row(problem: str, row: _Row) -> NoReturn:
    raise MalformedMessage(problem, repr(row))
