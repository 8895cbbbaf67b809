"""Parameters of requests: texts to values, with an error that names the parameter."""

from __future__ import annotations

from typing import Annotated, Final, TypeAlias

from litestar.params import QueryParameter

from candleactors.errors import ConfigError, UnknownVenue
from candleactors.feed import Feed
from candleactors.instants import instant_ms
from candleactors.model import Stream, Timeframe
from candleactors.web.errors import ApiError, invalid, unknown

_LATEST_MS: Final = 1 << 48

Venue: TypeAlias = Annotated[str, QueryParameter(description="Name of a venue of the feed, such as `binance-spot`.")]
Symbol: TypeAlias = Annotated[
    str, QueryParameter(description="In the venue's spelling, or in the unified one: `BTCUSDT`, `BTC/USDT`.")
]
Frame: TypeAlias = Annotated[
    str, QueryParameter(name="timeframe", description="`1m`, `7m`, `4h`, `1d`, `1w`, `1M`, or any other size.")
]
Instant: TypeAlias = Annotated[
    str | None, QueryParameter(description="Epoch milliseconds, or ISO 8601 (UTC unless it says otherwise).")
]


def as_instant_ms(name: str, text: str | None) -> int | None:
    """Return the milliseconds that the parameter `name` means; raises `ApiError`."""
    if text is None:
        return None
    try:
        at_ms = instant_ms(text)
    except ValueError as error:
        raise invalid(name, error) from None
    if not 0 <= at_ms < _LATEST_MS:
        raise invalid(name, "an instant from 1970 on, and not thousands of years ahead")
    return at_ms


async def one_stream(feed: Feed, venue: str, symbol: str, timeframe: str) -> Stream:
    """Return the stream that three parameters name, in the venue's own spelling; raises `ApiError`."""
    try:
        frame = Timeframe(timeframe)
    except ConfigError as error:
        raise invalid("timeframe", error) from None
    if not symbol or ":" in symbol[:1]:
        raise invalid("symbol", "a symbol is needed")
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
            raise invalid(name, error) from None
    spelled: dict[Stream, None] = {}
    for stream in parsed:
        try:
            spelled[await feed.spelled(stream)] = None
        except ConfigError as error:
            raise ApiError(404, "not_found", str(error), parameter=name) from None
    return tuple(spelled)


def _blamed(error: ConfigError) -> str:
    if isinstance(error, UnknownVenue):
        return "venue"
    return "timeframe" if type(error).__name__ == "InvalidTimeframe" else "symbol"
