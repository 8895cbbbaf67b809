"""Delivered: the last candles that went out of one stream, what contradicts them, and what corrects them.

A closed candle that contradicts one already delivered is not believed on sight, since messages are re-sent and REST
replicas lag: it becomes a *doubt*, and the correction goes out once REST has said the same again.

A candle filled in for an interval without trades repeats the close before it: when that is corrected, so is the
filled one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from enum import Enum, auto

from attrs import frozen

from candleactors.core.filling import flat_candle
from candleactors.model import HOUR_MS, Candle, Source, Stream, Timeframe

_REMEMBERED_MS = HOUR_MS
_MIN_REMEMBERED = 4
_MAX_REMEMBERED = 180


class Verdict(Enum):
    """What a closed candle says about what was delivered for its interval."""

    FORGOTTEN = auto()
    """Nothing: that was too long ago."""
    SAME = auto()
    DOUBT = auto()
    """Something else, which REST has to say again."""
    UNSETTLED = auto()
    """Something else, but the copy may be outdated."""
    REFUTED = auto()
    """Something else for the second time: it is to be corrected."""


@frozen
class Told:
    """What was said of one interval."""

    fingerprint: int
    revision: int
    filled: bool


class Delivered:
    """See the module's description. Synchronous; remembers at most `remembered` candles, and those in doubt.

    `recent` are stored candles, ascending; `told` is what an earlier one remembered, which counts for more.
    """

    __slots__ = ("_doubts", "_last_ms", "_most", "_stream", "_told", "close")

    def __init__(self, stream: Stream, recent: Iterable[Candle] = (), told: Mapping[int, Told] | None = None) -> None:
        self.close: Decimal | None = None
        """Of the last interval before the next one expected; ``None`` where that is not known."""
        self._stream = stream
        self._most = remembered(stream.timeframe)
        known = {candle.open_time_ms: _told(candle) for candle in recent} | dict(told or {})
        self._told = dict(sorted(known.items())[-self._most :])
        self._doubts: dict[int, int] = {}  # open time: fingerprint that contradicts what was delivered
        self._last_ms: int | None = max(self._told, default=None)  # of what `close` is

    def __len__(self) -> int:
        return len(self._told)

    @property
    def told(self) -> dict[int, Told]:
        """What is remembered, by open time: a copy."""
        return dict(self._told)

    @property
    def first_ms(self) -> int | None:
        """The earliest open time remembered."""
        return min(self._told, default=None)

    @property
    def doubted_ms(self) -> int | None:
        """The earliest open time in doubt."""
        return min(self._doubts, default=None)

    def add(self, candle: Candle) -> None:
        """Take notice that `candle` was delivered, the next in order."""
        self._note(candle)
        self._last_ms, self.close = candle.open_time_ms, candle.close

    def lose_track(self) -> None:
        """Take notice that trades may have been passed over: the last close is not known any more."""
        self._last_ms = self.close = None

    def compare(self, candle: Candle, lagging_ms: int | None = None) -> Verdict:
        """Say what a closed candle means for the one delivered, and doubt that if need be.

        `lagging_ms` is given for a row from REST: what is not older may still be an outdated copy.
        """
        open_ms = candle.open_time_ms
        told = self._told.get(open_ms)
        if told is None:
            return Verdict.FORGOTTEN
        said = fingerprint(candle)
        if said == told.fingerprint:
            if lagging_ms is not None:
                self._doubts.pop(open_ms, None)
            return Verdict.SAME
        if lagging_ms is not None and self._doubts.get(open_ms) == said:
            return Verdict.REFUTED
        if lagging_ms is None or open_ms in self._doubts or candle.close_time_ms < lagging_ms:
            self._doubts[open_ms] = said
            return Verdict.DOUBT
        return Verdict.UNSETTLED

    def dismiss(self, first_ms: int, until_ms: int, shown: Iterable[int]) -> None:
        """Drop the doubts about intervals that open in [`first_ms`, `until_ms`), those of `shown` aside.

        REST has no row there, so it will never confirm them.
        """
        if self._doubts:
            kept = set(shown)
            for open_ms in [ms for ms in self._doubts if first_ms <= ms < until_ms and ms not in kept]:
                del self._doubts[open_ms]

    def correct(self, candle: Candle) -> list[Candle]:
        """Return the corrections that `candle`, believed now, makes necessary: itself, and what repeats its close."""
        told = self._told.get(candle.open_time_ms)
        corrections = [candle.replace(revision=1 if told is None else told.revision + 1)]
        timeframe, close = self._stream.timeframe, candle.close
        open_ms = timeframe.next_open(candle.open_time_ms)
        while (told := self._told.get(open_ms)) is not None and told.filled:
            flat = flat_candle(self._stream, open_ms, close, candle.received_ms)
            if fingerprint(flat) == told.fingerprint:
                break
            corrections.append(flat.replace(revision=told.revision + 1))
            open_ms = timeframe.next_open(open_ms)
        for correction in corrections:
            self._doubts.pop(correction.open_time_ms, None)
            self._note(correction)
        if self.close is not None and corrections[-1].open_time_ms == self._last_ms:
            self.close = close
        return corrections

    def _note(self, candle: Candle) -> None:
        told, doubts = self._told, self._doubts
        told[candle.open_time_ms] = _told(candle)
        while len(told) > self._most + len(doubts):
            # What is in doubt is kept, for REST to confirm.
            del told[next(known_ms for known_ms in told if known_ms not in doubts)]
        if len(told) > 2 * self._most:
            forgotten = next(iter(told))
            del told[forgotten]
            doubts.pop(forgotten, None)


def remembered(timeframe: Timeframe) -> int:
    """Return how many of the last candles are compared with what the venue says of them later."""
    return min(max(_MIN_REMEMBERED, _REMEMBERED_MS // timeframe.nominal_ms), _MAX_REMEMBERED)


def fingerprint(candle: Candle) -> int:
    """Return a number that differs, in practice, whenever two candles say different things about the market."""
    return hash(candle.values())


def _told(candle: Candle) -> Told:
    return Told(fingerprint(candle), candle.revision, candle.source is Source.FILLED)
