"""Recent: where streams stand by what was buffered of them."""

from __future__ import annotations

from collections import defaultdict
from typing import Final

from candleactors.model import Candle, Gap, Stream
from candleactors.stores.base import Standing
from candleactors.stores.buffered.batch import Batch
from candleactors.stores.gaps import cover, fill

_KEPT: Final = 400
"""Candles of each stream at least: more than anybody asks for."""


class Recent:
    """The gaps and the newest closed candles of every stream in a run of batches."""

    def __init__(self) -> None:
        self._candles: defaultdict[Stream, dict[int, Candle]] = defaultdict(dict)
        self._gaps: dict[Stream, list[Gap]] = {}

    def add(self, batch: Batch) -> None:
        """Take in the next batch."""
        for candle in batch.candles:
            if candle.closed:
                known = self._candles[candle.stream]
                _put(known, candle)
                if len(known) > 2 * _KEPT:
                    self._candles[candle.stream] = {at: known[at] for at in sorted(known)[-_KEPT:]}
        for gap in batch.gaps:
            self._gaps[gap.stream] = cover(self._gaps.get(gap.stream, []), gap)

    def upon(self, stored: Standing, stream: Stream, count: int) -> Standing:
        """Return where `stream` stands, at most `count` candles, once this is written upon what is `stored`."""
        candles = {candle.open_time_ms: candle for candle in stored.candles}
        for candle in self._candles.get(stream, {}).values():
            _put(candles, candle)
        gaps = list(stored.gaps)
        for gap in self._gaps.get(stream, ()):
            gaps = cover(gaps, gap)
        opens = sorted(candles)
        return Standing(tuple(fill(gaps, opens)), tuple(candles[at] for at in opens[max(0, len(opens) - count) :]))


def _put(candles: dict[int, Candle], candle: Candle) -> None:
    """Put `candle` among others of its stream by the precedence of `Store.write`; all are closed."""
    known = candles.get(candle.open_time_ms)
    if known is None or (candle.revision, candle.complete) >= (known.revision, known.complete):
        candles[candle.open_time_ms] = candle
