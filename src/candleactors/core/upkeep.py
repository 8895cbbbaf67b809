"""What is done at intervals for the history of streams, counted."""

from __future__ import annotations

from attrs import define, frozen


@frozen
class Upheld:
    """What one round did: of so many streams something was asked for, so many candles were stored or corrected by it,
    so many intervals found to be outages; `errors` say why streams were given up."""

    streams: int
    candles: int
    outages: int
    errors: tuple[str, ...]


@define
class UpkeepCounters:
    """What all rounds of one kind did."""

    candles: int = 0
    outages: int = 0
    failed: int = 0
    """Streams given up."""

    def add(self, round_: Upheld) -> None:
        """Add what one more did."""
        self.candles += round_.candles
        self.outages += round_.outages
        self.failed += len(round_.errors)
