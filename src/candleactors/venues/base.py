"""What every venue's codec provides. Sans-IO: values in, bytes out, and back.

A codec is stateless and synchronous: it never reads a clock, never logs, never does I/O. Everything that differs
between venues lives behind this protocol or, as data, in `VenueRules`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, TypeAlias

from attrs import define, field, frozen

from candleactors.errors import MalformedMessage
from candleactors.model import Candle, Stream, Timeframe


@frozen
class Endpoints:
    """Base URLs of a venue: ``wss://host[:port]`` and ``https://host[:port]``, without path."""

    websocket: str
    rest: str


@frozen
class VenueRules:
    """A venue's limits and liveness rules as data. Sources are cited beside each codec."""

    venue: str
    title: str
    docs_url: str
    endpoints: Endpoints
    testnet: Endpoints
    timeframes: tuple[Timeframe, ...]
    """Native timeframes, shortest first."""
    max_streams_per_connection: int
    max_names_per_request: int
    lifetime_s: float | None
    """Seconds after which the venue closes every connection."""
    messages_per_s: float
    """Messages a client may send per second on one connection, pings and pongs included."""
    connects: int
    connects_window_s: float
    """At most `connects` connection attempts per address in any `connects_window_s`."""
    server_ping_s: float | None
    """Seconds between the venue's ping frames; ``None`` where it sends none."""
    rest_weight_per_minute: int
    klines_limit: int
    """Most rows of one REST answer."""
    drifting: frozenset[Timeframe] = frozenset()
    """Native timeframes that begin on another day for each symbol, so that they cannot be made from shorter ones."""
    assumed: frozenset[str] = frozenset()
    """Limits named here are not documented by the venue: they are our defaults, which settings may exceed."""


@frozen
class RestRequest:
    """A GET request relative to the REST base URL. `weight` is its cost in the venue's own budget."""

    path: str
    params: tuple[tuple[str, str], ...] = ()
    weight: int = 1


class WireCandle(Protocol):
    """A forming candle as it came off the wire: cheap to hold, cheap to drop, converted only when delivered."""

    @property
    def open_time_ms(self) -> int: ...

    @property
    def event_time_ms(self) -> int:
        """The venue's clock when it sent the message."""
        ...

    def to_candle(self, stream: Stream, received_ms: int) -> Candle:
        """Return the exact candle; raises `MalformedMessage` where a value is no number or impossible."""
        ...


@frozen
class Acked:
    """The venue accepted the control request `request_id`."""

    request_id: int


@frozen
class Refused:
    """The venue refused a control request; `request_id` is ``None`` where the error names none."""

    request_id: int | None
    code: int
    message: str


@frozen
class Listed:
    """The venue's own list of the connection's subscriptions, by wire name."""

    request_id: int
    names: tuple[str, ...]


@frozen
class ClosingSoon:
    """The venue announced that it will close this connection."""


Reply: TypeAlias = Acked | Refused | Listed


@define
class Decoded:
    """One batch of messages, decoded. Open candles are conflated: the newest of each stream, by wire name.

    `closed` keeps arrival order. A stream's open candle in `open` is newer than its closed ones in `closed` exactly
    if it opens later.
    """

    open: dict[str, WireCandle] = field(factory=dict)
    closed: list[tuple[str, Candle]] = field(factory=list)
    replies: list[Reply] = field(factory=list)
    closing_soon: bool = False
    rejected: list[MalformedMessage] = field(factory=list)
    ignored: int = 0
    """Valid messages nobody asked for: other event kinds, names not subscribed."""
    messages: int = 0


class Codec(Protocol):
    """The dialect of one venue."""

    @property
    def rules(self) -> VenueRules: ...

    def websocket_url(self, base: str) -> str:
        """Return the URL to connect to; streams are subscribed by message afterwards."""
        ...

    def stream_name(self, stream: Stream) -> str:
        """Return the wire name of `stream`, the key of every map by name in `Decoded`.

        Raises `InvalidSymbol` or `InvalidTimeframe` where the venue can have no such stream.
        """
        ...

    def subscribe(self, request_id: int, names: Sequence[str]) -> bytes:
        """Return the text frame that subscribes `names`."""
        ...

    def unsubscribe(self, request_id: int, names: Sequence[str]) -> bytes:
        """Return the text frame that unsubscribes `names`."""
        ...

    def list_subscriptions(self, request_id: int) -> bytes | None:
        """Return the text frame that asks for the venue's list, or ``None`` where it cannot list."""
        ...

    def decode(self, frames: Sequence[bytes], streams: Mapping[str, Stream], received_ms: int) -> Decoded:
        """Return what `frames`, one text message each, say about `streams` (wire name to stream).

        Never raises for any bytes: what is not valid ends in `Decoded.rejected`.
        """
        ...

    def klines(self, stream: Stream, start_ms: int | None, end_ms: int | None, limit: int) -> RestRequest:
        """Return the request for at most `limit` rows opening in [`start_ms`, `end_ms`], ends optional."""
        ...

    def parse_klines(self, stream: Stream, body: bytes, venue_now_ms: int, received_ms: int) -> list[Candle]:
        """Return the rows ascending by open time, each `closed` only if its interval is over at `venue_now_ms`.

        Raises `MalformedMessage` if any row is not valid: half an answer is no answer.
        """
        ...

    def server_time(self) -> RestRequest:
        """Return the request for the venue's clock."""
        ...

    def parse_server_time(self, body: bytes) -> int:
        """Return the venue's clock in ms; raises `MalformedMessage`."""
        ...

    def symbols(self) -> RestRequest:
        """Return the request for the list of symbols."""
        ...

    def parse_symbols(self, body: bytes) -> dict[str, bool]:
        """Return every symbol the venue knows and whether it trades now; raises `MalformedMessage`."""
        ...

    def check_answer(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        """Raise what a REST answer other than success means.

        `RateLimited` for 429, 418 and a firewall's ban, `RequestFailed` for 5xx and unreadable answers, `InvalidSymbol`
        for a symbol the venue does not know, `VenueError` for every other refusal. Header names are lower case.
        """
        ...

    def used_weight(self, headers: Mapping[str, str]) -> int | None:
        """Return the weight used in the current minute as the venue counts it, where the answer says so."""
        ...


CodecFactory: TypeAlias = Callable[[], Codec]
