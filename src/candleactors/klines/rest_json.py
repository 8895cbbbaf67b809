"""Answers of the exchange's REST interface, kept as JSON: an array of rows, or a recording that tells the request too.

https://github.com/binance/binance-spot-api-docs/blob/master/rest-api.md#klinecandlestick-data
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final
from urllib.parse import parse_qs

import msgspec

from candleactors.errors import MalformedFile, excerpt
from candleactors.klines.container import Unpacked
from candleactors.klines.record import Record
from candleactors.klines.rows import Records, Told

_LARGEST_BYTES: Final = 256 << 20
"""Read as a whole; a year of 1m rows takes about 90 MiB."""
_VENUES: Final = {"/api/v3/klines": "binance-spot", "/fapi/v1/klines": "binance-usdm"}


class _Row(msgspec.Struct, array_like=True, gc=False):
    """A row of twelve elements, the last without meaning; more are tolerated."""

    open_time: int
    open: str
    high: str
    low: str
    close: str
    volume: str
    close_time: int
    quote_volume: str
    trades: int
    taker_buy_volume: str
    taker_buy_quote_volume: str


class _Answer(msgspec.Struct):
    """A recorded answer: what was asked, and what came."""

    path: str
    data: msgspec.Raw
    query: str = ""


_ROWS: Final = msgspec.json.Decoder(list[msgspec.Raw])
_ROW: Final = msgspec.json.Decoder(_Row)
_ANSWER: Final = msgspec.json.Decoder(_Answer)


def json_records(source: Unpacked, start: bytes, *, last_is_over: bool = False) -> Records:
    """Return the rows of a JSON document; `start` are bytes already taken from `source`. Raises `MalformedFile`.

    The last row of an answer may have been recorded while its interval was running; the others are over, since a later
    one exists.
    """
    path = str(source.path)
    parts = [start]
    size = 0
    while block := source.read(1 << 20):
        parts.append(block)
        size += len(block)
        if size > _LARGEST_BYTES:
            raise MalformedFile(f"is JSON of more than {_LARGEST_BYTES >> 20} MiB; split it", path=path)
    body = b"".join(parts).removeprefix(b"\xef\xbb\xbf")
    answer = None
    try:
        body.decode("utf-8")  # the decoder looks only at the text that it keeps
        if body.lstrip()[:1] == b"{":
            answer = _ANSWER.decode(body)
        rows = _ROWS.decode(answer.data if answer else body)
    except UnicodeDecodeError:
        raise MalformedFile("is not UTF-8 text", path=path) from None
    except (ValueError, RecursionError) as error:
        raise MalformedFile(f"is no array of kline rows: {excerpt(str(error))}", path=path) from None
    told = _told(answer, path) if answer else Told()
    return Records(_records(rows, path), told, official=True, sparse=False, last_is_over=last_is_over)


def _told(answer: _Answer, path: str) -> Told:
    """Return what the request says; raises `MalformedFile` if it was not one for klines."""
    venue = _VENUES.get(answer.path)
    if venue is None:
        raise MalformedFile(f'is an answer to "{excerpt(answer.path, 60)}", not to a request for klines', path=path)
    query = parse_qs(answer.query)
    return Told(venue, query.get("symbol", [None])[0], query.get("interval", [None])[0])


def _records(rows: list[msgspec.Raw], path: str) -> Iterator[Record]:
    for number, raw in enumerate(rows, 1):
        try:
            row = _ROW.decode(raw)
        except (ValueError, RecursionError) as error:
            raise MalformedFile(f"is no kline row: {excerpt(str(error))}", path=path, line=number) from None
        yield number, ",".join(map(str, msgspec.structs.astuple(row))) + ","
