"""Comparison: what is derived from a venue's lower timeframe, beside what it says of the higher ones."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Final

from attrs import define, field, frozen
from table_rows import Row
from venue_tables import Table, utc

from candleactors import resample
from candleactors.model import Candle

FIELDS: Final = (
    "open",
    "high",
    "low",
    "close",
    "volume",
    "quote_volume",
    "trades",
    "taker_buy_volume",
    "taker_buy_quote_volume",
)
_GROWING: Final = ("high", "volume", "quote_volume", "trades", "taker_buy_volume", "taker_buy_quote_volume")


@frozen(order=True)
class Difference:
    """One value that the venue states otherwise; `field` is ``row`` where it has no candle at all."""

    open: str
    field: str
    ours: str
    theirs: str


@define
class Comparison:
    """What became of the derived candles of one pair of timeframes."""

    low: Table
    high: Table
    compared: int = 0
    """Complete ones that the venue has too."""
    values: int = 0
    """Single values among these that both have."""
    holed: int = 0
    """Those that lack constituents, though the recording has all there was around them: the venue had none either."""
    holed_equal: int = 0
    """Those of them that equal the venue's all the same."""
    partial: int = 0
    """Those that lack constituents because they were not recorded: they may only be part of the venue's."""
    differences: list[Difference] = field(factory=list)


def compare(low: Table, highs: Sequence[Table]) -> dict[Table, Comparison]:
    """Derive every timeframe of `highs` from `low` at once, and return how each compares."""
    found = {high: Comparison(low, high) for high in highs}
    tables = {high.timeframe: [one for one in highs if one.timeframe == high.timeframe] for high in highs}
    for candle in resample(low.candles(), list(tables)):
        for high in tables[candle.timeframe]:
            if candle.closed:
                _count(found[high], candle, high.rows().get(candle.open_time_ms))
    return found


def _count(comparison: Comparison, ours: Candle, theirs: Row | None) -> None:
    end_ms = ours.next_open_time_ms
    holed = not ours.complete and comparison.low.outline.covers(ours.open_time_ms, end_ms)
    if theirs is None:
        if ours.complete and comparison.high.outline.covers(ours.open_time_ms, end_ms):
            comparison.differences.append(Difference(utc(ours.open_time_ms), "row", "a candle", "none"))
        return
    common = [name for name in FIELDS if getattr(ours, name) is not None and getattr(theirs, name) is not None]
    if ours.complete:
        comparison.compared += 1
        comparison.values += len(common)
    else:
        equal = all(_equal(comparison, ours, theirs, name) for name in common)
        comparison.holed += holed
        comparison.holed_equal += holed and equal
        comparison.partial += not holed
        common = [name for name in common if _exceeds(ours, theirs, name)]
    comparison.differences += [
        _difference(ours, theirs, name) for name in common if not _equal(comparison, ours, theirs, name)
    ]


def _equal(comparison: Comparison, ours: Candle, theirs: Row, name: str) -> bool:
    """Whether both are the same number, or become the same float where the venue's came as one."""
    mine, its = getattr(ours, name), getattr(theirs, name)
    return bool(mine == its or (comparison.high.floats and float(mine) == float(its)))


def _exceeds(ours: Candle, theirs: Row, name: str) -> bool:
    """Whether a part is more than the whole."""
    part, whole = getattr(ours, name), getattr(theirs, name)
    return bool(part > whole if name in _GROWING else part < whole if name == "low" else False)


def _difference(ours: Candle, theirs: Row, name: str) -> Difference:
    return Difference(utc(ours.open_time_ms), name, _text(getattr(ours, name)), _text(getattr(theirs, name)))


def _text(value: Decimal | int) -> str:
    if isinstance(value, int):
        return str(value)
    plain = f"{value:f}"
    return plain.rstrip("0").rstrip(".") if "." in plain else plain
