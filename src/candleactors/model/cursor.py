"""Cursors: how far a reader has come."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import field, frozen

from candleactors.model.stream import Stream


@frozen
class Cursor:
    """Where a subscriber stands: pass it as ``after=`` to ``feed.candles`` to go on from there without loss.

    `after` maps each stream to the open time (ms) of the last closed candle or gap the subscriber was given. `revised`
    lists the revisions it was not given of candles up to there, as stream and open time.
    """

    after: Mapping[Stream, int] = field(factory=dict)
    revised: tuple[tuple[Stream, int], ...] = ()
