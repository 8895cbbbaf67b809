"""Gap arithmetic against a dict from open time to reason."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from candleactors.model import Gap, GapReason, Stream, Timeframe
from candleactors.stores.gaps import cover, fill, from_on, repaired

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


@given(TIMEFRAMES, st.data())
def test_what_is_cut_off_is_what_opens_before(timeframe: Timeframe, data: st.DataObject) -> None:
    stream = Stream("binance-spot", "BTCUSDT", timeframe)
    # Some venues count days from another one: what is cut keeps its phase.
    shift_ms = data.draw(st.sampled_from([0, 86_400_000])) if timeframe.text == "3d" else 0
    opens = [at + shift_ms for at in opens_of(timeframe, 24)]
    reasons = data.draw(st.dictionaries(st.integers(0, 23), st.sampled_from(GapReason)))
    missing = {opens[index]: reason for index, reason in reasons.items()}
    start_ms = data.draw(st.sampled_from(opens)) + data.draw(st.integers(-1, 1))
    left = {at: reason for at, reason in missing.items() if at >= start_ms}
    assert from_on(runs(missing, stream, opens), start_ms) == runs(left, stream, opens)


def test_a_long_gap_is_cut_at_once() -> None:
    for text in ("1m", "59m", "7s@epoch", "7h", "1d", "1M"):
        stream = Stream("binance-spot", "BTCUSDT", Timeframe(text))
        first_ms = stream.timeframe.floor(START_MS)
        last_ms = stream.timeframe.floor(START_MS + 20 * 365 * 86_400_000)
        [cut] = from_on([Gap(stream, first_ms, last_ms, GapReason.VENUE)], last_ms - 1)
        assert (cut.first_open_ms, cut.last_open_ms) == (last_ms, last_ms)
