"""What a simulated venue says and understands: the border between the simulator and one venue's language.

The simulator listens, keeps time, pushes, counts and misbehaves; it knows no message of any venue. A venue is

- its `Rules`: cadences and limits, as data, and `Rules.dialect`, which makes
- its `Dialect`: REST, and which upgrade requests become WebSockets, each of which is given
- a `Session`: the venue's side of that one connection.

All of this is synchronous and sans-IO: no clock, no randomness, no sockets. Whatever depends on the time is told it in
UTC milliseconds; whatever must differ from connection to connection is made from the connection's number. So runs with
equal seeds are equal.

A stream has a *wire name*: the text that stands for it in the venue's messages, or is made of what stands there. It is
what `Session.names` holds and what faults and observers call the stream. A *channel* is a wire name behind which there
are candles. A wire name may be subscribed without being a channel: nothing ever comes of it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterable, Mapping
from typing import Any, ClassVar

from attrs import frozen

from candleactors.sim.candles import Row, Series


@frozen
class Answer:
    """One HTTP answer."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes


@frozen
class Close:
    """A close frame."""

    code: int
    reason: str = ""


@frozen
class Channel:
    """Candles under a wire name. `symbol` is the venue's spelling; the market's is ``series.tape.spec.symbol``.

    Equal channels share what is pushed, as far as `Session.framing` lets them. `Market.series` gives the same series
    for the same symbol and timeframe each time.
    """

    name: str
    symbol: str
    series: Series


@frozen
class Request:
    """A message of the client that the venue can carry out. `method` is the venue's word, `id` what it echoes."""

    method: str
    id: Any = None
    params: tuple[Any, ...] = ()

    @property
    def subscribes(self) -> bool:
        """Whether it asks for streams. All venues use the same word, in one case or the other."""
        return self.method.lower() == "subscribe"

    @property
    def words(self) -> str:
        """What it asks, in words for observers."""
        names = f"{len(self.params)} names " if self.method.lower() in ("subscribe", "unsubscribe") else ""
        return f"{self.method} {names}id {self.id}"


@frozen
class Refusal:
    """A message of the client that the venue does not carry out.

    `why` is for observers. `replies` are what the venue says, nothing where it just ignores the message; `close` is how
    it ends the connection after that, if it does.
    """

    why: str
    replies: tuple[str, ...] = ()
    id: Any = None
    close: Close | None = None


@frozen
class Keepalive:
    """A message of the client that only shows that it lives, such as a ping in JSON. Answered whatever goes wrong."""

    replies: tuple[str, ...]


@frozen
class Granted:
    """What a request changed: wire names newly subscribed and unsubscribed, and the replies, in order.

    Where a venue answers each name by itself, the replies may be refusals of some; `words` tells observers.
    """

    replies: tuple[str, ...]
    subscribed: tuple[str, ...] = ()
    unsubscribed: tuple[str, ...] = ()
    words: str = "ok"


class Session(ABC):
    """The venue's side of one WebSocket connection: its subscriptions, its replies, and how it says a candle.

    For each message of the client, `parse` is called, and then `grant` if a `Request` came of it (or `refuse`, while
    the fault `refuse-subscribe` is going on). Limits that the venue answers with an error, on the number of names or
    their total length, are `parse`'s business; one that makes it close the connection is `Rules.max_streams`.
    """

    def __init__(self, names: Iterable[str] = ()) -> None:
        """Start with the wire names that the upgrade request asked for."""
        self.names: dict[str, None] = dict.fromkeys(names)
        """The wire names subscribed, in the order in which they were."""

    def greeting(self, now_ms: int) -> tuple[str, ...]:
        """Return what the venue says right after it accepted the connection."""
        return ()

    @abstractmethod
    def parse(self, text: str, now_ms: int) -> Request | Refusal | Keepalive:
        """Return what `text`, any text, means to the venue. Changes no subscription."""

    @abstractmethod
    def grant(self, request: Request) -> Granted:
        """Carry out `request`, just parsed, and return what changed."""

    @abstractmethod
    def refuse(self, request: Request) -> Refusal:
        """Return how the venue refuses `request`, although nothing is wrong with it."""

    @abstractmethod
    def channel(self, name: str) -> Channel | None:
        """Return what the wire name stands for on this connection; ``None`` where nothing is ever pushed.

        Depends on nothing but the name: it is asked after an unsubscription as well. Names of symbols that are not
        listed yet have a channel.
        """

    @abstractmethod
    def kline(self, channel: Channel, row: Row, event_ms: int, *, closed: bool) -> str:
        """Return the message that says `row`. `closed`: the venue says no more about it, but for corrections."""

    def framing(self, name: str) -> Hashable:
        """Return what tells the messages of this session apart from those of others about an equal channel.

        Sessions for which this is equal share one encoded frame; by default, all of them.
        """
        return None

    def snapshot(self, channel: Channel, now_ms: int) -> str | None:
        """Return what is pushed at once on a new subscription, after its reply."""
        return None

    def heartbeat(self, channel: Channel, now_ms: int) -> str | None:
        """Return what is pushed when nothing else was for `Rules.heartbeat_s`."""
        return None

    def maintenance(self) -> tuple[str, str] | None:
        """Return the notices that the venue pauses and that it goes on, where it gives such."""
        return None

    def farewell(self, now_ms: int) -> str | None:
        """Return the notice that the connection is about to end, where the venue gives one."""
        return None


class Dialect(ABC):
    """One venue's language over a market. Keeps what concerns all of its clients, such as limits of REST.

    Rules that clients break are counted by `Counters.violation`.
    """

    malformed: ClassVar[bytes]
    """What the fault of this name sends: nearly a candle, but no JSON."""
    truncated: ClassVar[bytes]
    """What the fault of this name sends: the first half of a candle."""

    symbols: Mapping[str, str]
    """The venue's spelling of every symbol it has, or will list, to the market's. Several may name the same one."""

    @abstractmethod
    def open(self, target: str, number: int) -> Session | None:
        """Return the session of connection `number`, asked for at `target` (path and query); ``None`` for a 404."""

    @abstractmethod
    def answer(self, method: str, target: str, now_ms: int, *, lag_ms: int = 0) -> Answer:
        """Return the answer to one REST request. Candles are told as they were `lag_ms` ago."""

    @abstractmethod
    def limited(self, code: int, wait_s: float, now_ms: int) -> Answer:
        """Return an answer that tells the client to wait `wait_s`, for no reason. `code` 0: the venue's usual one.

        Requests before that are violations of `told_to_wait`.
        """

    @abstractmethod
    def failed(self, code: int) -> Answer:
        """Return an answer that says that the venue itself failed. `code` 0: the venue's usual one."""

    def market_symbol(self, symbol: str) -> str:
        """Return the market's spelling of `symbol`, which may be the market's or the venue's."""
        return self.symbols.get(symbol, symbol)
