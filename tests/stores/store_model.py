"""What a store has to come to, worked out with dicts: one entry for each interval, one write after the other."""

from __future__ import annotations

from collections.abc import Sequence

from candleactors.core.stretches import Stretch
from candleactors.model import Candle, Gap, GapReason, GapSummary, Stream
from candleactors.stores.merging import merged


class StoreModel:
    """A store in memory, slow and plain."""

    def __init__(self) -> None:
        self._candles: dict[tuple[Stream, int], Candle] = {}
        self._missing: dict[tuple[Stream, int], GapReason] = {}
        self._repairs: list[tuple[int, Stream, int]] = []

    def write(self, candles: Sequence[Candle], gaps: Sequence[Gap], repaired_ms: int) -> None:
        """See `Store.write`."""
        for candle in candles:
            old = self._candles.get((candle.stream, candle.open_time_ms))
            if old is None or _wins(candle, old):
                self._candles[candle.stream, candle.open_time_ms] = candle
            if candle.closed and (candle.stream, candle.open_time_ms) in self._missing:
                del self._missing[candle.stream, candle.open_time_ms]
                self._repairs.append((repaired_ms, candle.stream, candle.open_time_ms))
        for gap in gaps:
            timeframe = gap.stream.timeframe
            for at in timeframe.opens(gap.first_open_ms, timeframe.next_open(gap.last_open_ms)):
                stored = self._candles.get((gap.stream, at))
                if stored is None or not stored.closed:
                    self._missing[gap.stream, at] = gap.reason

    def merge(self, candles: Sequence[Candle], *, corrects: bool, repaired_ms: int) -> None:
        """See `Archive.merge`; each interval comes once."""
        results = [
            merged(self._candles.get((candle.stream, candle.open_time_ms)), candle, corrects=corrects)
            for candle in candles
        ]
        self.write([result for _, result in results if result is not None], [], repaired_ms)

    def prune(self, stream: Stream, before_ms: int, most: int) -> int:
        """See `Store.prune`."""
        old = [candle.open_time_ms for candle in self.candles(stream) if candle.open_time_ms < before_ms][:most]
        if len(old) == most:
            before_ms = old[-1] + 1
        self._candles = {key: row for key, row in self._candles.items() if key[0] != stream or key[1] >= before_ms}
        self._missing = {key: why for key, why in self._missing.items() if key[0] != stream or key[1] >= before_ms}
        return len(old)

    def candles(self, stream: Stream) -> list[Candle]:
        """Return the candles of `stream`, ascending."""
        return [self._candles[key] for key in sorted(self._candles, key=lambda key: key[1]) if key[0] == stream]

    def tail(self, stream: Stream, start_ms: int) -> list[Candle]:
        """Return what `Store.tails` says of one stream."""
        closed = [candle for candle in self.candles(stream) if candle.closed]
        return [candle for candle in closed if candle.open_time_ms >= start_ms] or closed[-1:]

    def gaps(self, stream: Stream) -> list[Gap]:
        """Return the longest runs of one reason among what is missing of `stream`."""
        runs: list[Gap] = []
        for at in sorted(at for missing, at in self._missing if missing == stream):
            reason = self._missing[stream, at]
            if runs and runs[-1].reason == reason and stream.timeframe.next_open(runs[-1].last_open_ms) == at:
                runs[-1] = Gap(stream, runs[-1].first_open_ms, at, reason)
            else:
                runs.append(Gap(stream, at, at, reason))
        return runs

    def covered(self, stream: Stream, *, complete: bool = False) -> list[Stretch]:
        """See `Store.covered`."""
        runs: list[Stretch] = []
        for candle in self.candles(stream):
            if not candle.closed or (complete and not candle.complete):
                continue
            start_ms, until_ms = candle.open_time_ms, candle.next_open_time_ms
            if runs and runs[-1].until_ms == start_ms:
                start_ms = runs.pop().start_ms
            runs.append(Stretch(start_ms, until_ms))
        return runs

    def summary(self, since_ms: int) -> GapSummary:
        """See `Store.gap_summary`."""
        gaps = [gap for stream in {stream for stream, _ in self._missing} for gap in self.gaps(stream)]
        repairs = [(stream, at) for repaired_ms, stream, at in self._repairs if repaired_ms >= since_ms]
        return GapSummary(
            gaps=len(gaps),
            candles=len(self._missing),
            by_reason={reason: sum(gap.reason == reason for gap in gaps) for reason in GapReason},
            oldest=min(gaps, key=lambda gap: (gap.first_open_ms, str(gap.stream)), default=None),
            repaired_candles=len(repairs),
            repaired_streams=len({stream for stream, _ in repairs}),
        )


def _wins(new: Candle, old: Candle) -> bool:
    if new.closed != old.closed:
        return new.closed
    if new.revision != old.revision:
        return new.revision > old.revision
    return new.complete or not old.complete
