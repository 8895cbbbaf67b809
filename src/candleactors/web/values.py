"""Values that go over the wire: the bodies of requests and answers, as the API's description shows them."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec
from attrs import field, frozen
from msgspec import Meta

from candleactors.actors.stream_status import StreamStatus
from candleactors.model import SyncStatus
from candleactors.web.parameters import STREAM_PATTERN

OWNER: Final = r"^(?!config$|sse:)[!-~]{1,64}$"
"""Names of owners; the excluded ones' interest is declared otherwise, and does not end over HTTP."""

LONGEST_INTEREST_S: Final = 1e9


@frozen
class CandleRecord:
    """A candle. Times are UTC epoch milliseconds; prices and volumes are texts with every digit."""

    venue: str
    symbol: str
    timeframe: str
    open_time_ms: int
    close_time_ms: int
    open: str
    high: str
    low: str
    close: str
    volume: str
    quote_volume: str | None
    trades: int | None
    taker_buy_volume: str | None
    taker_buy_quote_volume: str | None
    closed: bool
    complete: bool
    source: str
    revision: int
    received_ms: int
    missing: int


@frozen
class CandlePage:
    """A page of closed candles, ascending."""

    venue: str
    symbol: str
    timeframe: str
    made_from: str | None
    candles: list[CandleRecord]
    next_start_ms: int | None
    previous_end_ms: int | None


@frozen
class GapRecord:
    """Intervals that are missing. `first_open_ms` and `last_open_ms` are open times of the first and the last."""

    venue: str
    symbol: str
    timeframe: str
    first_open_ms: int
    last_open_ms: int
    count: int
    reason: str


@frozen
class GapList:
    """The open gaps of a stream, ascending."""

    gaps: list[GapRecord]


@frozen
class OpenGaps:
    """How many gaps are open, how many candles lie in them, and how many gaps there are for each reason."""

    gaps: int
    candles: int
    venue: int
    unrepaired: int


@frozen
class RepairCount:
    """How many candles were repaired, in how many streams."""

    candles: int
    streams: int


@frozen
class GapCounts:
    """The gaps of all streams."""

    open: OpenGaps
    repaired_24h: RepairCount
    oldest: GapRecord | None


@frozen
class StreamList:
    """Watched streams."""

    streams: tuple[StreamStatus, ...]


@frozen
class SyncList:
    """Backfills, the newest last."""

    syncs: tuple[SyncStatus, ...]


class WatchRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Streams to watch, written `venue:symbol:timeframe`, on behalf of an owner."""

    streams: Annotated[list[Annotated[str, Meta(pattern=STREAM_PATTERN)]], Meta(min_length=1, max_length=1_000)]
    owner: Annotated[str, Meta(pattern=OWNER)] = "api"
    priority: Annotated[int, Meta(ge=-1_000_000, le=1_000_000)] = 0
    expires_after_s: Annotated[float, Meta(gt=0, le=LONGEST_INTEREST_S)] | None = None


class LoginRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A token in exchange for a cookie."""

    token: str

    def __repr__(self) -> str:
        return "LoginRequest(…)"


@frozen
class Health:
    """Whether the process answers, or the feed serves; `problems` says what keeps it from that."""

    status: str
    problems: list[str] = field(factory=list)
