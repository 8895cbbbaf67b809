"""Discrepancies between what is stored and what the venue says, against a plain reading of the rule."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from candleactors.core.answer import Answer
from candleactors.core.discrepancies import Discrepancies, discrepancies
from candleactors.core.fetch import Fetch, Urgency
from candleactors.core.filling import flat_candle
from candleactors.core.stretches import Stretch
from candleactors.model import MINUTE_MS, Candle, Source, Stream, Timeframe

STREAM = Stream("bitfinex", "tBTCUST", Timeframe("1m"))
START_MS = 1_700_000_040_000
LONG_AGO_MS = START_MS + 1_000 * MINUTE_MS


def at(index: int) -> int:
    return START_MS + index * MINUTE_MS


def candle(index: int, price: int = 1, source: Source = Source.REST, **changes: Any) -> Candle:
    value = Decimal(price)
    return Candle(
        STREAM.venue, STREAM.symbol, STREAM.timeframe, at(index), at(index + 1) - 1, value, value, value, value,
        Decimal(5), None, None, None, None, True, True, source, 0, 7,
    ).replace(**changes)  # fmt: skip


def flat(index: int, price: int = 1) -> Candle:
    return flat_candle(STREAM, at(index), Decimal(price), 7)


def compare(
    rows: list[Candle],
    stored: list[Candle],
    first: int = 0,
    until: int = 10,
    *,
    fills: bool = False,
    now_ms: int = LONG_AGO_MS,
) -> Discrepancies:
    fetch = Fetch(STREAM, at(min([first, *((row.open_time_ms - START_MS) // MINUTE_MS for row in rows)])), 99, VERIFY)
    answer = Answer.read(fetch, rows, now_ms, settle_s=1.0, lag_s=10.0, windowed=False)
    return discrepancies(Stretch(at(first), at(until)), answer, stored, fills=fills)


VERIFY = Urgency.VERIFY
PRICES = st.dictionaries(st.integers(0, 9), st.integers(1, 3))


@given(PRICES, PRICES)
def test_what_the_venue_says_is_what_should_be_stored(rows: dict[int, int], stored: dict[int, int]) -> None:
    found = compare(
        [candle(index, price) for index, price in sorted(rows.items())],
        [candle(index, price, revision=3) for index, price in sorted(stored.items())],
    )
    assert found.compared == len(rows)
    assert found.missing == {at(index): candle(index, rows[index]) for index in sorted(rows.keys() - stored.keys())}
    differing = [index for index in sorted(rows.keys() & stored.keys()) if rows[index] != stored[index]]
    assert found.wrong == {at(index): candle(index, rows[index], revision=4) for index in differing}
    assert bool(found) == bool(found.missing or found.wrong)


@given(PRICES, st.sets(st.integers(0, 9)))
def test_what_is_put_right_is_right(rows: dict[int, int], kept: set[int]) -> None:
    """Where intervals without trades are filled, comparing again finds nothing, and nothing is missing in between."""
    venue = [candle(index, price) for index, price in sorted(rows.items())]
    whole, price = {}, None
    for index in range(10):
        if index in rows:
            price, whole[index] = rows[index], candle(index, rows[index])
        elif price is not None:
            whole[index] = flat(index, price)
    stored = {index: each for index, each in whole.items() if index in kept}
    found = compare(venue, list(stored.values()), fills=True)
    assert found.missing == {at(index): each for index, each in whole.items() if index not in kept}
    assert not found.wrong
    put_right = {each.open_time_ms: each for each in stored.values()} | dict(found.missing)
    assert not compare(venue, [each for _, each in sorted(put_right.items())], fills=True)


def test_flat_candles_repeat_the_close_before_the_stretch() -> None:
    for before, stored in (([candle(-3, 2)], []), ([], [candle(-1, 2)]), ([candle(-1, 2)], [candle(-1, 1)])):
        found = compare([*before, candle(2, 3)], stored, 0, 4, fills=True)
        assert list(found.missing.values()) == [flat(0, 2), flat(1, 2), candle(2, 3), flat(3, 3)]
    nothing_known = compare([candle(2, 3)], [], 0, 4, fills=True)
    assert list(nothing_known.missing.values()) == [candle(2, 3), flat(3, 3)]


def test_flat_candles_follow_a_correction() -> None:
    stored = [candle(0, 1), flat(1, 1), flat(2, 1).replace(revision=1), candle(3, 4)]
    found = compare([candle(0, 2), candle(3, 4)], stored, 0, 4, fills=True)
    assert list(found.wrong.values()) == [
        candle(0, 2, revision=1), flat(1, 2).replace(revision=1), flat(2, 2).replace(revision=2),
    ]  # fmt: skip
    assert not found.missing


def test_a_candle_with_trades_is_not_wrong_because_the_venue_has_no_row() -> None:
    for fills in (False, True):
        assert not compare([candle(0), candle(2)], [candle(0), candle(1, 9), candle(2)], 0, 3, fills=fills)


def test_a_row_for_what_was_filled_is_a_correction() -> None:
    found = compare([candle(0), candle(1, 1)], [candle(0), flat(1, 1)], 0, 2, fills=True)
    assert list(found.wrong.values()) == [candle(1, 1, revision=1)]


def test_what_a_file_knew_more_is_no_discrepancy() -> None:
    rich = candle(0, trades=5, quote_volume=Decimal(9))
    assert not compare([candle(0)], [rich], 0, 1)
    assert list(compare([rich], [candle(0)], 0, 1).wrong.values()) == [rich.replace(revision=1)]


def test_young_rows_are_left_to_others() -> None:
    now_ms = at(3) + 5_000
    rows = [candle(0), candle(1), candle(2, 2)]
    assert set(compare(rows, [], 0, 3, now_ms=now_ms).missing) == {at(0), at(1)}
    assert set(compare([candle(0)], [], 0, 3, fills=True, now_ms=now_ms).missing) == {at(0), at(1)}


def test_open_candles_are_as_good_as_none() -> None:
    assert set(compare([candle(0)], [candle(0, closed=False)], 0, 1).missing) == {at(0)}


def test_only_what_is_shown_twice_is_believed() -> None:
    first = compare([candle(0, 2), candle(1, 2), candle(2, 2), candle(3)], [candle(0), candle(1)])
    same = compare([candle(0, 2), candle(1, 3), candle(2, 2), candle(3)], [candle(0), candle(1), candle(3)])
    assert first.confirmed_by(same) == [candle(0, 2, revision=1), candle(2, 2, revision=1)]
    assert first.confirmed_by(compare([], [])) == []
    later = first.since(at(1))
    assert set(later.missing) == {at(2), at(3)}
    assert set(later.wrong) == {at(1)}
    assert later.compared == first.compared
