"""Timeframes of every unit and on every kind of grid."""

from __future__ import annotations

from functools import cache
from typing import Final, TypeAlias

from hypothesis import strategies as st

from candleactors.model import Timeframe

Chosen: TypeAlias = str | Timeframe | st.SearchStrategy[Timeframe]
"""A timeframe, or a strategy that draws one."""

_COUNTS: Final = {
    "s": (*range(1, 121), 150, 240, 300, 433, 600, 900, 1_200, 1_800, 3_600, 5_400, 7_200, 86_399, 86_400, 100_000),
    "m": (*range(1, 121), 144, 150, 180, 240, 288, 300, 360, 480, 481, 600, 719, 720, 1_000, 1_439, 1_440, 4_000),
    "h": (*range(1, 49), 60, 72, 100, 168),
    "d": (*range(1, 32), 45, 60, 90, 100, 365),
    "w": (*range(1, 9), 13, 26, 52),
    "M": (*range(1, 13), 18, 24, 36, 60, 120),
}
_ANCHORS: Final = ("epoch", "+0800", "-0500", "+0530", "+1345", "2017-08-17", "2025-01-06")


def timeframes(
    *,
    tiled_by: str | Timeframe | None = None,
    tiles: str | Timeframe | None = None,
    shortest: str | Timeframe | None = None,
    longest: str | Timeframe | None = None,
    units: str = "smhdwM",
    anchors: bool = True,
) -> st.SearchStrategy[Timeframe]:
    """Return a strategy for timeframes: sizes that divide a day and sizes that do not, on all grids.

    - `tiled_by`: only longer ones that whole intervals of this one make up.
    - `tiles`: only shorter ones whose whole intervals make up this one.
    - `shortest`, `longest`: bounds of the length, inclusive; a month counts as 30 days.
    - `units`: which of ``smhdwM``.
    - `anchors`: whether to draw other grids than the default one too, such as ``7m@epoch`` or ``1d@+0800``.

    Shrinks towards short ones on the default grid. Raises `ValueError` where nothing is left.
    """
    bounds = [None if text is None else _parsed(text) for text in (tiled_by, tiles, shortest, longest)]
    if not _matching(*bounds, units=units, anchors=anchors):
        raise ValueError("no timeframe satisfies all these conditions")
    return _some(*bounds, units=units, anchors=anchors)


@st.composite
def _some(draw: st.DrawFn, *bounds: Timeframe | None, units: str, anchors: bool) -> Timeframe:
    # One unit and kind of grid is as likely as another, however many sizes there are of it.
    sizes = draw(st.sampled_from(_matching(*bounds, units=units, anchors=anchors)))
    return draw(st.sampled_from(sizes))


def chosen(timeframe: Chosen) -> st.SearchStrategy[Timeframe]:
    """Return a strategy that draws `timeframe`, or from it."""
    return timeframe if isinstance(timeframe, st.SearchStrategy) else st.just(_parsed(timeframe))


def _parsed(timeframe: str | Timeframe) -> Timeframe:
    return timeframe if isinstance(timeframe, Timeframe) else Timeframe(timeframe)


@cache
def _matching(*bounds: Timeframe | None, units: str, anchors: bool) -> list[list[Timeframe]]:
    """Return what satisfies all conditions, by kind of grid and unit, the default grid first."""
    tiled_by, tiles, shortest, longest = bounds
    found: dict[tuple[bool, str], list[Timeframe]] = {}
    for each in _all():
        if (
            each.unit in units
            and (anchors or each.anchor is None)
            and (shortest is None or each.nominal_ms >= shortest.nominal_ms)
            and (longest is None or each.nominal_ms <= longest.nominal_ms)
            and (tiled_by is None or (tiled_by.tiles(each) and each.nominal_ms > tiled_by.nominal_ms))
            and (tiles is None or (each.tiles(tiles) and each.nominal_ms < tiles.nominal_ms))
        ):
            found.setdefault((each.anchor is not None, each.unit), []).append(each)
    return list(found.values())


@cache
def _all() -> list[Timeframe]:
    """Return every timeframe that may be drawn: the default grid first, ascending."""
    plain = [Timeframe(f"{count}{unit}") for unit, counts in _COUNTS.items() for count in counts]
    anchored = [
        each.anchored(anchor)
        for each in plain
        for anchor in _ANCHORS
        if each.unit in "dw" or not anchor[0].isdigit()  # only days and weeks count from a date
    ]
    distinct = dict.fromkeys([*plain, *anchored])
    return sorted(distinct, key=lambda each: (each.anchor is not None, each.nominal_ms, each.count))
