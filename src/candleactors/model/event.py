"""What a subscriber receives: candles, gaps and revisions."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import TypeAlias

from attrs import frozen

from candleactors.model.candle import Candle
from candleactors.model.stream import Stream


class GapReason(StrEnum):
    """Why intervals are missing."""

    VENUE = "venue"
    """The venue itself has no rows, although later ones exist (an outage)."""
    UNREPAIRED = "unrepaired"
    """The rows could not be fetched in time; they follow as revisions once they can."""


@frozen
class Gap:
    """Intervals of a stream for which no closed candle is delivered (now).

    `first_open_ms` and `last_open_ms` are the open times of the first and the last missing interval.
    """

    stream: Stream
    first_open_ms: int
    last_open_ms: int
    reason: GapReason

    @property
    def count(self) -> int:
        """The number of missing intervals."""
        timeframe = self.stream.timeframe
        return timeframe.count_between(self.first_open_ms, timeframe.next_open(self.last_open_ms))


@frozen
class GapSummary:
    """The gaps of all streams at one moment, and what was repaired lately."""

    gaps: int
    """Open ones: stretches that no candle has filled."""
    candles: int
    """Intervals in them."""
    by_reason: Mapping[GapReason, int]
    """Open gaps by reason; every reason is there."""
    oldest: Gap | None
    """The open one that begins first."""
    repaired_candles: int
    """Intervals of gaps that were filled since the instant asked for."""
    repaired_streams: int
    """Streams that had such."""


@frozen
class Revision:
    """A closed candle that replaces what was said before about its interval: another candle, or a gap."""

    candle: Candle

    @property
    def stream(self) -> Stream:
        """The stream of the revised candle."""
        return self.candle.stream


Event: TypeAlias = Candle | Gap | Revision
"""A candle (closed, or forming where asked for), a gap, or a revision."""
