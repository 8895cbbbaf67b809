"""Candles of files merged into a store: what is kept, what is corrected, and that it can be done again."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from candleactors.errors import LocalProtocolError
from candleactors.model import MINUTE_MS, Candle, Gap, GapReason, Source, Stream, Timeframe
from candleactors.stores.merging import Outcome, Tally, merged
from candleactors.stores.sqlite import SqliteStore, open_sqlite

STREAM = Stream("binance-spot", "BTCUSDT", Timeframe("1m"))
START_MS = 1_700_000_040_000


def candle(index: int = 0, **changes: Any) -> Candle:
    open_ms = START_MS + index * MINUTE_MS
    made = Candle(
        STREAM.venue,
        STREAM.symbol,
        STREAM.timeframe,
        open_ms,
        STREAM.timeframe.close_ms(open_ms),
        Decimal("0.0010"),
        Decimal("0.0020"),
        Decimal("0.00090000"),
        Decimal("0.0011"),
        Decimal("12.50"),
        Decimal("0.5"),
        7,
        None,
        None,
        closed=True,
        complete=True,
        source=Source.WS,
        revision=0,
        received_ms=open_ms + MINUTE_MS,
    )
    return made.replace(**changes)


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


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "candles.sqlite"


async def everything(store: SqliteStore) -> list[Candle]:
    return await store.candles(STREAM)


async def merge(store: SqliteStore, candles: Sequence[Candle], corrects: bool = True) -> Tally:
    return (await store.merge(candles, corrects=corrects))[STREAM]


async def test_a_store_is_merged_into(path: Path) -> None:
    async with open_sqlite(path, threaded=False) as store:
        await store.write([candle(0), candle(1), candle(2, trades=None), candle(3, revision=1)], [])
        arrived = [candle(0), *(candle(at, volume=Decimal(13)) for at in (1, 3, 5)), candle(2), candle(4)]
        assert await merge(store, arrived) == Tally(new=2, changed=2, unchanged=1, kept=1)
        stored = await everything(store)
        assert [each.revision for each in stored] == [0, 1, 0, 1, 0, 0]
        assert [each.volume for each in stored] == [
            Decimal(text) for text in ("12.5", "13", "12.5", "12.5", "12.5", "13")
        ]
        assert await merge(store, arrived) == Tally(unchanged=5, kept=1)
        assert await everything(store) == stored


async def test_more_rows_than_a_statement_takes(path: Path) -> None:
    many = [candle(at) for at in range(1_700)]
    async with open_sqlite(path, threaded=False) as store:
        await store.write(many[::3], [])
        assert await merge(store, many) == Tally(new=1_133, unchanged=567)
        assert await everything(store) == many


async def test_several_streams_and_none(path: Path) -> None:
    other = [candle(at, symbol="ETHUSDT") for at in range(3)]
    async with open_sqlite(path, threaded=False) as store:
        found = await store.merge([*other, candle()], corrects=True)
        assert found == {other[0].stream: Tally(new=3), STREAM: Tally(new=1)}
        assert await store.merge([], corrects=True) == {}


async def test_gaps_are_filled(path: Path) -> None:
    gap = Gap(STREAM, START_MS + MINUTE_MS, START_MS + 4 * MINUTE_MS, GapReason.UNREPAIRED)
    async with open_sqlite(path, threaded=False) as store:
        await store.write([candle(0), candle(5)], [gap])
        await merge(store, [candle(2), candle(3)])
        left = [(each.first_open_ms - START_MS, each.count) for each in await store.gaps(STREAM)]
        assert left == [(MINUTE_MS, 1), (4 * MINUTE_MS, 1)]


async def test_a_guest_writes_beside_the_writer(path: Path) -> None:
    async with open_sqlite(path) as store, open_sqlite(path, guest=True) as guest:
        await store.write([candle(0)], [])
        await merge(guest, [candle(0), candle(1)])
        await store.write([candle(2)], [])
        assert len(await everything(store)) == len(await everything(guest)) == 3


async def test_the_writer_waits_for_a_guest_and_the_other_way_round(path: Path) -> None:
    async with open_sqlite(path) as store, open_sqlite(path, guest=True, busy_timeout_s=30) as guest:

        async def write(first: int) -> None:
            for at in range(first, 400, 20):
                await store.write([candle(at + step) for step in range(10)], [])

        async def bring(first: int) -> None:
            for at in range(first, 400, 20):
                await merge(guest, [candle(at + step) for step in range(10)])

        async with trio.open_nursery() as nursery:
            nursery.start_soon(write, 0)
            nursery.start_soon(bring, 10)
        assert await everything(store) == [candle(at) for at in range(400)]


async def test_a_reader_does_not_merge(path: Path) -> None:
    async with open_sqlite(path, threaded=False):
        pass
    async with open_sqlite(path, threaded=False, read_only=True) as store:
        with pytest.raises(LocalProtocolError):
            await store.merge([candle()], corrects=True)


@settings(max_examples=30)
@given(
    stored=st.lists(candles, max_size=1),
    runs=st.lists(st.tuples(st.lists(st.integers(0, 3), unique=True), candles, st.booleans()), max_size=5),
)
def test_the_store_agrees_with_the_rule(
    stored: list[Candle],
    runs: list[tuple[list[int], Candle, bool]],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    path = tmp_path_factory.mktemp("store") / "candles.sqlite"

    async def run() -> None:
        expected: dict[int, Candle] = {each.open_time_ms: each for each in stored}
        async with open_sqlite(path, threaded=False) as store:
            await store.write(stored, [])
            for indexes, like, corrects in runs:
                arrived = [
                    like.replace(open_time_ms=candle(at).open_time_ms, close_time_ms=candle(at).close_time_ms)
                    for at in indexes
                ]
                await store.merge(arrived, corrects=corrects)
                for each in arrived:
                    _, result = merged(expected.get(each.open_time_ms), each, corrects=corrects)
                    if result is not None:
                        expected[each.open_time_ms] = result
            assert await everything(store) == [expected[at] for at in sorted(expected)]

    trio.run(run)
