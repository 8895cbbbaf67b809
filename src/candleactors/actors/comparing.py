"""Comparing: one piece of a stream, as the venue tells it and as it is stored."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from attrs import frozen

from candleactors.actors.rest import VenueRest
from candleactors.core.answer import Answer
from candleactors.core.continuity_rules import ContinuityRules
from candleactors.core.discrepancies import Discrepancies, discrepancies
from candleactors.core.fetch import Fetch, Urgency
from candleactors.core.stretches import Stretch
from candleactors.model import Stream
from candleactors.stores.base import Store

_BEFORE = 1_440  # intervals, of which those without trades have no row


@frozen
class Comparer:
    """Compares pieces of the streams of one venue, each with one request. Passive; several tasks may use it.

    `flush` returns once the store has what was delivered so far.
    """

    rest: VenueRest
    store: Store
    rules: ContinuityRules
    flush: Callable[[], Awaitable[None]]
    urgency: Urgency
    most_rows: int
    """Of one request, where the venue allows so many."""

    @property
    def most(self) -> int:
        """The most intervals of one piece."""
        return min(self.most_rows, self.rules.max_rows - self.before)

    @property
    def before(self) -> int:
        """How many intervals before a piece are asked for as well, to know the close before it."""
        return min(_BEFORE, self.rules.max_rows // 2) if self.rules.fills else 0

    async def first_ms(self, stream: Stream, start_ms: int) -> int | None:
        """Return when the venue's first candle opens where that is after `start_ms`; else, or if unknown, ``None``.

        Costs one request. An answer that ends with a window tells nothing. Raises what `VenueRest.rows` raises.
        """
        if self.rules.windowed:
            return None
        fetch = Fetch(stream, stream.timeframe.advance(start_ms, -self.before), 1, self.urgency)
        rows, _ = await self.rest.rows(fetch)
        return rows[0].open_time_ms if rows and rows[0].open_time_ms > start_ms else None

    async def look(self, stream: Stream, piece: Stretch) -> Discrepancies:
        """Compare `piece` once. Raises what `VenueRest.rows`, `flush` and the store raise."""
        rules, timeframe = self.rules, stream.timeframe
        start_ms = timeframe.advance(piece.start_ms, -self.before)
        fetch = Fetch(stream, start_ms, timeframe.count_between(start_ms, piece.until_ms), self.urgency)
        rows, venue_now_ms = await self.rest.rows(fetch)
        await self.flush()
        stored = await self.store.candles(stream, timeframe.previous_open(piece.start_ms), piece.until_ms - 1)
        answer = Answer.read(
            fetch, rows, venue_now_ms, settle_s=rules.settle_s, lag_s=rules.replica_lag_s, windowed=rules.windowed
        )
        return discrepancies(piece, answer, stored, fills=rules.fills)
