"""Holes against sets of open times."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence

from hypothesis import given
from hypothesis import strategies as st

from candleactors.core.holes import HoleReason, absent, confirmed, first_open, holes
from candleactors.core.stretches import Stretch
from candleactors.model import Gap, GapReason, Stream, Timeframe

# 7h restarts every midnight, months have unequal lengths, and 3d has any phase.
TIMEFRAMES = st.sampled_from([Timeframe(text) for text in ("1m", "7h", "3d", "1w", "1M", "1d@+0800")])
START_MS = 1_700_000_000_000


def opens_of(timeframe: Timeframe, count: int) -> list[int]:
    first_ms = timeframe.floor(START_MS)
    return [timeframe.advance(first_ms, each) for each in range(count)]


def stretches(opens: Sequence[int], there: Iterable[int]) -> list[Stretch]:
    """Return a stretch for each run of the indices `there`."""
    found: list[Stretch] = []
    for index in sorted(there):
        start_ms, until_ms = opens[index], opens[index + 1]
        if found and found[-1].until_ms == start_ms:
            start_ms = found.pop().start_ms
        found.append(Stretch(start_ms, until_ms))
    return found


def indices(opens: Sequence[int], spans: Iterable[Stretch]) -> list[int]:
    return [index for span in spans for index, at_ms in enumerate(opens) if span.start_ms <= at_ms < span.until_ms]


@given(TIMEFRAMES, st.sets(st.integers(0, 39)), st.tuples(st.integers(0, 39), st.integers(1, 40)))
def test_what_is_absent(timeframe: Timeframe, there: set[int], within: tuple[int, int]) -> None:
    opens, (first, last) = opens_of(timeframe, 41), sorted(within)
    found = absent(Stretch(opens[first], opens[last]), reversed(stretches(opens, there)))
    assert indices(opens, found) == [index for index in range(first, last) if index not in there]
    assert all(one.until_ms < other.start_ms for one, other in itertools.pairwise(found))


@given(
    TIMEFRAMES,
    st.sets(st.integers(0, 39)),
    st.dictionaries(st.integers(0, 39), st.sampled_from(GapReason)),
)
def test_holes_are_what_no_candle_is_in(timeframe: Timeframe, there: set[int], noted: dict[int, GapReason]) -> None:
    """Between the first candle and the last, whatever is noted about it; elsewhere, what is noted."""
    opens, stream = opens_of(timeframe, 41), Stream("v", "S", timeframe)
    noted = {index: reason for index, reason in noted.items() if index not in there}
    gaps = [Gap(stream, opens[index], opens[index], reason) for index, reason in sorted(noted.items())]
    found = holes(stream, stretches(opens, there), gaps)
    reasons = {GapReason.VENUE: HoleReason.CONFIRMED, GapReason.UNREPAIRED: HoleReason.UNREPAIRED}
    expected = dict.fromkeys(range(min(there, default=0), max(there, default=0)), HoleReason.UNNOTED)
    expected = {index: reason for index, reason in expected.items() if index not in there}
    expected |= {index: reasons[reason] for index, reason in noted.items()}
    told = {index: hole.reason for hole in found for index in indices(opens, [hole.stretch])}
    assert told == expected
    assert sum(hole.count for hole in found) == len(expected)
    assert found == sorted(found, key=lambda hole: hole.first_ms)
    venue = [index for index, reason in noted.items() if reason is GapReason.VENUE]
    assert indices(opens, confirmed(gaps)) == sorted(venue)


@given(TIMEFRAMES, st.integers(0, 40), st.integers(-1, 1), st.integers(0, 5))
def test_the_first_interval_from_an_instant_on(timeframe: Timeframe, index: int, off_ms: int, phase_days: int) -> None:
    shift_ms = phase_days * 86_400_000 if timeframe == Timeframe("3d") else 0
    opens = [at_ms + shift_ms for at_ms in opens_of(timeframe, 41)]
    instant_ms = opens[index] + off_ms
    expected = next((at_ms for at_ms in opens if at_ms >= instant_ms), opens[40])
    if instant_ms >= opens[0]:
        assert first_open(timeframe, instant_ms, opens[40]) == expected
