"""Gap counts: what is open is what was told and did not come, whatever comes in which order."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from candleactors.core.gap_count import GapCount
from candleactors.model import Gap, GapReason, Stream, Timeframe

BTC = Stream("binance-spot", "BTCUSDT", Timeframe("1m"))
ETH = Stream("binance-spot", "ETHUSDT", Timeframe("1m"))


def gap(first: int, last: int, reason: GapReason = GapReason.UNREPAIRED, stream: Stream = BTC) -> Gap:
    return Gap(stream, first * 60_000, last * 60_000, reason)


@given(st.sets(st.integers(0, 30)), st.lists(st.integers(0, 30)))
def test_what_is_open_is_what_did_not_come(missing: set[int], came: list[int]) -> None:
    count = GapCount()
    runs: list[list[int]] = []
    for minute in sorted(missing):
        if runs and runs[-1][-1] == minute - 1:
            runs[-1].append(minute)
        else:
            runs.append([minute])
    for run in runs:
        count.on_gap(gap(run[0], run[-1]))
    for minute in came:
        count.on_revised(BTC, minute * 60_000)
    assert count.candles[GapReason.UNREPAIRED] == len(missing)
    assert count.gaps[GapReason.UNREPAIRED] == len(runs)
    assert count.repaired == len(missing & set(came))
    assert count.open()[GapReason.UNREPAIRED][1] == len(missing - set(came))


def test_a_candle_in_the_middle_makes_two_gaps_of_one() -> None:
    count = GapCount()
    count.on_gap(gap(1, 5, GapReason.VENUE))
    count.on_revised(BTC, 3 * 60_000)
    count.on_revised(BTC, 3 * 60_000)
    count.on_revised(ETH, 2 * 60_000)
    assert count.open() == {GapReason.VENUE: (2, 4), GapReason.UNREPAIRED: (0, 0)}
    assert count.repaired == 1


def test_stored_gaps_are_open_and_not_told() -> None:
    count = GapCount()
    count.begin(BTC, [gap(1, 2)])
    count.on_gap(gap(5, 5))
    count.begin(BTC, [])  # followed anew after a restart: the store may be behind
    assert count.open()[GapReason.UNREPAIRED] == (2, 3)
    assert count.candles == {GapReason.UNREPAIRED: 1}


def test_streams_that_nobody_follows_are_forgotten() -> None:
    count = GapCount()
    count.begin(BTC, [gap(1, 2)])
    count.on_gap(gap(1, 1, stream=ETH))
    count.keep({ETH})
    assert count.open()[GapReason.UNREPAIRED] == (1, 1)
