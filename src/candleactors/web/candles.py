"""Endpoints of candles: pages of closed ones, and live ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from io import StringIO
from typing import Annotated, Final, TypeAlias
from urllib.parse import urlencode

import msgspec
import trio
from litestar import MediaType, Request, Response, get
from litestar.datastructures import State
from litestar.di import NamedDependency
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import HeaderParameter, QueryParameter
from litestar.response.base import ASGIResponse

from candleactors.feed import Feed
from candleactors.klines.writers import write_csv
from candleactors.model import Candle, Cursor, Stream
from candleactors.records import candle_record
from candleactors.web import event_id
from candleactors.web.errors import ERRORS, invalid
from candleactors.web.history import HistoryPage, read_page
from candleactors.web.live import LiveReader, LiveReaders, Reading
from candleactors.web.parameters import Frame, Instant, Symbol, Venue, as_instant_ms, one_stream, some_streams
from candleactors.web.values import CandlePage

DEFAULT_LIMIT: Final = 500
MOST: Final = 5_000
_CSV: Final = "text/csv"
_SLICE: Final = 500
"""Candles encoded before the event loop has its turn: some milliseconds."""

AnyRequest: TypeAlias = Request[None, None, State]


@get(
    "/api/candles",
    operation_id="candles",
    summary="Closed candles",
    tags=["candles"],
    media_type=MediaType.JSON,
    responses=ERRORS | {200: ResponseSpec(CandlePage, description="A page of candles; CSV where that is accepted.")},
)
async def candles(
    request: AnyRequest,
    feed: NamedDependency[Feed],
    venue: Venue,
    symbol: Symbol,
    timeframe: Frame,
    start: Instant = None,
    end: Instant = None,
    limit: Annotated[int, QueryParameter(ge=1, le=MOST, description="Most candles.")] = DEFAULT_LIMIT,
) -> Response[bytes]:
    """Closed candles, ascending: the oldest from `start` on, or without `start` the newest.

    Stored ones, or made on the fly from the largest stored timeframe that divides the wanted one.
    """
    stream = await one_stream(feed, venue, symbol, timeframe)
    start_ms, end_ms = as_instant_ms("start", start), as_instant_ms("end", end)
    page = await read_page(feed, stream, start_ms, end_ms, limit)
    headers = {"vary": "accept"}
    if (link := _link(page, limit, start_ms, end_ms)) is not None:
        headers["link"] = link
    if request.accept.best_match([MediaType.JSON, _CSV], default=MediaType.JSON) == _CSV:
        return Response(await _csv(page.candles), media_type=_CSV, headers=headers)
    return Response(await _json(page), media_type=MediaType.JSON, headers=headers)


@get(
    "/api/candles/stream",
    operation_id="candle_stream",
    summary="Live candles",
    tags=["candles"],
    media_type="text/event-stream",
    responses=ERRORS
    | {200: ResponseSpec(str, description="Server-sent events, without end.", media_type="text/event-stream")},
)
async def candle_stream(
    feed: NamedDependency[Feed],
    readers: NamedDependency[LiveReaders],
    venue: Annotated[str | None, QueryParameter(description="Of a single stream.")] = None,
    symbol: Annotated[str | None, QueryParameter(description="Of a single stream.")] = None,
    timeframe: Annotated[str | None, QueryParameter(description="Of a single stream.")] = None,
    stream: Annotated[
        list[str] | None, QueryParameter(description="`venue:symbol:timeframe`; may be repeated.")
    ] = None,
    since: Annotated[str | None, QueryParameter(description="An event id to go on from, or an instant.")] = None,
    last_event_id: Annotated[
        str | None, HeaderParameter(name="Last-Event-ID", description="What browsers send when they reconnect.")
    ] = None,
) -> ASGIResponse:
    """Closed and forming candles, gaps and revisions of one stream or several, as server-sent events.

    Closed candles come once and in order, each with an id. Whoever comes back with the id of the last event, in the
    header `Last-Event-ID` or as `since`, is first given every closed candle that was missed.
    """
    readers.admit()
    named = (venue, symbol, timeframe)
    if any(part is not None for part in named):
        missing = next(
            (name for name, part in zip(("venue", "symbol", "timeframe"), named, strict=True) if not part), ""
        )
        if missing or stream:
            raise invalid(missing or "stream", "name one stream by venue, symbol and timeframe, or several by stream")
        streams: tuple[Stream, ...] = (await one_stream(feed, *(part or "" for part in named)),)
    else:
        streams = await some_streams(feed, stream or [], "stream")
    if not streams:
        raise invalid("stream", "which streams? name one at least, as venue:symbol:timeframe")
    most = feed.settings.web.max_streams_per_client
    if len(streams) > most:
        raise invalid("stream", f"at most {most} streams on one connection")
    return _LiveResponse(readers.reader(Reading(streams, _after(feed, streams, since, last_event_id))))


class _LiveResponse(ASGIResponse):
    """Hands the connection over to a `LiveReader`."""

    def __init__(self, reader: LiveReader) -> None:
        super().__init__()
        self._reader = reader

    async def __call__(self, scope, receive, send) -> None:  # type: ignore[no-untyped-def]
        await self._reader(scope, receive, send)


def _after(feed: Feed, streams: tuple[Stream, ...], since: str | None, last_event_id: str | None) -> Cursor | None:
    """Return where a reader goes on. A browser that reconnects sends both: the header is the newer."""
    name, text = ("Last-Event-ID", last_event_id) if last_event_id else ("since", since)
    if not text:
        return None
    if "~" in text:
        try:
            return event_id.parse(text, streams)
        except ValueError as error:
            raise invalid(name, error) from None
    start_ms = as_instant_ms(name, text)
    assert start_ms is not None
    return event_id.since(feed.candles(streams).cursor, streams, start_ms)


def _link(page: HistoryPage, limit: int, start_ms: int | None, end_ms: int | None) -> str | None:
    """Return the address of the page that follows in the direction asked for, as the header has it."""
    query: dict[str, object] = {
        "venue": page.stream.venue,
        "symbol": page.stream.symbol,
        "timeframe": str(page.stream.timeframe),
        "limit": limit,
    }
    if page.next_start_ms is not None:
        query["start"] = page.next_start_ms
        if end_ms is not None:
            query["end"] = end_ms
        return f'</api/candles?{urlencode(query)}>; rel="next"'
    if page.previous_end_ms is not None:
        query["end"] = page.previous_end_ms
        return f'</api/candles?{urlencode(query)}>; rel="prev"'
    return None


async def _json(page: HistoryPage) -> bytes:
    """Return the page as `CandlePage` describes it."""
    head = {
        "venue": page.stream.venue,
        "symbol": page.stream.symbol,
        "timeframe": str(page.stream.timeframe),
        "made_from": None if page.made_from is None else str(page.made_from),
        "next_start_ms": page.next_start_ms,
        "previous_end_ms": page.previous_end_ms,
    }
    records: list[bytes] = []
    for some in _slices(page.candles):
        records += [msgspec.json.encode(candle_record(candle)) for candle in some]
        await trio.lowlevel.checkpoint()
    return msgspec.json.encode(head)[:-1] + b',"candles":[' + b",".join(records) + b"]}"


async def _csv(candles: Sequence[Candle]) -> bytes:
    out = StringIO()
    write_csv((), out)
    for some in _slices(candles):
        write_csv(some, out, header=False)
        await trio.lowlevel.checkpoint()
    return out.getvalue().encode()


def _slices(candles: Sequence[Candle]) -> Iterator[Sequence[Candle]]:
    return (candles[first : first + _SLICE] for first in range(0, len(candles), _SLICE))
