"""What every venue's codec provides. Sans-IO: values in, bytes out, and back.

A `Codec` is stateless; what a dialect has to remember of one connection (channel numbers, rows that are not closed
yet) lives in a `Session`, made anew for each connection. Both are synchronous: they never read a clock, never log,
never do I/O. Everything that differs between venues lives behind these protocols or, as data, in `VenueRules`.

``docs/how-to/add-a-venue.md`` leads through writing one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from typing import Protocol, TypeAlias

from attrs import define, field, frozen

from candleactors.errors import InvalidTimeframe, MalformedMessage, excerpt
from candleactors.model import Candle, Stream, Ticker, Timeframe


@frozen
class Endpoints:
    """Base URLs of a venue: ``wss://host[:port]`` and ``https://host[:port]``, without path."""

    websocket: str
    rest: str
    rest_headers: tuple[tuple[str, str], ...] = ()
    """Sent with every REST request, where the venue tells its networks apart by them."""


@frozen
class Keepalive:
    """Messages of our own (`Session.ping`) without which the venue ends a connection."""

    interval_s: float
    only_idle: bool = False
    """Only once nothing has arrived for `interval_s`, instead of always so often."""


class Closes(StrEnum):
    """How a venue says that a candle is closed."""

    FLAGGED = "flagged"
    """By a flag in the message."""
    INFERRED = "inferred"
    """Not at all: the session infers it, and REST confirms it afterwards."""


@frozen
class VenueRules:
    """A venue's limits and liveness rules as data. Sources are cited beside each codec."""

    venue: str
    title: str
    docs_url: str
    endpoints: Endpoints
    testnet: Endpoints | None
    """``None`` where the venue has no test network."""
    markets: tuple[str, ...]
    """What is traded there: ``spot``, ``swap`` (perpetual futures)."""
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
    rest_weight: int
    rest_window_s: float
    """At most `rest_weight` in any `rest_window_s`; what a request weighs is said by `RestRequest.weight`."""
    klines_limit: int
    """Most rows of one REST answer."""
    newest_limit: int | None = None
    """Most of the newest rows, asked for without a start, where those may be more."""
    server_ping_s: float | None = None
    """Seconds between the venue's ping frames; ``None`` where it sends none."""
    keepalive: Keepalive | None = None
    names_per_connection: int | None = None
    names_window_s: float = 3600.0
    """At most `names_per_connection` names subscribed or unsubscribed on one connection in any `names_window_s`."""
    max_characters_per_connection: int | None = None
    """Of the names subscribed, as they are written in requests; `max_streams_per_connection` keeps within it."""
    max_request_bytes: int | None = None
    """Of one subscription request; `max_names_per_request` keeps within it."""
    closes: Closes = Closes.FLAGGED
    close_lag_s: float = 0.0
    """How long after its boundary a closed candle of a quiet market may come although nothing is wrong."""
    skips_empty: bool = False
    """Whether intervals without trades have no candle at all, so that they are filled here."""
    heartbeat_s: float | None = None
    """Seconds after which a stream says at least that it lives, see `Decoded.alive`; ``None``: quiet ones do not."""
    windowed_klines: bool = False
    """Whether an answer from a start on covers only so many intervals as rows were asked for (`Timeframe.advance`)."""
    lists_subscriptions: bool = False
    gives: frozenset[str] = frozenset({"volume"})
    """The amounts of a candle that the venue gives, by the names of `Candle`'s fields; the others are ``None``."""
    drifting: frozenset[Timeframe] = frozenset()
    """Native timeframes that begin on another day for each symbol, so that they cannot be made from shorter ones."""
    assumed: frozenset[str] = frozenset()
    """Limits named here are not documented by the venue: they are our defaults, which settings may exceed."""

    def check_timeframe(self, timeframe: Timeframe) -> None:
        """Raise `InvalidTimeframe`, naming one of the same length, unless the venue has `timeframe` natively."""
        if timeframe not in self.timeframes:
            alike = [t.text for t in self.timeframes if t.duration_ms and t.duration_ms == timeframe.duration_ms]
            raise InvalidTimeframe(f'{self.title} has no timeframe "{timeframe}"', nearest=alike[0] if alike else None)


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
        """The venue's clock when it sent the message; the open time where the venue does not say."""
        ...

    @property
    def traded(self) -> float:
        """About how much was traded by then, which only grows; 0 will do where the event time is known."""
        ...

    def to_candle(self, stream: Stream, received_ms: int) -> Candle:
        """Return the exact candle; raises `MalformedMessage` where a value is no number or impossible."""
        ...


def is_newer(one: WireCandle, other: WireCandle) -> bool:
    """Whether `one` says more of its stream than `other`: it opens later, or was sent later."""
    return (one.open_time_ms, one.event_time_ms) > (other.open_time_ms, other.event_time_ms)


@frozen
class Instrument:
    """Something that a venue trades.

    `symbol` is the venue's own spelling, the one that streams carry; `unified` is the field's common one: ``BTC/USDT``,
    ``BTC/USDT:USDT`` for a perpetual future settled in USDT. See `candleactors.venues.unified`.
    """

    symbol: str
    unified: str
    trades: bool
    """Whether it trades now."""


@frozen
class InstrumentPage:
    """One answer about a venue's instruments; `next` is what to ask for the next one with, ``None`` at the end."""

    instruments: tuple[Instrument, ...]
    next: str | None = None


@frozen
class Acked:
    """The venue accepted a control request: all its names, or only `names` where it says so.

    `request_id` is ``None`` where the answer does not repeat it; then `names` say which request is meant, or, without
    them, it is the only one in flight.
    """

    request_id: int | None
    names: tuple[str, ...] | None = None


@frozen
class Refused:
    """The venue refused a control request, or some of its names; `request_id` is ``None`` where the error names none.

    `names` are the culprits where the error says who they are, an empty tuple where it is none of them.
    """

    request_id: int | None
    code: int
    message: str
    names: tuple[str, ...] | None = None
    voids: bool = True
    """Whether the names that are no culprits have to be asked for again; else their own answers follow."""
    passing: bool = False
    """Whether the venue refused because of the moment (too many, too often), not because of the names."""


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
    alive: dict[str, None] = field(factory=dict)
    """Streams whose subscription proved to be alive without anything new to say, by wire name."""
    closing_soon: bool = False
    rejected: list[MalformedMessage] = field(factory=list)
    ignored: int = 0
    """Valid messages nobody asked for: other event kinds, names not subscribed."""
    messages: int = 0

    def reject(self, error: MalformedMessage | ValueError, frame: bytes) -> None:
        """Note that `frame` is not valid, and why."""
        problem = error.problem if isinstance(error, MalformedMessage) else excerpt(str(error))
        self.rejected.append(MalformedMessage(problem, frame))


class Session(Protocol):
    """One connection's side of a venue's dialect. Made by `Codec.session`, used by one connection, then forgotten."""

    def opening(self) -> Sequence[bytes]:
        """Return the text frames to send before anything else."""
        ...

    def subscribe(self, request_id: int, names: Sequence[str]) -> bytes:
        """Return the text frame that subscribes `names`, at most `VenueRules.max_names_per_request`."""
        ...

    def unsubscribe(self, request_id: int, names: Sequence[str]) -> bytes | None:
        """Return the text frame that unsubscribes `names`; ``None`` where the venue carries none of them here."""
        ...

    def list_subscriptions(self, request_id: int) -> bytes | None:
        """Return the text frame that asks for the venue's list, or ``None`` where it cannot list."""
        ...

    def ping(self) -> bytes | None:
        """Return the text frame that asks for a sign of life, ``None`` where the venue wants ping frames instead."""
        ...

    def decode(self, frames: Sequence[bytes], streams: Mapping[str, Stream], received_ms: int) -> Decoded:
        """Return what `frames`, one text message each, say about `streams` (wire name to stream).

        A batch says what its frames say one by one; where closes are inferred, of an interval that closes twice in it
        the last word counts. Where the venue skips empty intervals, their closed candles may be filled in here.

        Never raises for any bytes: what is not valid ends in `Decoded.rejected`.
        """
        ...


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

    def session(self) -> Session:
        """Return the state of a new connection."""
        ...

    def klines(
        self, stream: Stream, start_ms: int | None, end_ms: int | None, limit: int, now_ms: int | None = None
    ) -> RestRequest:
        """Return the request for at most `limit` rows opening in [`start_ms`, `end_ms`], ends optional.

        `now_ms` is the venue's clock, for venues that keep old rows elsewhere than new ones.
        """
        ...

    def parse_klines(self, stream: Stream, body: bytes, venue_now_ms: int, received_ms: int) -> list[Candle]:
        """Return the rows ascending by open time, each `closed` only if its interval is over at `venue_now_ms`.

        In the body they stand as the venue sorts them; in any other order, or twice, they are not valid.

        Raises `MalformedMessage` if any row is not valid: half an answer is no answer.
        """
        ...

    def server_time(self) -> RestRequest:
        """Return the request for the venue's clock."""
        ...

    def parse_server_time(self, headers: Mapping[str, str], body: bytes) -> int:
        """Return the venue's clock in ms; raises `MalformedMessage`. Header names are lower case."""
        ...

    def instruments(self, page: str | None = None) -> RestRequest:
        """Return the request for the list of instruments, or for a further `page` of it."""
        ...

    def parse_instruments(self, body: bytes, page: str | None = None) -> InstrumentPage:
        """Return the instruments of one answer, to the request for `page`; raises `MalformedMessage`."""
        ...

    def tickers(self) -> tuple[RestRequest, ...]:
        """Return the requests for the last 24 hours of every symbol."""
        ...

    def parse_tickers(self, body: bytes) -> list[Ticker]:
        """Return the tickers of one of these answers, in the venue's order; raises `MalformedMessage`."""
        ...

    def check_answer(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        """Raise what a REST answer other than success means, whatever its HTTP status.

        `RateLimited` for 429, 418 and a firewall's ban, `RequestFailed` for 5xx and unreadable answers, `InvalidSymbol`
        for a symbol the venue does not know, `VenueError` for every other refusal. Header names are lower case.
        """
        ...

    def used_weight(self, headers: Mapping[str, str]) -> int | None:
        """Return the weight used in the current window as the venue counts it, where the answer says so."""
        ...


CodecFactory: TypeAlias = Callable[[], Codec]
