"""Parameters of requests: texts to values, with an error that names the parameter."""

from __future__ import annotations

import re
from typing import Annotated, Final, TypeAlias

from litestar.openapi.spec import OpenAPIType, Schema
from litestar.params import QueryParameter

from candleactors.errors import ConfigError, InvalidTimeframe, UnknownVenue
from candleactors.feed import Feed
from candleactors.instants import LATEST_MS, instant_ms
from candleactors.model import Stream, Timeframe
from candleactors.web.errors import invalid, unknown

_LARGEST_MS: Final = 1 << 48
_FRAME: Final = r"[1-9][0-9]{0,3}[smhdwM](@.+)?"
_STREAM: Final = rf"[^:]+:.+:{_FRAME}"
STREAM_PATTERN: Final = f"^{_STREAM}$"
"""What is written like a stream. Whether there is such a one is another question, and its answer 404, not 400."""

Venue: TypeAlias = Annotated[str, QueryParameter(description="Name of a venue of the feed, such as `binance-spot`.")]
Symbol: TypeAlias = Annotated[
    str,
    QueryParameter(min_length=1, description="In the venue's spelling, or in the unified one: `BTCUSDT`, `BTC/USDT`."),
]
Frame: TypeAlias = Annotated[
    str,
    QueryParameter(
        name="timeframe",
        description="`1m`, `7m`, `4h`, `1d`, `1w`, `1M`, or any other size.",
        schema_extra={"pattern": f"^{_FRAME}$"},
    ),
]
Streams: TypeAlias = Annotated[
    list[str],
    QueryParameter(
        description="`venue:symbol:timeframe`; may be repeated.",
        schema_extra={"items": Schema(type=OpenAPIType.STRING, pattern=STREAM_PATTERN)},
    ),
]
Instant: TypeAlias = Annotated[
    str | None,
    QueryParameter(
        description="Epoch milliseconds, or ISO 8601 (UTC unless it says otherwise).",
        schema_extra={
            "one_of": None,
            "any_of": [
                Schema(type=OpenAPIType.INTEGER, minimum=0, maximum=_LARGEST_MS),
                Schema(type=OpenAPIType.STRING, format="date-time"),
                Schema(type=OpenAPIType.STRING, format="date"),
            ],
        },
    ),
]


def as_instant_ms(name: str, text: str | None) -> int | None:
    """Return the milliseconds that the parameter `name` means; raises `ApiError`."""
    if text is None:
        return None
    if text.isascii() and text.isdecimal() and len(text) <= len(str(_LARGEST_MS)):
        at_ms = int(text)
    else:
        try:
            at_ms = instant_ms(text)
        except ValueError as error:
            raise invalid(name, error) from None
    if at_ms > _LARGEST_MS:
        raise invalid(name, "an instant thousands of years ahead")
    return min(max(0, at_ms), LATEST_MS)  # there are no candles from before 1970, nor from after


async def one_stream(feed: Feed, venue: str, symbol: str, timeframe: str) -> Stream:
    """Return the stream that three parameters name, in the venue's own spelling; raises `ApiError`."""
    try:
        frame = Timeframe(timeframe)
    except ConfigError as error:
        raise (unknown if re.fullmatch(_FRAME, timeframe) else invalid)("timeframe", error) from None
    try:
        return await feed.spelled(Stream(venue, symbol, frame))
    except ConfigError as error:
        raise unknown(_blamed(error), error) from None


async def some_streams(feed: Feed, texts: list[str], name: str) -> tuple[Stream, ...]:
    """Return the streams written ``venue:symbol:timeframe``, each once, in the venues' own spelling."""
    parsed: list[Stream] = []
    for text in texts:
        try:
            parsed.append(Stream.parse(text))
        except ConfigError as error:
            raise (unknown if re.fullmatch(_STREAM, text) else invalid)(name, error) from None
    spelled: dict[Stream, None] = {}
    for stream in parsed:
        try:
            spelled[await feed.spelled(stream)] = None
        except ConfigError as error:
            raise unknown(name, error) from None
    return tuple(spelled)


def _blamed(error: ConfigError) -> str:
    if isinstance(error, UnknownVenue):
        return "venue"
    return "timeframe" if isinstance(error, InvalidTimeframe) else "symbol"
