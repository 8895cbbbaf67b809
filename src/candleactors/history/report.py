"""What was done for one stream."""

from __future__ import annotations

from attrs import define

from candleactors.model import Stream
from candleactors.stores.merging import Tally


@define(eq=False)
class StreamReport:
    """How far the work on one stream has come; counts are intervals."""

    stream: Stream
    planned: int = 0
    """To be asked for, or to be made where the stream is a derived one."""
    asked: int = 0
    """Those of them that were."""
    new: int = 0
    """Candles that were not stored."""
    changed: int = 0
    """Stored candles that were completed or corrected."""
    outages: int = 0
    """Intervals that the venue was found to have nothing for, noted so that nobody asks again."""
    begins_ms: int | None = None
    """When the venue's oldest candle opens, where that was reached."""
    error: str | None = None
    """Why it was given up."""
    done: bool = False

    def count(self, tally: Tally) -> None:
        """Add what became of candles that were merged."""
        self.new += tally.new
        self.changed += tally.changed
