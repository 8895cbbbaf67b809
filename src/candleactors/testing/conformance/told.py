"""What was told: the content of a `Decoded`, checked, in a form that can be compared."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from attrs import frozen

from candleactors.errors import MalformedMessage
from candleactors.model import Candle, Source, Stream
from candleactors.testing.conformance.rule import broken, require, shown
from candleactors.testing.conformance.subject import RECEIVED_MS
from candleactors.venues.base import Acked, Decoded, Listed, Refused, Session, VenueRules, WireCandle
from candleactors.venues.candles import is_open_time

_AMOUNTS = ("volume", "quote_volume", "trades", "taker_buy_volume", "taker_buy_quote_volume")


@frozen
class Told:
    """A `Decoded` in values; `open` holds a candle, or the problem with it, by wire name."""

    open: dict[str, Candle | str]
    closed: list[tuple[str, Candle]]
    replies: list[Any]
    alive: list[str]
    closing_soon: bool
    rejected: int
    ignored: int
    messages: int

    @property
    def newest(self) -> dict[str, Candle | str]:
        """The open candles that are later than the closed ones of their stream; the others say nothing new."""
        last = {name: candle.open_time_ms for name, candle in self.closed}
        return {
            name: candle
            for name, candle in self.open.items()
            if isinstance(candle, str) or candle.open_time_ms > last.get(name, -1)
        }

    @property
    def nothing(self) -> bool:
        """Whether no candle came of it."""
        return not (self.open or self.closed)


def told(decoded: Decoded, watched: Mapping[str, Stream]) -> Told:
    """Return the content of `decoded`."""
    return Told(
        {name: _converted(wire, watched[name]) for name, wire in decoded.open.items() if name in watched},
        list(decoded.closed),
        list(decoded.replies),
        list(decoded.alive),
        decoded.closing_soon,
        len(decoded.rejected),
        decoded.ignored,
        decoded.messages,
    )


def check_decoded(decoded: Decoded, frames: int, watched: Mapping[str, Stream], rules: VenueRules) -> None:
    """Check everything that holds for whatever `decode` returns, whatever it was given."""
    require(isinstance(decoded, Decoded), f"decode returns {shown(decoded)}", Session.decode)
    require(
        decoded.messages == frames,
        f"{frames} frames are counted as {decoded.messages} messages",
        Decoded,
        "`messages`: every frame counts once, whatever it holds",
    )
    require(decoded.ignored >= 0, f"ignored is {decoded.ignored}", Decoded)
    for problem in decoded.rejected:
        require(isinstance(problem, MalformedMessage), f"rejected holds {shown(problem)}", Session.decode)
    for reply in decoded.replies:
        require(isinstance(reply, Acked | Refused | Listed), f"replies hold {shown(reply)}", Decoded)
    for name in (*decoded.open, *decoded.alive, *(name for name, _ in decoded.closed)):
        if name not in watched:
            broken(
                f'something is told of "{name}", which is not among `streams`',
                Session.decode,
                "return what `frames` say about `streams`; names not subscribed are counted in `Decoded.ignored`",
            )
    for name, candle in decoded.closed:
        check_candle(candle, watched[name], rules, _source(candle, rules), Session.decode)
        require(candle.closed, f"an open candle among the closed ones: {shown(candle)}", Session.decode)
    for name, wire in decoded.open.items():
        _check_open(wire, watched[name], rules)


def _source(candle: object, rules: VenueRules) -> Source:
    """Return where a closed candle has to come from: a session that infers may know that an interval had no trades."""
    is_filled = isinstance(candle, Candle) and candle.source is Source.FILLED and candle.volume == 0
    return Source.FILLED if is_filled and rules.skips_empty else Source.WS


def check_candle(candle: object, stream: Stream, rules: VenueRules, source: Source, stated: Any) -> None:
    """Check what holds for every candle that a codec makes."""
    if not isinstance(candle, Candle):
        broken(f"{shown(candle)} is no Candle", stated)
    require(candle.stream == stream, f"a candle of {candle.stream} is said to be one of {stream}", stated)
    frame, open_ms = stream.timeframe, candle.open_time_ms
    require(
        type(open_ms) is int and is_open_time(frame, open_ms),
        f"no candle of {frame} opens at {open_ms}",
        is_open_time,
    )
    require(
        candle.close_time_ms == frame.close_ms(open_ms),
        f"the candle of {frame} at {open_ms} closes at {candle.close_time_ms}, not {frame.close_ms(open_ms)}",
        Candle,
    )
    for name in ("open", "high", "low", "close", *_AMOUNTS):
        value = getattr(candle, name)
        kind = int if name == "trades" else Decimal
        if value is None and source is Source.FILLED and name != "volume":
            continue
        if name in _AMOUNTS and name not in rules.gives:
            says = "`gives`: the amounts of a candle that the venue gives; the others are `None`"
            require(value is None, f"{name} is {value!r} and not in `VenueRules.gives`", VenueRules, says)
        else:
            says = "prices and amounts are exact decimals, the number of trades is an integer"
            require(type(value) is kind, f"{name} is {value!r}, no {kind.__name__}", Candle, says)
    problem = candle.problem()
    require(problem is None, f"an impossible candle, {problem}: {shown(candle)}", Candle.problem)
    require(candle.source is source, f"the source is {candle.source!r}, not {source!r}", stated)
    is_plain = candle.revision == 0 and candle.complete and candle.missing == 0
    require(is_plain, f"a venue's candle is complete, and no revision: {shown(candle)}", Candle)
    require(
        candle.received_ms == RECEIVED_MS,
        f"received_ms is {candle.received_ms}, not the {RECEIVED_MS} that was given",
        stated,
        "`received_ms` goes into every candle: our own clock's time of receipt",
    )


def _check_open(wire: WireCandle, stream: Stream, rules: VenueRules) -> None:
    for name in ("open_time_ms", "event_time_ms"):
        value = getattr(wire, name)
        require(type(value) is int, f"{name} of an open candle is {value!r}, no integer", WireCandle)
    traded = wire.traded
    is_amount = isinstance(traded, int | float) and traded >= 0
    require(is_amount, f"traded of an open candle is {traded!r}, no amount", WireCandle)
    try:
        candle = wire.to_candle(stream, RECEIVED_MS)
    except MalformedMessage:
        return
    except Exception as error:
        broken(f"to_candle raises {type(error).__name__}: {error}", WireCandle.to_candle)
    check_candle(candle, stream, rules, Source.WS, WireCandle.to_candle)
    require(not candle.closed, f"an open candle becomes a closed one: {shown(candle)}", WireCandle.to_candle)
    require(
        candle.open_time_ms == wire.open_time_ms,
        f"an open candle of {wire.open_time_ms} becomes one of {candle.open_time_ms}",
        WireCandle.to_candle,
    )


def _converted(wire: WireCandle, stream: Stream) -> Candle | str:
    try:
        return wire.to_candle(stream, RECEIVED_MS)
    except MalformedMessage as error:
        return error.problem
