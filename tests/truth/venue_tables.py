"""Tables: a venue's own candles of one market and timeframe, as one recording holds them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from functools import cached_property, lru_cache
from itertools import pairwise

from attrs import define, field, frozen
from table_rows import Row

from candleactors.model import DAY_MS, HOUR_MS, Candle, Source, Timeframe


@frozen
class Hole:
    """Intervals without a row, inside what a table covers."""

    first: str
    last: str
    count: int


@frozen
class Outline:
    """What a table covers, without its rows."""

    timeframe: Timeframe
    """On the grid that the rows lie on: the usual one, or else one counted from the first row."""
    rows: int
    covered: tuple[range, ...]
    """The milliseconds from a first open to a last close: several where the recording is of several periods."""
    off_grid: tuple[str, ...]
    """Open times that are no boundary of the timeframe, so that the row belongs to no interval."""
    holes: tuple[Hole, ...]
    """What lacks within these periods."""

    def covers(self, open_ms: int, end_ms: int) -> bool:
        """Whether one of the recorded periods contains this one."""
        return any(period.start <= open_ms and end_ms <= period.stop for period in self.covered)

    def shares(self, other: Outline) -> bool:
        """Whether both cover a whole interval of `other`."""
        need = other.timeframe.nominal_ms
        pairs = ((one, its) for one in self.covered for its in other.covered)
        return any(min(one.stop, its.stop) - max(one.start, its.start) >= need for one, its in pairs)


@define(eq=False, slots=False)
class Table:
    """The rows of one timeframe.

    `recording` is the folder, or the file where each file is an answer of its own. `read` returns the rows piece by
    piece: what lacks inside one the venue did not have, but nothing is known of what lies between two.

    The last row counts as still open when it was recorded, and is left out, unless the recording is `final`: that
    another row follows is the only proof there is that one was over. `floats` tells that the values went through
    floating point on their way here.
    """

    venue: str
    recording: str
    market: str
    size: Timeframe
    read: Callable[[], Iterable[Iterable[Row]]] = field(repr=False)
    final: bool = False
    floats: bool = False
    lacks: str | None = None
    """What would have to be installed to read it."""

    def __str__(self) -> str:
        return f"{self.recording} {self.market} {self.size}"

    def rows(self) -> dict[int, Row]:
        """Return the closed rows by open time, ascending; of several with one open time, the one read last."""
        return _recorded(self)[0]

    @cached_property
    def outline(self) -> Outline:
        """What is covered. Needs one pass over the rows, and keeps none."""
        return outline(self.size, _recorded(self)[1])

    @property
    def timeframe(self) -> Timeframe:
        """The timeframe, on the grid that the rows lie on."""
        return self.outline.timeframe

    def candles(self) -> Iterator[Candle]:
        """Yield the rows that lie on the grid, as candles."""
        for open_ms, row in self.rows().items():
            if self.timeframe.floor(open_ms) == open_ms:
                yield self._candle(row)

    def _candle(self, row: Row) -> Candle:
        close_ms = self.timeframe.close_ms(row.open_ms)
        return Candle(
            self.venue,
            self.market,
            self.timeframe,
            row.open_ms,
            close_ms,
            row.open,
            row.high,
            row.low,
            row.close,
            row.volume,
            row.quote_volume,
            row.trades,
            row.taker_buy_volume,
            row.taker_buy_quote_volume,
            closed=True,
            complete=True,
            source=Source.REST,
            revision=0,
            received_ms=close_ms + 1,
        )


# As many as one market has timeframes: markets are gone through one by one.
@lru_cache(maxsize=16)
def _recorded(table: Table) -> tuple[dict[int, Row], list[list[int]]]:
    """Return the closed rows, ascending, and their open times for each piece."""
    pieces = [{row.open_ms: row for row in piece} for piece in table.read()]
    rows = {open_ms: row for piece in pieces for open_ms, row in piece.items()}
    if rows and not table.final:
        del rows[max(rows)]
    ascending = {open_ms: rows[open_ms] for open_ms in sorted(rows)}
    return ascending, [[open_ms for open_ms in sorted(piece) if open_ms in rows] for piece in pieces]


def outline(size: Timeframe, pieces: list[list[int]]) -> Outline:
    """Return what rows of `size` with these open times cover."""
    opens = sorted({open_ms for piece in pieces for open_ms in piece})
    timeframe = grid(size, opens)
    fitting = [open_ms for open_ms in opens if timeframe.floor(open_ms) == open_ms]
    covered = _merged(range(piece[0], timeframe.next_open(piece[-1])) for piece in pieces if piece)
    holes = []
    for before, after in pairwise(fitting):
        expected = timeframe.next_open(before)
        if expected != after and any(expected in period for period in covered):
            count = timeframe.count_between(expected, after)
            holes.append(Hole(utc(expected), utc(timeframe.previous_open(after)), count))
    off = tuple(utc(open_ms) for open_ms in opens if timeframe.floor(open_ms) != open_ms)
    return Outline(timeframe, len(fitting), covered, off, tuple(holes))


def _merged(periods: Iterable[range]) -> tuple[range, ...]:
    """Return the same instants in as few periods as possible, ascending."""
    merged: list[range] = []
    for period in sorted(periods, key=lambda period: period.start):
        if merged and period.start <= merged[-1].stop:
            merged[-1] = range(merged[-1].start, max(merged[-1].stop, period.stop))
        else:
            merged.append(period)
    return tuple(merged)


def grid(size: Timeframe, opens: list[int]) -> Timeframe:
    """Return `size` with the anchor that makes every one of `opens` a boundary; as it is where none does.

    An anchor is midnight in China, where OKX counts from, midnight at another whole hour, or the date of the first row.
    """
    if not opens or _fits(size, opens):
        return size
    east = -opens[0] // HOUR_MS % 24
    anchors = ["+0800", f"+{east:02}00" if east <= 14 else f"-{24 - east:02}00"]
    if opens[0] % DAY_MS == 0 and size.unit in "dw":
        anchors.append(utc(opens[0])[:10])
    for anchored in map(size.anchored, anchors):
        if _fits(anchored, opens):
            return anchored
    return size


def _fits(timeframe: Timeframe, opens: list[int]) -> bool:
    return all(timeframe.floor(open_ms) == open_ms for open_ms in opens)


def utc(at_ms: int) -> str:
    """Return an instant as text, to the minute where it is a whole one."""
    moment = datetime.fromtimestamp(at_ms / 1000, UTC)
    return moment.strftime("%Y-%m-%d %H:%M" if at_ms % 60_000 == 0 else "%Y-%m-%d %H:%M:%S.%f")
