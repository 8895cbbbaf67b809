"""Faults: what goes wrong, when, and with whom. Values only; the simulator makes them happen."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from heapq import merge
from random import Random

from attrs import evolve, field, frozen
from attrs.validators import ge, gt


class FaultKind(StrEnum):
    """Everything that can be made to go wrong."""

    # One instant, on live WebSockets.
    DROP = "drop"
    """The connection ends without a close frame."""
    RESET = "reset"
    """The connection is reset in the middle of a frame."""
    CLOSE = "close"
    """A close frame with `code` and `reason`."""
    HALF_OPEN = "half-open"
    """From now on nothing passes in either direction, not even pongs, and the connection stays open."""
    SHUTDOWN = "shutdown"
    """A notice now, where the venue gives one, and the end of the connection after `delay_s`."""
    MAINTENANCE = "maintenance"
    """The venue says that it pauses, pushes nothing for `duration_s`, and says that it goes on; where it says such."""
    PING_STORM = "ping-storm"
    """`count` ping frames at once."""
    MALFORMED = "malformed"
    """A text frame that is no JSON."""
    TRUNCATED = "truncated"
    """The first half of a kline message."""
    HUGE = "huge"
    """One message of `count` kilobytes."""
    INVALID_UTF8 = "invalid-utf8"
    """A text frame that is no UTF-8."""

    # For `duration_s`, on live WebSockets.
    SILENCE = "silence"
    """No pushes at all; pings and replies go on. What was silenced is lost."""
    STREAM_SILENCE = "stream-silence"
    """The stream `stream`, or one chosen at random, is silent on its live connection."""
    DELAY = "delay"
    """Messages arrive `delay_s` late, in order."""
    DUPLICATE = "duplicate"
    """Every message arrives twice."""
    REORDER = "reorder"
    """Messages arrive up to `delay_s` late, each by another delay."""
    LATE_CLOSE = "late-close"
    """Closing klines go out `delay_s` late; whatever else is pushed goes on."""
    LOST_CLOSE = "lost-close"
    """Closing klines are never sent."""

    # For `duration_s`, on control messages.
    ACK_WITHOUT_DATA = "ack-without-data"
    """SUBSCRIBE is acknowledged, and nothing ever comes."""
    LOST_ACK = "lost-ack"
    """SUBSCRIBE works, but its reply is lost."""
    LATE_ACK = "late-ack"
    """Replies come `delay_s` late."""
    REFUSE_SUBSCRIBE = "refuse-subscribe"
    """SUBSCRIBE is refused with an error."""

    # For `duration_s`, on new connections.
    REFUSE_CONNECT = "refuse-connect"
    """Every new connection is closed before a byte is read."""
    HANG_HANDSHAKE = "hang-handshake"
    """The upgrade request is read and never answered."""
    REJECT_HANDSHAKE = "reject-handshake"
    """The upgrade request is answered with HTTP `code`."""
    EARLY_EOF = "early-eof"
    """The upgrade request is read, half of its answer is written, and the connection ends: a peer that died."""

    # For `duration_s`, on REST.
    REST_TIMEOUT = "rest-timeout"
    """Requests are read and never answered."""
    REST_LIMIT = "rest-limit"
    """Told to wait `delay_s`, with HTTP `code` or what is usual at the venue."""
    REST_ERROR = "rest-error"
    """HTTP `code` or what is usual at the venue."""
    REST_TRUNCATED = "rest-truncated"
    """The body ends half way, and the connection with it."""
    REST_STALE = "rest-stale"
    """Klines are answered as they were `delay_s` ago."""

    # On the market itself.
    CORRECTION = "correction"
    """A closed minute of `symbol`, `count` minutes back, changes. REST shows it, no push does."""
    HALT = "halt"
    """`symbol`, or all, halt for `duration_s`: no trades, no rows, no closing pushes."""
    DELIST = "delist"
    """`symbol`, or one chosen at random, is delisted for good; the last one that trades never is."""


CONNECTION_WINDOWS = frozenset(
    (
        FaultKind.SILENCE,
        FaultKind.STREAM_SILENCE,
        FaultKind.DELAY,
        FaultKind.DUPLICATE,
        FaultKind.REORDER,
        FaultKind.LATE_CLOSE,
        FaultKind.LOST_CLOSE,
    )
)
VENUE_WINDOWS = frozenset(
    (
        FaultKind.ACK_WITHOUT_DATA,
        FaultKind.LOST_ACK,
        FaultKind.LATE_ACK,
        FaultKind.REFUSE_SUBSCRIBE,
        FaultKind.REFUSE_CONNECT,
        FaultKind.HANG_HANDSHAKE,
        FaultKind.REJECT_HANDSHAKE,
        FaultKind.EARLY_EOF,
        FaultKind.REST_TIMEOUT,
        FaultKind.REST_LIMIT,
        FaultKind.REST_ERROR,
        FaultKind.REST_TRUNCATED,
        FaultKind.REST_STALE,
    )
)


@frozen
class Fault:
    """One fault. What a field means to each kind is said there; `at_s` counts from the start of the simulator.

    `symbol` is the market's spelling or the venue's, `stream` a wire name.

    Faults of live connections hit `everyone`, or one connection chosen at random; without any they have no effect.
    """

    kind: FaultKind = field(converter=FaultKind)
    at_s: float = field(default=0.0, validator=ge(0))
    duration_s: float = field(default=10.0, validator=gt(0))
    delay_s: float = field(default=5.0, validator=ge(0))
    everyone: bool = True
    code: int = 0
    reason: str = ""
    count: int = field(default=1, validator=ge(1))
    symbol: str | None = None
    stream: str | None = None


@frozen
class FaultScript:
    """Timed faults, and a seeded generator of more.

    `rates` maps a template to its mean number per hour; its times are drawn from `seed`, from the start on for
    `for_s` seconds.
    """

    faults: Sequence[Fault] = ()
    rates: Sequence[tuple[Fault, float]] = ()
    seed: int = 0
    for_s: float = float("inf")

    def timeline(self) -> Iterator[Fault]:
        """Yield every fault in the order of `at_s`, possibly without end."""
        timed = sorted(self.faults, key=_at)
        drawn = [self._draw(index, template, rate) for index, (template, rate) in enumerate(self.rates)]
        return merge(timed, *drawn, key=_at)

    def _draw(self, index: int, template: Fault, per_hour: float) -> Iterator[Fault]:
        rng = Random((self.seed << 16) ^ index)
        at_s = template.at_s
        while per_hour > 0 and (at_s := at_s + rng.expovariate(per_hour / 3600)) < self.for_s:
            yield evolve(template, at_s=at_s)


def chaos(seed: int, intensity: float = 1.0, *, first_s: float = 3.0, for_s: float = 3600.0) -> FaultScript:
    """Return a script that breaks connections every few seconds, in every way a client must survive.

    Drops, silences, 1008 closes and message delays take turns, `intensity` per 1.5 seconds or so, from `first_s` on for
    `for_s` seconds. Every one is recoverable: silences and delays end, and a new connection is always accepted.
    """
    rng = Random(seed)
    faults = []
    at_s = first_s
    while at_s < first_s + for_s:
        turn = [
            Fault(FaultKind.DROP),
            Fault(FaultKind.SILENCE, duration_s=rng.uniform(1.5, 4.0)),
            Fault(FaultKind.CLOSE, code=1008, reason="Too many requests"),
            Fault(FaultKind.DELAY, duration_s=rng.uniform(2.0, 4.0), delay_s=rng.uniform(0.5, 2.5)),
        ]
        rng.shuffle(turn)
        for fault in turn:
            faults.append(evolve(fault, at_s=at_s, everyone=rng.random() < 0.7))
            at_s += rng.uniform(1.0, 2.0) / intensity
    return FaultScript(faults=tuple(faults))


def rates(per_hour: Mapping[FaultKind, float]) -> tuple[tuple[Fault, float], ...]:
    """Return `per_hour` as the rates of a script, with every fault at its defaults and for one connection only."""
    return tuple((Fault(kind, everyone=False), rate) for kind, rate in per_hour.items())


def _at(fault: Fault) -> float:
    return fault.at_s
