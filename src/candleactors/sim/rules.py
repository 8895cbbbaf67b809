"""A simulated venue's limits and cadences, all as data that a test may change with `attrs.evolve`."""

from __future__ import annotations

from abc import ABC, abstractmethod

from attrs import field, frozen
from attrs.validators import ge, gt, optional

from candleactors.model import Timeframe
from candleactors.sim.candles import AMOUNTS
from candleactors.sim.counters import Counters
from candleactors.sim.dialect import Close, Dialect
from candleactors.sim.market import Market
from candleactors.sim.tape import SymbolSpec


@frozen(kw_only=True)
class Idleness:
    """When the venue ends a connection on which nothing happens.

    That is `after_s` seconds after it was opened or last heard of: by a message, ping or pong `received` from the
    client, or by a message, ping or pong `sent` to it. With `unless_subscribed`, never while there is a subscription.
    """

    after_s: float = field(validator=gt(0))
    received: bool = True
    sent: bool = False
    unless_subscribed: bool = False
    close: Close | None = None
    """``None`` drops the connection without a close frame."""


@frozen(kw_only=True)
class Rules(ABC):
    """What one venue allows and how it behaves. Durations are seconds, pushes are milliseconds.

    This is what the simulator itself goes by; each venue adds its own, and says by `dialect` who speaks for it.
    """

    name: str
    timeframes: tuple[Timeframe, ...]

    gives: frozenset[str] = frozenset(AMOUNTS)
    """The amounts of a candle that the venue tells besides the volume."""
    flat_rows: bool = True
    """Whether intervals without trades have a candle at all. Where not, nobody can tell an outage from them."""

    push_ms: int = field(validator=gt(0))
    """Cadence at which a running candle is pushed, if it changed."""
    second_push_ms: int = field(default=1_000, validator=gt(0))
    """Cadence of the ``1s`` timeframe."""
    close_lag_ms: int = field(default=2, validator=ge(1))
    """Milliseconds after the last one of an interval at which its closing push goes out."""
    closing_push: bool = True
    """Whether every interval ends with a push of its own.

    Otherwise its last update takes that place, at the same time, if it was not pushed before; faults that concern
    closing klines concern that one.
    """
    flat_pushes: bool = True
    """Whether intervals without trades are pushed."""
    previous_again: int = field(default=0, validator=ge(0))
    """So many of the first updates of a candle are followed by the previous one, as it is then."""
    repeat_s: float | None = field(default=None, validator=optional(gt(0)))
    """A running candle is pushed unchanged, flat or not, if nothing was on its channel for so long."""
    heartbeat_s: float | None = field(default=None, validator=optional(gt(0)))
    """Seconds without a push after which a session's heartbeat goes out on a channel."""

    ping_s: float | None = field(default=None, validator=optional(gt(0)))
    """Seconds between ping frames; ``None``: the venue sends none."""
    pong_timeout_s: float = field(default=60.0, validator=gt(0))
    idleness: Idleness | None = None
    lifetime_s: float | None = field(default=None, validator=optional(gt(0)))
    lifetime_close: int | None = 1001
    """Close code at the end of `lifetime_s`; ``None`` drops the connection without a close frame."""
    close_grace_s: float = field(default=5.0, validator=gt(0))
    """How long the venue waits for the client's half of a closing handshake."""

    messages_per_s: int | None = field(default=None, validator=optional(gt(0)))
    max_streams: int | None = field(default=None, validator=optional(gt(0)))
    """Subscriptions beyond which the venue ends the connection with `max_streams_close`.

    ``None`` where it allows any number, or refuses those beyond.
    """
    max_streams_close: Close = field(default=Close(1008, "subscribed channels exceeds limit"))
    max_message_bytes: int = field(default=1 << 17, validator=gt(0))
    max_target_bytes: int = field(default=8004, validator=gt(0))
    """Longest request target (path and query) accepted."""
    connects: int = field(default=300, validator=gt(0))
    connects_window_s: float = field(default=300.0, validator=gt(0))
    send_buffer_bytes: int = field(default=4 << 20, validator=gt(0))
    """Unsent bytes at which a client that does not read is dropped."""
    http_idle_s: float = field(default=60.0, validator=gt(0))

    @abstractmethod
    def serves(self, spec: SymbolSpec) -> bool:
        """Whether the venue has this symbol of the market."""

    @abstractmethod
    def dialect(self, market: Market, counters: Counters) -> Dialect:
        """Return who speaks for the venue, with nothing of REST used up yet."""
