"""Discrepancies: what the venue's rows of a stretch and the stored candles say differently.

A row is compared once every replica knows it (see `candleactors.core.answer`); younger ones are the business of those
who deliver them. What the venue has no row for is no discrepancy, except where it leaves out what had no trades: then
the candle is flat at the close before it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from itertools import chain

from attrs import evolve, frozen

from candleactors.core.answer import Answer
from candleactors.core.filling import flat_candle
from candleactors.core.stretches import Stretch
from candleactors.model import Candle, Source


@frozen
class Discrepancies:
    """See the module's description."""

    compared: int
    """Rows of the venue that were looked at."""
    missing: Mapping[int, Candle]
    """What should be stored and is not, by open time, ascending."""
    wrong: Mapping[int, Candle]
    """What should stand in place of what is stored, as the next revision of that, likewise."""

    absent: tuple[int, ...] = ()
    """Intervals that neither the venue nor the store has, although every replica would know by now; ascending."""
    rows_ms: tuple[int, int] | None = None
    """When the first and the last of the rows compared open; ``None`` where there are none."""
    close: Decimal | None = None
    """The close at the end of the stretch, as far as anything tells it."""

    def __bool__(self) -> bool:
        return bool(self.missing or self.wrong)

    def since(self, first_ms: int) -> Discrepancies:
        """Return those of intervals that open at `first_ms` or later."""
        missing, wrong = (
            {open_ms: candle for open_ms, candle in of.items() if open_ms >= first_ms}
            for of in (self.missing, self.wrong)
        )
        return evolve(self, missing=missing, wrong=wrong)

    def confirmed_by(self, later: Discrepancies) -> list[Candle]:
        """Return the candles that a `later` comparison of the same stretch wants as well, ascending, as revisions.

        What merely was on its way to the store is there by then, and a replica that lagged has caught up.
        """
        found = []
        for open_ms, candle in sorted(chain(later.missing.items(), later.wrong.items())):
            before = self.missing.get(open_ms) or self.wrong.get(open_ms)
            if before is not None and before.values() == candle.values():
                found.append(candle.replace(revision=max(1, candle.revision)))
        return found


def discrepancies(stretch: Stretch, answer: Answer, stored: Iterable[Candle], *, fills: bool) -> Discrepancies:
    """Return how the rows of `answer`, which covers the `stretch`, and the `stored` candles differ.

    Rows and candles from before the stretch tell the close before it. `fills` says that intervals without a row had no
    trades: something follows, or the stretch would end earlier.
    """
    rows = {row.open_time_ms: row for row in answer.final if row.close_time_ms < answer.lagging_ms}
    known = {candle.open_time_ms: candle for candle in stored if candle.closed}
    close = _close_before(stretch.start_ms, rows, known)
    missing: dict[int, Candle] = {}
    wrong: dict[int, Candle] = {}
    absent: list[int] = []
    compared: list[int] = []
    timeframe = answer.fetch.stream.timeframe
    for open_ms in timeframe.opens(stretch.start_ms, stretch.until_ms):
        row, before = rows.get(open_ms), known.get(open_ms)
        if row is not None:
            compared.append(open_ms)
        if row is None and fills and close is not None and timeframe.close_ms(open_ms) < answer.lagging_ms:
            row = flat_candle(answer.fetch.stream, open_ms, close, answer.received_ms)
            if before is not None and before.source is not Source.FILLED:
                row = None  # that it cannot be confirmed does not make it wrong
        if row is not None and before is None:
            missing[open_ms] = row
        elif row is not None and before is not None and not _covers(before, row):
            wrong[open_ms] = row.replace(revision=before.revision + 1)
        elif row is None and before is None and timeframe.close_ms(open_ms) < answer.lagging_ms:
            absent.append(open_ms)
        latest = row or before
        close = latest.close if latest is not None else close
    seen_ms = (compared[0], compared[-1]) if compared else None
    return Discrepancies(len(compared), missing, wrong, tuple(absent), seen_ms, close)


def _close_before(start_ms: int, rows: Mapping[int, Candle], known: Mapping[int, Candle]) -> Decimal | None:
    """Return the close of the last interval before `start_ms`, as far as anything tells it."""
    before = [open_ms for open_ms in (*rows, *known) if open_ms < start_ms]
    if not before:
        return None
    return (rows.get(max(before)) or known[max(before)]).close


def _covers(stored: Candle, row: Candle) -> bool:
    """Whether `stored` says all that `row` says, and nothing else: what the venue does not give, a file may have."""
    ours, theirs = stored.values(), row.values()
    return ours == theirs or all(other is None or one == other for one, other in zip(ours, theirs, strict=True))
