"""What a comparison with the store brings to a continuity, which may know better."""

from __future__ import annotations

import pytest
from test_continuity import at, candle, row, started, stream

from candleactors.core.continuity import Continuity
from candleactors.core.continuity_rules import ContinuityRules
from candleactors.core.delivered import remembered
from candleactors.model import Candle, Gap, GapReason, Revision

FAR = at(10_000)


def revised(n: int, price: int, revision: int) -> Candle:
    return row(n, price=price).replace(revision=revision)


def test_what_was_delivered_like_that_is_no_news() -> None:
    continuity = started(10)
    assert continuity.on_compared([revised(3, 0, 1), revised(4, 0, 1)]) == []


def test_what_was_delivered_otherwise_is_revised() -> None:
    continuity = started(10)
    assert continuity.on_compared([revised(3, 7, 9)]) == [Revision(revised(3, 7, 1))]
    assert continuity.on_compared([revised(3, 7, 9)]) == [], "once"
    assert continuity.on_compared([revised(3, 8, 9)]) == [Revision(revised(3, 8, 2))]
    assert continuity.counters.revisions == 2
    events, fetch = continuity.tick(1.0, at(10) + 31_000)
    assert (events, fetch) == ([], None), "nothing is in doubt"


def test_what_is_forgotten_is_what_the_store_says() -> None:
    most = remembered(stream().timeframe)
    continuity = started(most + 20)
    assert continuity.on_compared([revised(2, 7, 4)]) == [Revision(revised(2, 7, 4))]
    assert continuity.memory.candles.keys() == {at(n) for n in range(20, most + 20)}, "and stays forgotten"


@pytest.mark.parametrize("n", [10, 11])
def test_what_comes_in_order_is_left_to_come(n: int) -> None:
    continuity = started(10)
    assert continuity.on_compared([revised(n, 7, 1)]) == []
    assert continuity.on_closed(candle(at(10)), 1.0, FAR) == [candle(at(10))]


def test_nothing_is_revised_before_the_beginning() -> None:
    continuity = Continuity(stream(), ContinuityRules(), 0.0)
    assert continuity.on_compared([revised(0, 7, 1)]) == []


def test_a_gap_is_filled_once_whether_it_is_old_or_not() -> None:
    old = Gap(stream(), at(0), at(1), GapReason.VENUE)
    recent = tuple(candle(at(n)) for n in range(100, 160))
    young = Gap(stream(), at(150), at(151), GapReason.UNREPAIRED)
    continuity = Continuity(
        stream(),
        ContinuityRules(),
        0.0,
        resume_after_ms=at(159),
        gaps=(old, young),
        recent=tuple(each for each in recent if each.open_time_ms not in (at(150), at(151))),
    )
    rows = [revised(n, 0, 1) for n in (0, 1, 150, 151)]
    assert continuity.on_compared(rows) == [Revision(each) for each in rows]
    assert continuity.memory.gaps == ()
    assert at(0) not in continuity.memory.candles, "what is recent is not forgotten for what is old"
    assert continuity.memory.candles.keys() >= {at(150), at(151)}
    assert continuity.on_compared(rows[2:]) == []
