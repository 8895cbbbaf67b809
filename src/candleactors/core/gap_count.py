"""Gap counts: how many candles of a venue's streams are missing, and how many came after all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable

from attrs import evolve

from candleactors.model import Gap, GapReason, Stream

_MOST = 1_000  # of one stream; older ones are still in the store


class GapCount:
    """Counts the gaps that were told, those of them that are still open, and the candles that closed others.

    Pure. What is open covers the streams that are followed: what the store had when they were opened, and what came
    since.
    """

    def __init__(self) -> None:
        self.gaps: Counter[GapReason] = Counter()
        """Gaps told."""
        self.candles: Counter[GapReason] = Counter()
        """Candles missing in them."""
        self.repaired = 0
        """Candles that came after they had been told as missing."""
        self._open: dict[Stream, list[Gap]] = {}

    def begin(self, stream: Stream, stored: Iterable[Gap]) -> None:
        """Take in what gaps the store has of a stream; of one that is followed already, more is known here."""
        if stream not in self._open:
            self._open[stream] = list(stored)[-_MOST:]

    def keep(self, streams: Container[Stream]) -> None:
        """Forget what is open in other streams: nobody follows them."""
        for stream in [stream for stream in self._open if stream not in streams]:
            del self._open[stream]

    def on_gap(self, gap: Gap) -> None:
        """Count a gap that is told now."""
        self.gaps[gap.reason] += 1
        self.candles[gap.reason] += gap.count
        known = self._open.setdefault(gap.stream, [])
        known.append(gap)
        del known[:-_MOST]

    def on_revised(self, stream: Stream, open_ms: int) -> None:
        """Take notice that the candle opening at `open_ms` was told anew; it counts where it had been missing."""
        known = self._open.get(stream, [])
        for index, gap in enumerate(known):
            if gap.first_open_ms <= open_ms <= gap.last_open_ms:
                timeframe = stream.timeframe
                parts = (
                    evolve(gap, last_open_ms=timeframe.previous_open(open_ms)),
                    evolve(gap, first_open_ms=timeframe.next_open(open_ms)),
                )
                known[index : index + 1] = [part for part in parts if part.first_open_ms <= part.last_open_ms]
                self.repaired += 1
                return

    def open(self) -> dict[GapReason, tuple[int, int]]:
        """Return by reason how many gaps are open, and how many candles are missing in them."""
        gaps = [gap for known in self._open.values() for gap in known]
        return {
            reason: (len(chosen), sum(gap.count for gap in chosen))
            for reason in GapReason
            for chosen in [[gap for gap in gaps if gap.reason is reason]]
        }
