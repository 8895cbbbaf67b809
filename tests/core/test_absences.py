"""Absences: an outage has candles on both sides, and history begins where there is nothing for long."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from candleactors.core.absences import Absences, Beginning, outages
from candleactors.core.discrepancies import Discrepancies
from candleactors.model import DAY_MS, HOUR_MS, GapReason, Stream, Timeframe

M1 = Timeframe("1m")


def found(piece: Sequence[int], there: set[int], stored: set[int]) -> Discrepancies:
    """Return what a comparison of a piece says, where the venue has the minutes `there`."""
    rows = [each for each in piece if each in there]
    absent = tuple(each for each in piece if each not in there and each not in stored)
    return Discrepancies(len(rows), {}, {}, absent, (rows[0], rows[-1]) if rows else None)


@given(st.sets(st.integers(0, 39)), st.sets(st.integers(0, 39)), st.integers(1, 9), st.integers(0, 40))
def test_what_lies_between_candles_is_an_outage(there: set[int], stored: set[int], most: int, first: int) -> None:
    """However it is cut into pieces, and wherever the asking begins."""
    absences = Absences(min(stored, default=None), max(stored, default=None))
    settled: list[int] = []
    asked = list(range(first, 40))
    while asked:
        piece, asked = asked[-most:], asked[:-most]
        settled += absences.settled(found(piece, there, stored))
    known = stored | {each for each in there if each >= first}
    between = range(min(known, default=0), max(known, default=0))
    assert sorted(settled) == [each for each in between if each >= first and each not in known]
    assert absences.followed(-1) == bool(known)
    assert not absences.followed(max(known, default=0))


@given(st.sets(st.integers(0, 39)))
def test_outages_are_runs(missing: set[int]) -> None:
    stream = Stream("v", "S", M1)
    gaps = outages(stream, [each * 60_000 for each in sorted(missing)])
    assert all(gap.reason is GapReason.VENUE for gap in gaps)
    opens = [at // 60_000 for gap in gaps for at in M1.opens(gap.first_open_ms, gap.last_open_ms + 1)]
    assert opens == sorted(missing)
    assert sum(gap.count for gap in gaps) == len(missing)
    assert all(one.last_open_ms + 60_000 < other.first_open_ms for one, other in itertools.pairwise(gaps))


def test_history_begins_after_many_empty_pieces_that_are_long_enough() -> None:
    long, short = Beginning(), Beginning()
    assert [long.passed(DAY_MS, empty=True) for _ in range(20)] == [False] * 19 + [True]
    days = [short.passed(HOUR_MS, empty=True) for _ in range(168)]
    assert days == [False] * 167 + [True]


def test_a_candle_begins_the_count_anew() -> None:
    beginning = Beginning()
    for _ in range(19):
        assert not beginning.passed(DAY_MS, empty=True)
    assert not beginning.passed(DAY_MS, empty=False)
    assert [beginning.passed(DAY_MS, empty=True) for _ in range(20)] == [False] * 19 + [True]
