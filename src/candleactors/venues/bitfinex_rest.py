"""Bitfinex's REST answers.

Candles: https://docs.bitfinex.com/reference/rest-public-candles
Pairs and currencies: https://docs.bitfinex.com/reference/rest-public-conf
Tickers: https://docs.bitfinex.com/reference/rest-public-tickers
Errors: https://docs.bitfinex.com/docs/requirements-and-limitations and https://docs.bitfinex.com/docs/abbreviations-glossary
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Final, NoReturn

import msgspec

from candleactors.errors import InvalidSymbol, MalformedMessage, RateLimited, RequestFailed, VenueError, excerpt
from candleactors.model import Candle, Source, Stream, Ticker
from candleactors.venues.answers import (
    MAX_ERROR_BYTES,
    MAX_LIST_BYTES,
    MAX_ROWS_BYTES,
    date_ms,
    decode,
    retry_after_s,
)
from candleactors.venues.base import Instrument
from candleactors.venues.bitfinex_candle import Row, candle_of, plain, problem_of
from candleactors.venues.bitfinex_symbols import is_symbol, unified_symbol
from candleactors.venues.decimals import plain_decimal, signed_decimal

INSTRUMENTS: Final = "pub:list:pair:exchange,pub:list:pair:futures,pub:map:currency:sym"
_WAIT_S: Final = 60.0  # an address is kept out for 10 to 60 s
_HALF_A_SECOND_MS: Final = 500
_RATE_LIMIT: Final = 11_010
_NOT_READY: Final = (11_000, 20_060)  # try again later; maintenance
_ERROR: Final = re.compile(rb'\s*(?:\[\s*"error"|\{)')


class _Ticker(msgspec.Struct, array_like=True, gc=False):
    """A row of a trading pair; rows of funding have another layout after the symbol."""

    symbol: str
    bid: msgspec.Raw
    bid_size: msgspec.Raw
    ask: msgspec.Raw
    ask_size: msgspec.Raw
    change: msgspec.Raw
    change_ratio: msgspec.Raw
    last: msgspec.Raw
    volume: msgspec.Raw


class _Error(msgspec.Struct, array_like=True):
    word: str
    code: int | None = None
    message: str | None = None


class _OldError(msgspec.Struct):
    error: str


_ROWS: Final = msgspec.json.Decoder(list[Row])
_CONF: Final = msgspec.json.Decoder(tuple[list[str], list[str], list[tuple[str, str]]])
_TICKERS: Final = msgspec.json.Decoder(list[_Ticker])
_ERRORS: Final = msgspec.json.Decoder(_Error)
_OLD_ERRORS: Final = msgspec.json.Decoder(_OldError)


def parse_klines(stream: Stream, body: bytes, venue_now_ms: int, received_ms: int) -> list[Candle]:
    """Return the rows as candles, ascending; raises `MalformedMessage` if a single one is not valid or out of order.

    The venue sorts them one way or the other, as asked, so an answer that is not sorted is not to be trusted at all.
    Intervals without trades have no row.
    """
    rows = decode(_ROWS, body, MAX_ROWS_BYTES)
    if len(rows) > 1 and rows[0].open_time_ms > rows[-1].open_time_ms:
        rows.reverse()
    candles: list[Candle] = []
    previous_ms = -1
    for row in rows:
        open_ms = row.open_time_ms
        problem = problem_of(row, stream.timeframe, None)
        if problem is None and open_ms <= previous_ms:
            problem = "rows are not sorted"
        if problem is not None:
            raise MalformedMessage(problem, row.text())
        previous_ms = open_ms
        closed = stream.timeframe.next_open(open_ms) <= venue_now_ms
        candles.append(candle_of(row, stream, received_ms, closed=closed, source=Source.REST))
    return candles


def parse_server_time(headers: Mapping[str, str]) -> int:
    """Return the venue's clock in ms; raises `MalformedMessage`.

    There is no endpoint for it. The header is cut to seconds, so the middle of its second is the best guess.
    """
    return date_ms(headers) + _HALF_A_SECOND_MS


def parse_instruments(body: bytes) -> tuple[Instrument, ...]:
    """Return every pair, first those of the spot market; all of them trade. Raises `MalformedMessage`.

    What can be no symbol is left out: it could not be subscribed.
    """
    spot, futures, currencies = decode(_CONF, body, MAX_LIST_BYTES)
    names = dict(currencies)
    try:
        "".join(names.values()).encode("utf-8")
        return tuple(
            Instrument("t" + pair, unified_symbol(pair, names, perpetual=perpetual), True)
            for pairs, perpetual in ((spot, False), (futures, True))
            for pair in dict.fromkeys(pairs)
            if is_symbol("t" + pair)
        )
    except ValueError as error:
        raise MalformedMessage(excerpt(str(error)), body) from None


def parse_tickers(venue: str, body: bytes) -> list[Ticker]:
    """Return the tickers of all pairs, leaving out those of funding and of pairs that never traded.

    Raises `MalformedMessage`.
    """
    try:
        return [
            Ticker(
                venue,
                ticker.symbol,
                plain_decimal(plain(ticker.last)),
                _optional(ticker.change_ratio),
                _optional(ticker.volume),
                None,
            )
            for ticker in decode(_TICKERS, body, MAX_LIST_BYTES)
            if is_symbol(ticker.symbol) and bytes(ticker.last) != b"null"
        ]
    except ValueError as error:
        raise MalformedMessage(excerpt(str(error)), body) from None


def check_answer(status: int, headers: Mapping[str, str], body: bytes) -> None:
    """Raise what an answer means that is none, see `candleactors.venues.base.Codec.check_answer`.

    An error is an array that begins with the word, whatever the HTTP status: 500 is what wrong parameters get.
    """
    succeeded = 200 <= status < 300
    if succeeded and _ERROR.match(body) is None:
        return
    code, message = _error(body)
    if status in (418, 429) or code == _RATE_LIMIT or message == "ERR_RATE_LIMIT":
        _refuse_for_rate(418 if status == 418 else 429, headers, message)
    if code is None and status == 403:  # the firewall in front; about the address, not about the request
        _refuse_for_rate(403, headers, message)
    if code is None or code in _NOT_READY:
        raise RequestFailed(f"answered with {status}{f': {message}' if message else ''}", status=status)
    if message.startswith("symbol"):
        raise InvalidSymbol("the venue does not know this symbol")
    raise VenueError(code, message, status=status)


def _refuse_for_rate(status: int, headers: Mapping[str, str], message: str) -> NoReturn:
    wait_s = retry_after_s(headers)
    raise RateLimited(status, _WAIT_S if wait_s is None else wait_s, message)


def _error(body: bytes) -> tuple[int | None, str]:
    """Return the code of an answer that is an error, ``None`` where it has none, and the printable message."""
    if len(body) > MAX_ERROR_BYTES:
        return None, ""
    try:
        error = _ERRORS.decode(body)
    except (ValueError, RecursionError):
        pass
    else:
        return (error.code if error.word == "error" else None), excerpt(error.message or "")
    try:
        return None, excerpt(_OLD_ERRORS.decode(body).error)
    except (ValueError, RecursionError):
        return None, ""


def _optional(raw: msgspec.Raw) -> Decimal | None:
    return None if bytes(raw) == b"null" else signed_decimal(plain(raw))
