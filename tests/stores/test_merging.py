"""The rule for candles of files: what is kept, what is corrected, and that it can be done again."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stored_candles import candle

from candleactors.model import Candle, Source
from candleactors.stores.merging import Outcome, merged

STORED = candle()
OTHER = candle(volume=Decimal(13), source=Source.REST)


@pytest.mark.parametrize(
    ("stored", "new", "corrects", "outcome", "result"),
    [
        (None, OTHER, False, Outcome.NEW, OTHER),
        (STORED, STORED, True, Outcome.UNCHANGED, None),
        (STORED, candle(volume=Decimal("12.5"), source=Source.REST, received_ms=0), True, Outcome.UNCHANGED, None),
        (STORED, OTHER, True, Outcome.CHANGED, OTHER.replace(revision=1)),
        (STORED, OTHER, False, Outcome.KEPT, None),
        (STORED.replace(revision=2), OTHER, True, Outcome.KEPT, None),
        (STORED.replace(revision=2), STORED, True, Outcome.UNCHANGED, None),
        (STORED, OTHER.replace(revision=3), False, Outcome.CHANGED, OTHER.replace(revision=3)),
        (STORED, STORED.replace(revision=3), False, Outcome.CHANGED, STORED.replace(revision=3)),
        (STORED.replace(closed=False), OTHER, False, Outcome.CHANGED, OTHER),
        (STORED.replace(closed=False, revision=9), OTHER, False, Outcome.CHANGED, OTHER),
        (STORED.replace(complete=False, missing=2), OTHER, False, Outcome.CHANGED, OTHER),
        (STORED, OTHER.replace(complete=False, missing=2), True, Outcome.KEPT, None),
        (STORED, STORED.replace(quote_volume=None, trades=None), True, Outcome.UNCHANGED, None),
        (STORED.replace(trades=None), STORED, False, Outcome.CHANGED, STORED),
        (STORED.replace(trades=None), OTHER, False, Outcome.KEPT, None),
        (
            STORED.replace(revision=4, trades=None),
            STORED.replace(source=Source.REST),
            False,
            Outcome.CHANGED,
            STORED.replace(revision=4),
        ),
    ],
)
def test_precedence(
    stored: Candle | None, new: Candle, corrects: bool, outcome: Outcome, result: Candle | None
) -> None:
    assert merged(stored, new, corrects=corrects) == (outcome, result)


candles = st.builds(
    lambda **changes: candle(**changes),
    volume=st.sampled_from([Decimal("12.50"), Decimal(13)]),
    trades=st.sampled_from([None, 7, 8]),
    closed=st.just(True),
    complete=st.booleans(),
    revision=st.integers(0, 2),
    source=st.sampled_from(Source),
)


@given(stored=candles, new=candles, corrects=st.booleans())
def test_merging_twice_changes_nothing_and_nothing_is_downgraded(stored: Candle, new: Candle, corrects: bool) -> None:
    outcome, result = merged(stored, new, corrects=corrects)
    after = result or stored
    assert (after.revision, after.complete) >= (stored.revision, stored.complete)
    assert (result is None) == (outcome in (Outcome.UNCHANGED, Outcome.KEPT))
    assert merged(after, new, corrects=corrects)[1] is None
    if stored.trades is not None and result is not None and result.revision == stored.revision and stored.complete:
        assert result.trades is not None
