"""OKX's REST requests and answers.

Candles: https://www.okx.com/docs-v5/en/#order-book-trading-market-data-get-candlesticks
Errors: https://www.okx.com/docs-v5/en/#error-code-rest-api

Every answer is ``{"code": "0", "msg": "", "data": [...]}``; errors have another code, and often HTTP status 200.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Context, Decimal
from typing import Final, Generic, NoReturn, TypeVar

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
from candleactors.venues.base import Instrument, RestRequest
from candleactors.venues.decimals import plain_decimal
from candleactors.venues.okx_candle import Row
from candleactors.venues.okx_rules import BARS, HISTORY_ONLY, RECENT_ROWS, RULES
from candleactors.venues.unified import unified

_T = TypeVar("_T")

_TOO_OFTEN: Final = frozenset({"50011", "50061"})
_WAIT_S: Final = 2.0  # the window in which OKX counts requests; its answers name none
_OUT_OF_ORDER: Final = frozenset({"50001", "50004", "50013", "50026"})
_INVALID_SYMBOL: Final = "51001"
_GOOD: Final = b'{"code":"0",'
_UNFINISHED_MS: Final = 10_000  # the venue has long said by then that a candle is finished
_SHARE: Final = Decimal("0.00000001")
_EXACT: Final = Context(prec=50)


class _Answer(msgspec.Struct, Generic[_T]):
    code: str
    data: list[_T]


class _Outcome(msgspec.Struct):
    code: str
    msg: str = ""


class _Time(msgspec.Struct):
    ts: str


class _Instrument(msgspec.Struct, gc=False, rename="camel"):
    inst_id: str
    inst_type: str
    state: str
    base_ccy: str = ""
    quote_ccy: str = ""
    settle_ccy: str = ""
    uly: str = ""


class _Ticker(
    msgspec.Struct,
    gc=False,
    rename={
        "inst_id": "instId",
        "inst_type": "instType",
        "volume": "vol24h",
        "currency_volume": "volCcy24h",
        "opened": "open24h",
    },
):
    inst_id: str
    inst_type: str
    last: str
    opened: str
    volume: str
    currency_volume: str


_ROWS: Final = msgspec.json.Decoder(_Answer[Row])
_TIME: Final = msgspec.json.Decoder(_Answer[_Time])
_INSTRUMENTS: Final = msgspec.json.Decoder(_Answer[_Instrument])
_TICKERS: Final = msgspec.json.Decoder(_Answer[_Ticker])
_OUTCOME: Final = msgspec.json.Decoder(_Outcome)


def klines(stream: Stream, start_ms: int | None, end_ms: int | None, limit: int, now_ms: int | None) -> RestRequest:
    """Return the request for at most `limit` rows of the window from `start_ms` on, the newest rows without a start.

    Answers are newest first, so that `limit` alone would cut a longer window at its beginning: the window ends where
    the rows asked for do. Both ends are exclusive. ``before`` alone would be answered with the newest rows of all.
    """
    timeframe = stream.timeframe
    limit = min(limit, (RULES.newest_limit if start_ms is None else None) or RULES.klines_limit)
    params = [("instId", stream.symbol), ("bar", BARS[timeframe])]
    until_ms = None if end_ms is None else end_ms + 1
    recent = timeframe not in HISTORY_ONLY
    if start_ms is not None:
        beyond_ms = timeframe.advance(start_ms, limit)
        until_ms = beyond_ms if until_ms is None else min(until_ms, beyond_ms)
        # The oldest recent rows go while a request is under way or waits for its turn, so the last ones are left alone.
        # Asked for what it no longer has, the venue says that there is nothing: without a clock nobody can know.
        reach_ms = (RECENT_ROWS - RULES.klines_limit) * timeframe.nominal_ms
        recent = recent and now_ms is not None and start_ms >= now_ms - reach_ms
    if until_ms is not None:
        params.append(("after", str(until_ms)))
    if start_ms is not None:
        params.append(("before", str(start_ms - 1)))
    params.append(("limit", str(limit)))
    path = "/api/v5/market/candles" if recent else "/api/v5/market/history-candles"
    return RestRequest(path, tuple(params), 1 if recent else 2)


def parse_klines(stream: Stream, body: bytes, venue_now_ms: int, received_ms: int) -> list[Candle]:
    """Return the rows as candles, ascending; raises `MalformedMessage` if one of them is not valid or out of order.

    A row is closed if its interval is over and the venue says so, of this row or of a later one. One that is over for
    long while the venue has a later row but closed neither makes the answer useless: taken for forming, it would look
    like one that the venue skipped.
    """
    candles: list[Candle] = []
    next_ms: int | None = None
    confirmed = False
    for row in _data(_ROWS, body, MAX_ROWS_BYTES):
        try:
            problem = row.problem(stream.timeframe)
            if problem is not None:
                raise ValueError(problem)
            open_ms = row.open_time_ms
            if next_ms is not None and open_ms >= next_ms:
                raise ValueError("rows are not in descending order")
            over_ms = stream.timeframe.next_open(open_ms)
            confirmed = confirmed or row.closed
            if not confirmed and next_ms is not None and over_ms < venue_now_ms - _UNFINISHED_MS:
                raise ValueError("an unfinished row before another")
            candles.append(row.candle(stream, confirmed and over_ms <= venue_now_ms, Source.REST, received_ms))
        except ValueError as error:
            _refuse(str(error), row)
        next_ms = open_ms
    candles.reverse()
    return candles


def parse_server_time(body: bytes) -> int:
    """Return the venue's clock in ms; raises `MalformedMessage`."""
    times = _data(_TIME, body, MAX_ERROR_BYTES)
    text = times[0].ts if len(times) == 1 else ""
    if not (len(text) == 13 and text.isascii() and text.isdecimal()):
        raise MalformedMessage("an absurd server time", body)
    return checked_ms(int(text), body)


def parse_instruments(body: bytes) -> tuple[Instrument, ...]:
    """Return the instruments of one kind; they trade if their state is ``live``. Raises `MalformedMessage`."""
    found = [(i.inst_id, _unified(i), i.state == "live") for i in _data(_INSTRUMENTS, body, MAX_LIST_BYTES)]
    try:
        "".join(symbol + common for symbol, common, _ in found).encode("utf-8")
    except UnicodeEncodeError:
        raise MalformedMessage("a symbol that is not Unicode text", body) from None
    return tuple(Instrument(*values) for values in found)


def parse_tickers(body: bytes) -> list[Ticker]:
    """Return the tickers of one kind of instrument but those that never traded; raises `MalformedMessage`."""
    try:
        return [_ticker(ticker) for ticker in _data(_TICKERS, body, MAX_LIST_BYTES) if ticker.last]
    except ValueError as error:
        raise MalformedMessage(excerpt(str(error)), body) from None


def check_answer(status: int, headers: Mapping[str, str], body: bytes) -> None:
    """Raise what an answer other than success means, see `candleactors.venues.base.Codec.check_answer`.

    403 without a code comes from the firewall in front of the venue and is about the address, so it counts as
    `RateLimited`: asking again at once makes it worse.
    """
    good = 200 <= status < 300
    if good and body.startswith(_GOOD):
        return
    outcome = decode_error(_OUTCOME, body, MAX_LIST_BYTES)
    code = "" if outcome is None else outcome.code
    if good and code == "0":
        return
    message = "" if outcome is None else excerpt(outcome.msg)
    if status in (418, 429) or code in _TOO_OFTEN:
        wait_s = retry_after_s(headers)
        raise RateLimited(429 if good else status, _WAIT_S if wait_s is None else wait_s, message)
    number = int(code) if code.isascii() and code.isdecimal() and len(code) <= 9 else 0
    if status == 403 and not number:
        raise RateLimited(status, retry_after_s(headers), message)
    if not number or code in _OUT_OF_ORDER or status >= 500:
        raise RequestFailed(f"answered with {status}{f': {message}' if message else ''}", status=status)
    if code == _INVALID_SYMBOL:
        raise InvalidSymbol("the venue does not know this symbol")
    raise VenueError(number, message, status=status)


def _data(decoder: msgspec.json.Decoder[_Answer[_T]], body: bytes, limit: int) -> list[_T]:
    answer = decode(decoder, body, limit)
    if answer.code != "0":
        raise MalformedMessage("an answer that is an error", body)
    return answer.data


def _unified(instrument: _Instrument) -> str:
    # An instrument that is announced but not listed yet may lack its currencies; its name has them.
    symbol = instrument.inst_id
    if instrument.inst_type == "SWAP":
        base, quote = _pair(instrument.uly or symbol)
        return unified(base, quote, instrument.settle_ccy or quote)
    base, quote = _pair(symbol)
    return unified(instrument.base_ccy or base, instrument.quote_ccy or quote)


def _pair(text: str) -> tuple[str, str]:
    base, _, rest = text.partition("-")
    return base, rest.partition("-")[0]


def _ticker(ticker: _Ticker) -> Ticker:
    last = plain_decimal(ticker.last)
    opened = plain_decimal(ticker.opened) if ticker.opened else Decimal(0)
    change = None
    if opened:
        change = _EXACT.quantize(_EXACT.subtract(_EXACT.divide(last, opened), Decimal(1)), _SHARE)
    swap = ticker.inst_type == "SWAP"
    volume, currency_volume = plain_decimal(ticker.volume), plain_decimal(ticker.currency_volume)
    return Ticker(
        RULES.venue,
        ticker.inst_id,
        last,
        change,
        currency_volume if swap else volume,
        None if swap else currency_volume,
    )


def _refuse(problem: str, row: Row) -> NoReturn:
    raise MalformedMessage(problem, repr(row))
