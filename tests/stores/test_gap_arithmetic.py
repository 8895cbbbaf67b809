"""Gap arithmetic against a dict from open time to reason."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from candleactors.model import Gap, GapReason, Stream, Timeframe
from candleactors.stores.gaps import cover, fill, repaired

# 7h restarts every midnight and months have unequal lengths: plain arithmetic on durations fails on both.
TIMEFRAMES = st.sampled_from([Timeframe("1m"), Timeframe("7h"), Timeframe("3d"), Timeframe("1M")])
START_MS = 1_700_000_000_000


def opens_of(timeframe: Timeframe, count: int) -> list[int]:
    opens = [timeframe.floor(START_MS)]
    while len(opens) < count:
        opens.append(timeframe.next_open(opens[-1]))
    return opens


def runs(missing: dict[int, GapReason], stream: Stream, opens: list[int]) -> list[Gap]:
    """Return the longest runs of one reason in `missing`: what the arithmetic must come to."""
    found: list[Gap] = []
    for index, at in enumerate(opens):
        if at not in missing:
            continue
        if found and found[-1].reason == missing[at] and found[-1].last_open_ms == opens[index - 1]:
            found[-1] = Gap(stream, found[-1].first_open_ms, at, missing[at])
        else:
            found.append(Gap(stream, at, at, missing[at]))
    return found


def within(at: int, gap: Gap) -> bool:
    return gap.first_open_ms <= at <= gap.last_open_ms


@given(TIMEFRAMES, st.data())
def test_cover_and_fill_agree_with_a_dict(timeframe: Timeframe, data: st.DataObject) -> None:
    stream = Stream("binance-spot", "BTCUSDT", timeframe)
    opens = opens_of(timeframe, 24)
    index = st.integers(0, len(opens) - 1)
    gaps: list[Gap] = []
    missing: dict[int, GapReason] = {}
    for _ in range(data.draw(st.integers(1, 12))):
        if data.draw(st.booleans()):
            first, last = sorted((data.draw(index), data.draw(index)))
            reason = data.draw(st.sampled_from(GapReason))
            gaps = cover(gaps, Gap(stream, opens[first], opens[last], reason))
            missing |= dict.fromkeys(opens[first : last + 1], reason)
        else:
            filled = sorted(opens[i] for i in data.draw(st.sets(index)))
            hits = {at: missing[at] for at in filled if at in missing}
            repairs = repaired(gaps, filled)
            assert {at: gap.reason for gap in repairs for at in opens if within(at, gap)} == hits
            assert sum(gap.count for gap in repairs) == len(hits)
            gaps = fill(gaps, filled)
            for at in filled:
                missing.pop(at, None)
        assert gaps == runs(missing, stream, opens)
        assert sum(gap.count for gap in gaps) == len(missing)
