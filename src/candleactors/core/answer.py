"""Answers: what the rows that REST sent for a fetch prove, and what they do not.

An answer holds every row the venue has from its start on, up to the limit; without a start, from its first row on. What
it skips, the venue does not have. But replicas lag: the last row may be unfinished although its time is over, and what
is missing at the end may exist elsewhere. So a row is final once another follows it, or its interval has been over for
long; and nothing is called missing that may be so only because it is new.
"""

from __future__ import annotations

from attrs import frozen

from candleactors.core.fetch import Fetch
from candleactors.model import Candle


@frozen
class Answer:
    """See the module's description. Made by `read`."""

    fetch: Fetch
    rows: list[Candle]
    """Ascending."""
    final: list[Candle]
    """The closed ones of `rows`, without a last one that may be unfinished."""
    lagging_ms: int
    """What was before this instant, every replica knows."""
    received_ms: int
    windowed: bool

    @classmethod
    def read(
        cls, fetch: Fetch, rows: list[Candle], venue_now_ms: int, *, settle_s: float, lag_s: float, windowed: bool
    ) -> Answer:
        """Return the answer of a venue whose clock was at `venue_now_ms` when it was asked.

        A row is looked at once its interval has been over for `settle_s`; replicas are at most `lag_s` behind. With
        `windowed`, an answer covers only so many intervals from its start on as rows were asked for.
        """
        lagging_ms = venue_now_ms - round(lag_s * 1000)
        final_ms = venue_now_ms - round(settle_s * 1000)
        final = [row for row in rows if row.closed and row.close_time_ms < final_ms]
        if final and final[-1] is rows[-1] and final[-1].close_time_ms >= lagging_ms:
            final.pop()
        received_ms = rows[-1].received_ms if rows else venue_now_ms
        return cls(fetch, rows, final, lagging_ms, received_ms, windowed)

    @property
    def first_ms(self) -> int | None:
        """Where it begins; ``None`` where it shows nothing at all."""
        if self.fetch.start_ms is not None:
            return self.fetch.start_ms
        return self.rows[0].open_time_ms if self.rows else None

    @property
    def last_ms(self) -> int | None:
        """The open time of its last row."""
        return self.rows[-1].open_time_ms if self.rows else None

    def covers(self, open_ms: int) -> bool:
        """Whether the interval that opens at `open_ms` is not before its beginning."""
        return self.first_ms is not None and self.first_ms <= open_ms

    def silent_until_ms(self, expected_ms: int, *, fills: bool) -> int | None:
        """Return up to where it shows that nothing follows its last row; ``None`` if it shows no such thing.

        It does where the venue leaves out what had no trades (`fills`), for whole intervals from `expected_ms` on; and
        where its window has long passed: asking for the same again would bring nothing, for ever.
        """
        fetch, timeframe, end_ms = self.fetch, self.fetch.stream.timeframe, None
        if len(self.rows) >= fetch.limit:
            return None
        if self.windowed and fetch.start_ms is not None:
            end_ms = timeframe.advance(fetch.start_ms, fetch.limit)
        if fills:
            over_ms = timeframe.advance(expected_ms, timeframe.count_between(expected_ms, self.lagging_ms))
            return over_ms if end_ms is None else min(over_ms, end_ms)
        return end_ms if end_ms is not None and end_ms <= self.lagging_ms else None

    def row_before(self, expected_ms: int, silent_until_ms: int | None) -> Candle | None:
        """Return the final row of the last interval with trades before `expected_ms`, if it shows that."""
        before = [row for row in self.rows if row.open_time_ms < expected_ms]
        followed = len(before) < len(self.rows) or (silent_until_ms is not None and expected_ms <= self.lagging_ms)
        return before[-1] if before and followed and before[-1] in self.final else None
