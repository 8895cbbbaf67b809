"""Cursors: how far a reader has come."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import field, frozen

from candleactors.model.stream import Stream


@frozen
class Cursor:
    """Where a subscriber stands: pass it as ``after=`` to ``feed.candles`` to go on from there without loss.

    `after` maps each stream to the open time (ms) of the last closed candle or gap the subscriber was given. `revised`
    lists the revisions it was not given of candles up to there, as stream and open time. `life` names the feed that it
    is from, and `news` counts what that had told by then, so that it knows what it has told since. Another feed, as
    after a restart, cannot know what was told of the candles shortly before, so those that were revised or had to be
    fetched again come as revisions, told before or not. `taken_ms` is when it was taken by our clock, UTC milliseconds,
    0 where nobody knows. `again` has the streams of which the subscriber was given no newer candle since it came with
    another feed's cursor, with when that was taken: what that feed told may still come again.
    """

    after: Mapping[Stream, int] = field(factory=dict)
    revised: tuple[tuple[Stream, int], ...] = ()
    life: int = 0
    news: int = 0
    taken_ms: int = 0
    again: Mapping[Stream, int] = field(factory=dict)
