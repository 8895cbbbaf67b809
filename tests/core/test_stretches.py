"""Stretches against sets of open times."""

from __future__ import annotations

from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st

from candleactors.core.stretches import Stretch, around, pieces, plan
from candleactors.model import Timeframe

# 7h restarts every midnight, months have unequal lengths, and 3d has any phase.
TIMEFRAMES = st.sampled_from([Timeframe("1m"), Timeframe("7h"), Timeframe("3d"), Timeframe("1M")])
START_MS = 1_700_000_000_000


def opens_of(timeframe: Timeframe, count: int, phase_ms: int = 0) -> list[int]:
    first_ms = timeframe.floor(START_MS) + (phase_ms if timeframe == Timeframe("3d") else 0)
    return [timeframe.advance(first_ms, each) for each in range(count)]


def opens_in(timeframe: Timeframe, stretches: Iterable[Stretch], most: int) -> list[int]:
    """Return the open times in `stretches`, which must be of at most `most` intervals, the newest first."""
    found: list[int] = []
    for stretch in stretches:
        opens = list(timeframe.opens(stretch.start_ms, stretch.until_ms))
        assert 0 < len(opens) <= most
        assert not found or opens[-1] < min(found), "the newest come first, none twice"
        found += opens
    return sorted(found)


def stretches_of(opens: list[int], missing: Iterable[int]) -> list[Stretch]:
    """Return a stretch for each run of the indices `missing`."""
    found: list[Stretch] = []
    for index in sorted(missing):
        if found and found[-1].until_ms == opens[index]:
            found[-1] = Stretch(found[-1].start_ms, opens[index + 1])
        else:
            found.append(Stretch(opens[index], opens[index + 1]))
    return found


@given(TIMEFRAMES, st.integers(0, 86_400_000), st.integers(1, 9), st.data())
def test_pieces_hold_everything_once(timeframe: Timeframe, phase_ms: int, most: int, data: st.DataObject) -> None:
    opens = opens_of(timeframe, 30, phase_ms)
    until_ms = opens[data.draw(st.integers(1, 29))]
    first_ms = data.draw(st.integers(opens[0], opens[-1]))
    found = opens_in(timeframe, pieces(timeframe, first_ms, until_ms, most), most)
    assert found == [open_ms for open_ms in opens if first_ms <= open_ms < until_ms]


@given(TIMEFRAMES, st.sets(st.integers(0, 39)), st.integers(1, 9), st.integers(0, 39))
def test_pieces_around_gaps_hold_them(timeframe: Timeframe, missing: set[int], most: int, until: int) -> None:
    opens = opens_of(timeframe, 41)
    holes = stretches_of(opens, missing)
    stretches = list(around(timeframe, holes, opens[until], most))
    found = set(opens_in(timeframe, stretches, most))
    wanted = {opens[index] for index in missing if index < until}
    assert wanted <= found
    assert all(open_ms < opens[until] for open_ms in found)
    for stretch in stretches:
        assert wanted & set(timeframe.opens(stretch.start_ms, stretch.until_ms)), "no request for nothing"


@given(TIMEFRAMES, st.sets(st.integers(0, 39)), st.integers(1, 9), st.one_of(st.none(), st.integers(0, 40)), st.data())
def test_a_plan_goes_on_where_it_stood(
    timeframe: Timeframe, missing: set[int], most: int, start: int | None, data: st.DataObject
) -> None:
    opens = opens_of(timeframe, 41)
    holes = stretches_of(opens, missing)
    start_ms = None if start is None else opens[start]
    recent = data.draw(st.integers(0, 20))

    def planned(resume_ms: int | None = None) -> list[Stretch]:
        return list(plan(timeframe, start_ms, opens[40], recent=recent, holes=holes, most=most, resume_ms=resume_ms))

    whole = planned()
    found = opens_in(timeframe, whole, most)
    if start is None:
        wanted = set(opens[40 - recent : 40]) | {opens[index] for index in missing}
        assert wanted <= set(found)
    else:
        assert found == opens[start:40]
    done = data.draw(st.integers(0, len(whole)))
    resume_ms = whole[done - 1].start_ms if done else None
    assert opens_in(timeframe, planned(resume_ms), most) == opens_in(timeframe, whole[done:], most)


def test_a_day_that_is_far_away() -> None:
    day = Timeframe("1d")
    assert list(pieces(day, 0, day.floor(START_MS), 10**6))[-1].start_ms == 0
