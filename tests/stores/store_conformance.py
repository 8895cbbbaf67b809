"""What every store has to fulfil, as tests to inherit: `StoreConformance`, of which each store has a subclass."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from decimal import Decimal
from pathlib import Path
from typing import Any, Generic, TypeAlias, TypeVar

import pytest
import trio
import trio.testing
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st
from store_model import StoreModel
from stored_candles import FAR_MS, OTHER, STREAM, at_ms, candle, gap

from candleactors.core.stretches import Stretch
from candleactors.errors import LocalProtocolError, StoreUnavailable
from candleactors.model import DAY_MS, Candle, GapReason, Source, Stream, Timeframe
from candleactors.stores.base import REPAIRS_KEPT_MS, Archive, Standing
from candleactors.stores.merging import Tally, merged

Place = TypeVar("Place")
Opened: TypeAlias = AbstractAsyncContextManager[Archive]

MONTHLY = Stream("bitfinex", "tBTCF0:USTF0", Timeframe("1M"))
amounts = st.decimals(allow_nan=False, allow_infinity=False, min_value=0) | st.decimals(
    min_value=0, max_value=10**12, places=20
)
"""Of up to 28 digits, with exponents that no market has as well; and others with many digits."""


def sane(amount: Decimal) -> bool:
    return abs(amount.as_tuple().exponent) < 1_000 and amount.adjusted() < 1_000  # type: ignore[arg-type]  # finite


def written_out(amount: Decimal | None) -> Decimal | None:
    """Return `amount` as a store gives it back: without an exponent, every digit kept."""
    return None if amount is None else Decimal(format(amount, "f"))


draws = st.builds(
    lambda index, stream, **changes: candle(index, stream, **changes),
    st.integers(0, 5),
    st.sampled_from([STREAM, OTHER]),
    closed=st.booleans(),
    complete=st.booleans(),
    revision=st.integers(0, 2),
    volume=st.integers(0, 99).map(Decimal),
)
gap_draws = st.builds(
    lambda first, length, reason, stream: gap(first, first + length, reason, stream),
    st.integers(0, 5),
    st.integers(0, 3),
    st.sampled_from(GapReason),
    st.sampled_from([STREAM, OTHER]),
)
merges = st.tuples(
    st.lists(st.integers(0, 3), unique=True),
    st.builds(
        lambda **changes: candle(**changes),
        volume=st.sampled_from([Decimal("12.50"), Decimal(13)]),
        trades=st.sampled_from([None, 7, 8]),
        complete=st.booleans(),
        revision=st.integers(0, 2),
        source=st.sampled_from(Source),
    ),
    st.booleans(),
)


class StoreConformance(Generic[Place]):
    """Tests of a store. `Place` says where it is; what lies there outlives the store."""

    @pytest.fixture
    def place(self, tmp_path: Path) -> Place:
        """Return a place without a store, for this test alone."""
        raise NotImplementedError

    def open(self, place: Place, *, threaded: bool = True, read_only: bool = False, guest: bool = False) -> Opened:
        """Open the store at `place`, made if there is none."""
        raise NotImplementedError

    def clear(self, place: Place) -> None:
        """Leave nothing of the store at `place`, which nobody has open."""
        raise NotImplementedError

    def impatient(self, place: Place) -> Opened:
        """Open the store at `place` so that it does not wait for the locks of others."""
        raise NotImplementedError

    def seize(self, place: Place) -> Callable[[], None]:
        """Hold, as a stranger, a lock that a write needs; return what lets go of it."""
        raise NotImplementedError

    def texts(self, place: Place) -> list[str | None]:
        """Return the quote volumes in the view ``candles`` as others read them, in the order of time."""
        raise NotImplementedError

    def live(self, place: Place, scenario: Callable[[Archive], Awaitable[None]]) -> None:
        """Run `scenario` with an empty store: for Hypothesis, whose tests are synchronous."""

        async def run() -> None:
            async with self.open(place, threaded=False) as store:
                await scenario(store)

        self.clear(place)
        trio.run(run)

    # ── rows ──

    @pytest.mark.parametrize("threaded", [True, False])
    async def test_candles_come_back_digit_for_digit(self, place: Place, threaded: bool) -> None:
        written = candle(0, trades=None, taker_buy_volume=Decimal("1E+3"), source=Source.DERIVED, revision=3, missing=2)
        async with self.open(place, threaded=threaded) as store:
            await store.write([written], [])
            [read] = await store.candles(STREAM)
        assert read == written
        assert [str(v) for v in (read.open, read.low, read.volume)] == ["0.0010", "0.00090000", "12.50"]
        assert read.quote_volume is not None
        assert read.quote_volume.as_tuple() == Decimal("0.00000000").as_tuple()
        assert read.taker_buy_volume == 1000
        assert self.texts(place) == ["0.00000000"]

    @pytest.mark.parametrize(
        "text", ["1E-8", "1.000", "0", "0E-8", "1E+3", "0.1", "9" * 40, "0." + "1" * 40, "1" * 31 + "." + "2" * 32]
    )
    async def test_numbers_of_any_size(self, place: Place, text: str) -> None:
        number = Decimal(text)
        row = candle(0, open=number, high=number, low=number, close=number, volume=number, taker_buy_volume=number)
        async with self.open(place) as store:
            await store.write([row.replace(taker_buy_quote_volume=number)], [])
            [read] = await store.candles(STREAM)
        kept = (read.open, read.high, read.low, read.close, read.volume)
        expected = written_out(number)
        assert expected is not None
        for value in (*kept, read.taker_buy_volume, read.taker_buy_quote_volume):
            assert value is not None
            assert value.as_tuple() == expected.as_tuple()

    def test_any_candle_comes_back(self, place: Place) -> None:
        counts = st.none() | st.integers(0, 2**53)

        @given(
            numbers=st.lists(amounts.filter(sane), min_size=5, max_size=5),
            optional=st.lists(st.none() | amounts.filter(sane), min_size=3, max_size=3),
            trades=counts,
            stream=st.sampled_from([STREAM, MONTHLY, Stream("ünïcode", "币安人生USDT", Timeframe("7m@epoch"))]),
            flags=st.tuples(st.booleans(), st.booleans()),
            source=st.sampled_from(Source),
            more=st.tuples(st.integers(0, 10_000), st.integers(0, 2**42), st.integers(0, 50_000)),
            open_ms=st.integers(-(2**40), 2**43),
        )
        @settings(max_examples=50)
        def check(
            numbers: list[Decimal],
            optional: list[Decimal | None],
            trades: int | None,
            stream: Stream,
            flags: tuple[bool, bool],
            source: Source,
            more: tuple[int, int, int],
            open_ms: int,
        ) -> None:
            opens = stream.timeframe.floor(open_ms)
            times = opens, stream.timeframe.close_ms(opens)
            quote, *taker = optional
            names = stream.venue, stream.symbol, stream.timeframe
            fields: list[Any] = [*names, *times, *numbers, quote, trades, *taker, *flags, source, *more]
            written = Candle(*fields)

            async def scenario(store: Archive) -> None:
                await store.write([written], [])
                [read] = await store.candles(stream)
                assert read == written
                for ours, theirs in zip(written.values(), read.values(), strict=True):
                    if isinstance(ours, Decimal):
                        assert isinstance(theirs, Decimal)
                        assert str(theirs) == str(written_out(ours))
                    else:
                        assert ours is theirs or ours == theirs
                assert await store.streams() == [stream]

            self.live(place, scenario)

        check()

    async def test_what_was_written_is_there_after_reopening(self, place: Place) -> None:
        async with self.open(place) as store:
            await store.write([candle(0)], [gap(1, 2)])
        async with self.open(place) as store:
            assert await store.candles(STREAM) == [candle(0)]
            assert await store.gaps(STREAM) == [gap(1, 2)]
            assert await store.streams() == [STREAM]

    # ── precedence and gaps ──

    @pytest.mark.parametrize("together", [True, False])
    async def test_precedence(self, place: Place, together: bool) -> None:
        """Each of these replaces the ones before it, in one write or in one after the other, and not the other way."""
        ladder = [
            candle(0, closed=False, complete=False),
            candle(0, closed=False, complete=False, volume=Decimal(1)),
            candle(0, closed=False),
            candle(0, closed=False, complete=False, revision=9),
            candle(0, complete=False, missing=3),
            candle(0),
            candle(0, volume=Decimal(2)),
            candle(0, complete=False, revision=1),
            candle(0, revision=1),
        ]
        async with self.open(place) as store:
            for index, best in enumerate(ladder):
                stream = evolve(STREAM, symbol=f"S{index}")
                ours = [each.replace(symbol=stream.symbol) for each in ladder[: index + 1]]
                if together:
                    await store.write(ours, [])
                else:
                    for each in ours:
                        await store.write([each], [])
                lower = [each for each in ours if _rank(each) < _rank(best)]
                await store.write(lower, [])
                assert await store.candles(stream) == [best.replace(symbol=stream.symbol)]

    def test_any_writes_come_to_what_a_dict_says(self, place: Place) -> None:
        writes = st.lists(
            st.tuples(st.lists(draws, max_size=5), st.lists(gap_draws, max_size=2), st.integers(0, 9)), max_size=6
        )

        @given(writes)
        @settings(max_examples=100)
        def check(batches: list[tuple[list[Candle], list[Any], int]]) -> None:
            model = StoreModel()

            async def scenario(store: Archive) -> None:
                for candles, gaps, repaired_ms in batches:
                    await store.write(candles, gaps, repaired_ms=repaired_ms)
                    model.write(candles, gaps, repaired_ms)
                latest = await store.tails({STREAM: FAR_MS, OTHER: FAR_MS})
                for stream in (STREAM, OTHER):
                    assert await store.candles(stream) == model.candles(stream)
                    assert await store.gaps(stream) == model.gaps(stream)
                    for complete in (False, True):
                        assert await store.covered(stream, complete=complete) == model.covered(
                            stream, complete=complete
                        )
                    assert latest.get(stream, []) == model.tail(stream, FAR_MS)
                    tails = await store.tails({stream: at_ms(1)})
                    assert tails.get(stream, []) == model.tail(stream, at_ms(1))
                for since_ms in (0, 5):
                    assert await store.gap_summary(since_ms) == model.summary(since_ms)

            self.live(place, scenario)

        check()

    async def test_gaps_are_split_by_candles_and_only_by_closed_ones(self, place: Place) -> None:
        async with self.open(place) as store:
            await store.write([candle(0)], [gap(1, 9), gap(2, 3, stream=OTHER)])
            await store.write([candle(4), candle(6, closed=False)], [])
            assert await store.gaps(STREAM) == [gap(1, 3), gap(5, 9)]
            await store.write([candle(6), candle(5), candle(1), candle(9)], [])
            assert await store.gaps(STREAM) == [gap(2, 3), gap(7, 8)]
            assert await store.gaps(OTHER) == [gap(2, 3, stream=OTHER)]
            await store.write([candle(i) for i in (2, 3, 7, 8)], [])
            assert await store.gaps(STREAM) == []

    async def test_a_gap_never_covers_a_closed_candle(self, place: Place) -> None:
        async with self.open(place) as store:
            await store.write([candle(2), candle(4, closed=False)], [])
            await store.write([candle(6)], [gap(0, 7), gap(5, 7, GapReason.VENUE)])
            expected = [gap(0, 1), gap(3, 4), gap(5, 5, GapReason.VENUE), gap(7, 7, GapReason.VENUE)]
            assert await store.gaps(STREAM) == expected

    async def test_what_fills_a_gap_is_remembered_with_its_time(self, place: Place) -> None:
        async with self.open(place) as store:
            await store.write([candle(0)], [gap(1, 9), gap(11, 11, GapReason.VENUE), gap(2, 3, stream=OTHER)])
            empty = await store.gap_summary(0)
            assert (empty.gaps, empty.candles, empty.repaired_candles, empty.repaired_streams) == (3, 12, 0, 0)
            assert empty.by_reason == {GapReason.VENUE: 1, GapReason.UNREPAIRED: 2}
            assert empty.oldest == gap(1, 9)
            await store.write([candle(1), candle(2), candle(3, closed=False), candle(11)], [], repaired_ms=1_000)
            await store.write([candle(2, revision=1), candle(20)], [], repaired_ms=1_500)
            await store.write([candle(5), candle(2, OTHER)], [gap(30, 31)], repaired_ms=2_000)
            counts = {}
            for since_ms in (0, 1_000, 1_001, 2_000, 2_001):
                found = await store.gap_summary(since_ms)
                counts[since_ms] = (found.repaired_candles, found.repaired_streams)
                assert (found.gaps, found.candles, found.oldest) == (4, 9, gap(3, 4))
            assert counts == {0: (5, 2), 1_000: (5, 2), 1_001: (2, 2), 2_000: (2, 2), 2_001: (0, 0)}

    async def test_repairs_are_forgotten_in_the_end(self, place: Place) -> None:
        async with self.open(place) as store:
            await store.write([candle(0)], [gap(1, 9)])
            for number in range(1, 6):
                await store.write([candle(number)], [], repaired_ms=number * DAY_MS)
            await store.write([candle(6)], [], repaired_ms=2 * DAY_MS + REPAIRS_KEPT_MS)
            assert (await store.gap_summary(0)).repaired_candles == 5

    async def test_a_summary_is_of_one_moment(self, place: Place) -> None:
        """Every gap is of one candle, and filled: what is open and what is repaired always come to the same sum."""
        async with self.open(place) as store, trio.open_nursery() as nursery:
            await store.write([], [gap(2 * each, 2 * each) for each in range(50)])

            async def repair() -> None:
                for each in range(50):
                    await store.write([candle(2 * each)], [], repaired_ms=each)
                nursery.cancel_scope.cancel()

            nursery.start_soon(repair)
            while True:
                found = await store.gap_summary(0)
                assert found.candles + found.repaired_candles == 50

    # ── reading ──

    async def test_ranges_limits_and_newest(self, place: Place) -> None:
        rows = [candle(i) for i in range(10)]
        async with self.open(place) as store:
            await store.write([*rows, candle(3, OTHER)], [])
            t = [row.open_time_ms for row in rows]
            assert await store.candles(STREAM) == rows
            assert await store.candles(STREAM, t[2], t[4]) == rows[2:5]
            assert await store.candles(STREAM, t[2] + 1, t[4] - 1) == rows[3:4]
            assert await store.candles(STREAM, limit=3) == rows[:3]
            assert await store.candles(STREAM, limit=3, newest=True) == rows[-3:]
            assert await store.candles(STREAM, end_ms=t[5], limit=2, newest=True) == rows[4:6]
            assert await store.candles(STREAM, -(10**30), 10**30, 10**30) == rows
            assert await store.candles(STREAM, limit=0) == []
            assert await store.candles(STREAM, t[5], t[4]) == []
            assert await store.candles(evolve(STREAM, timeframe=Timeframe("1M"))) == []
            with pytest.raises(ValueError, match="limit"):
                await store.candles(STREAM, limit=-1)
            assert await store.streams() == [STREAM, OTHER]

    async def test_months_and_years_apart(self, place: Place) -> None:
        """Rows of many months in one write, and queries across them."""
        rows = []
        for months in (-700, -1, 0, 1, 2, 3, 50, 400):
            opens = MONTHLY.timeframe.advance(MONTHLY.timeframe.floor(at_ms(0)), months)
            like = candle(0, MONTHLY)
            rows.append(like.replace(open_time_ms=opens, close_time_ms=MONTHLY.timeframe.close_ms(opens)))
        async with self.open(place) as store:
            await store.write(rows[::-1], [])
            assert await store.candles(MONTHLY) == rows
            assert await store.candles(MONTHLY, limit=4, newest=True) == rows[-4:]
            assert await store.candles(MONTHLY, rows[1].open_time_ms, rows[5].open_time_ms) == rows[1:6]
            assert await store.tails({MONTHLY: rows[6].open_time_ms}) == {MONTHLY: rows[6:]}
            assert await store.tails({MONTHLY: FAR_MS}) == {MONTHLY: rows[-1:]}

            assert await store.covered(MONTHLY) == [
                Stretch(rows[0].open_time_ms, rows[0].next_open_time_ms),
                Stretch(rows[1].open_time_ms, rows[5].next_open_time_ms),
                Stretch(rows[6].open_time_ms, rows[6].next_open_time_ms),
                Stretch(rows[7].open_time_ms, rows[7].next_open_time_ms),
            ]

    async def test_what_is_covered_within_a_time(self, place: Place) -> None:
        async with self.open(place) as store:
            await store.write([candle(each) for each in (0, 1, 2, 5, 6, 9)] + [candle(3, closed=False)], [])
            assert await store.covered(STREAM) == [
                Stretch(at_ms(0), at_ms(3)), Stretch(at_ms(5), at_ms(7)), Stretch(at_ms(9), at_ms(10))
            ]  # fmt: skip
            assert await store.covered(STREAM, at_ms(1), at_ms(5)) == [
                Stretch(at_ms(1), at_ms(3)), Stretch(at_ms(5), at_ms(6))
            ]  # fmt: skip
            assert await store.covered(STREAM, at_ms(3), at_ms(4)) == []
            assert await store.covered(STREAM, -FAR_MS, FAR_MS) == await store.covered(STREAM)
            assert await store.covered(OTHER) == []

    async def test_tails_ignore_open_candles_and_unknown_streams(self, place: Place) -> None:
        async with self.open(place) as store:
            await store.write([candle(0), candle(1), candle(2, closed=False), candle(0, OTHER, closed=False)], [])
            wanted = dict.fromkeys([STREAM, OTHER, evolve(STREAM, symbol="NONE")], FAR_MS)
            assert await store.tails(wanted) == {STREAM: [candle(1)]}
            assert await store.tails({STREAM: -(2**60), OTHER: 0}) == {STREAM: [candle(0), candle(1)]}
            assert await store.tails({}) == {}

    async def test_where_a_stream_stands(self, place: Place) -> None:
        async with self.open(place) as store:
            await store.write([candle(at) for at in range(5)], [gap(6, 7), gap(-3, -2, GapReason.VENUE)])
            await store.write([candle(5, closed=False), candle(4, OTHER)], [gap(9, 9, stream=OTHER)])
            gaps = (gap(-3, -2, GapReason.VENUE), gap(6, 7))
            assert await store.standing(STREAM, 3) == Standing(gaps, (candle(2), candle(3), candle(4)))
            assert (await store.standing(STREAM, 3)).last_ms == at_ms(7)
            assert await store.standing(OTHER, 9) == Standing((gap(9, 9, stream=OTHER),), (candle(4, OTHER),))
            await store.write([candle(8)], [])
            assert (await store.standing(STREAM, 1)).last_ms == at_ms(8)
            assert await store.standing(evolve(STREAM, symbol="NONE"), 3) == Standing()
            assert Standing().last_ms is None

    async def test_an_empty_store_answers(self, place: Place) -> None:
        async with self.open(place) as store:
            assert await store.streams() == []
            assert await store.candles(STREAM) == []
            assert await store.gaps(STREAM) == []
            assert (await store.gap_summary(0)).oldest is None
            await store.write([], [])
            assert await store.streams() == []

    # ── pruning ──

    async def test_pruning_takes_the_oldest_first_and_cuts_gaps(self, place: Place) -> None:
        async with self.open(place) as store:
            rows = [candle(0, closed=False), candle(1), candle(2), candle(6), candle(10)]
            await store.write([*rows, candle(0, OTHER)], [gap(3, 5), gap(7, 9, GapReason.VENUE)])
            assert await store.prune(STREAM, at_ms(8), most=2) == 2
            assert await store.candles(STREAM) == rows[2:]
            assert await store.gaps(STREAM) == [gap(3, 5), gap(7, 9, GapReason.VENUE)]
            assert await store.prune(STREAM, at_ms(8), most=2) == 2
            assert await store.gaps(STREAM) == [gap(7, 9, GapReason.VENUE)]
            assert await store.prune(STREAM, at_ms(8), most=2) == 0
            assert await store.candles(STREAM) == rows[4:]
            assert await store.gaps(STREAM) == [gap(8, 9, GapReason.VENUE)]
            assert await store.candles(OTHER) == [candle(0, OTHER)]
            await store.reclaim()
            assert await store.candles(STREAM) == rows[4:]

    async def test_a_stream_that_was_pruned_altogether_is_known_and_takes_candles(self, place: Place) -> None:
        async with self.open(place) as store:
            await store.write([candle(0), candle(1)], [gap(2, 3), gap(9, 9, stream=OTHER)])
            await store.write([candle(2)], [], repaired_ms=7)
            assert await store.prune(STREAM, 10**30, most=100) == 3
            assert await store.prune(OTHER, FAR_MS, most=100) == 0
            assert await store.prune(MONTHLY, FAR_MS, most=100) == 0
            await store.reclaim()
            assert await store.candles(STREAM) == []
            assert await store.gaps(STREAM) == await store.gaps(OTHER) == []
            assert await store.streams() == [STREAM, OTHER]
            assert (await store.gap_summary(0)).repaired_candles == 1
            await store.write([candle(1), candle(50_000)], [gap(0, 0)])
            assert await store.candles(STREAM) == [candle(1), candle(50_000)]
            assert await store.gaps(STREAM) == [gap(0, 0)]

    def test_any_pruning_agrees_with_the_model(self, place: Place) -> None:
        cuts = st.tuples(st.sampled_from([STREAM, OTHER]), st.integers(-1, 8), st.integers(1, 4))
        writes = st.tuples(st.lists(draws, max_size=5), st.lists(gap_draws, max_size=2))

        @given(st.lists(writes | cuts, max_size=8))
        @settings(max_examples=60)
        def check(steps: list[Any]) -> None:
            model = StoreModel()

            async def scenario(store: Archive) -> None:
                for step in steps:
                    if len(step) == 2:
                        candles, gaps = step
                        await store.write(candles, gaps, repaired_ms=0)
                        model.write(candles, gaps, 0)
                    else:
                        stream, before, most = step
                        pruned = await store.prune(stream, at_ms(before), most=most)
                        assert pruned == model.prune(stream, at_ms(before), most)
                for stream in (STREAM, OTHER):
                    assert await store.candles(stream) == model.candles(stream)
                    assert await store.gaps(stream) == model.gaps(stream)

            self.live(place, scenario)

        check()

    async def test_pruning_and_writing_at_once(self, place: Place) -> None:
        """A feed goes on while another process prunes: what is written stays, and gaps are those of what is left."""
        async with self.open(place) as store, self.open(place, guest=True) as guest:
            await store.write([candle(at) for at in range(0, 2_000, 2)], [])

            async def write() -> None:
                for at in range(1, 2_000, 20):
                    await store.write([candle(at + step) for step in range(0, 18, 2)], [gap(at + 18, at + 18)])

            async def prune() -> None:
                while await guest.prune(STREAM, at_ms(1_000), most=37):
                    await guest.reclaim()

            async with trio.open_nursery() as nursery:
                nursery.start_soon(write)
                nursery.start_soon(prune)
            while await guest.prune(STREAM, at_ms(1_000), most=500):
                pass
            left = [at for at in range(1_000, 2_000) if at % 20 != 19]
            assert await store.candles(STREAM) == [candle(at) for at in left]
            assert await store.gaps(STREAM) == [gap(at, at) for at in range(1_019, 2_000, 20)]

    # ── several at once, trouble, the end ──

    async def test_readers_and_the_writer_do_not_wait_for_each_other(self, place: Place) -> None:
        async with self.open(place) as store:

            async def read() -> None:
                seen = 0
                while seen < 50:
                    rows = await store.candles(STREAM)
                    # Batches of ten: a reader never sees a part of one.
                    assert len(rows) % 10 == 0
                    assert len(rows) >= seen * 10
                    seen = len(rows) // 10

            async with trio.open_nursery() as nursery:
                nursery.start_soon(read)
                nursery.start_soon(read)
                for batch in range(50):
                    await store.write([candle(batch * 10 + i) for i in range(10)], [])

    async def test_a_reader_reads_beside_the_writer_and_changes_nothing(self, place: Place) -> None:
        async with self.open(place) as store, self.open(place, read_only=True) as reader:
            await store.write([candle(0)], [])
            assert await reader.candles(STREAM) == [candle(0)]
            with pytest.raises(LocalProtocolError, match="reading only"):
                await reader.write([candle(1)], [])
            with pytest.raises(LocalProtocolError, match="reading only"):
                await reader.merge([candle(1)], corrects=True)
            with pytest.raises(LocalProtocolError, match="reading only"):
                await reader.prune(STREAM, FAR_MS, most=10)

    async def test_a_lock_held_by_a_stranger_passes(self, place: Place) -> None:
        async with self.impatient(place) as store:
            await store.write([candle(0)], [gap(1, 5)])
            let_go = self.seize(place)
            try:
                for _ in range(2):
                    with pytest.raises(StoreUnavailable, match="lock"):
                        await store.write([candle(1), candle(9)], [gap(3, 3, GapReason.VENUE)])
                # Nothing of it was written, and reading goes on.
                assert await store.candles(STREAM) == [candle(0)]
                assert await store.gaps(STREAM) == [gap(1, 5)]
                assert (await store.gap_summary(0)).repaired_candles == 0
            finally:
                let_go()
            await store.write([candle(1), candle(9)], [gap(3, 3, GapReason.VENUE)])
            assert await store.candles(STREAM) == [candle(0), candle(1), candle(9)]
            assert await store.gaps(STREAM) == [gap(2, 2), gap(3, 3, GapReason.VENUE), gap(4, 5)]

    @pytest.mark.parametrize("threaded", [True, False])
    async def test_cancelled_writes_are_whole_or_absent(self, place: Place, threaded: bool) -> None:
        async with self.open(place, threaded=threaded) as store:
            for round_ in range(10):
                batch = [candle(round_ * 100 + i) for i in range(100)]
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(store.write, batch, [])
                    for _ in range(round_ % 4):
                        await trio.lowlevel.checkpoint()
                    nursery.cancel_scope.cancel()
                stored = await store.candles(STREAM, batch[0].open_time_ms, batch[-1].open_time_ms)
                assert stored in ([], batch)
                await store.write(batch, [])
            assert len(await store.candles(STREAM)) == 1000

    async def test_every_call_is_a_checkpoint(self, place: Place) -> None:
        async with self.open(place, threaded=False) as store:
            with trio.testing.assert_checkpoints():
                await store.write([], [])
            with trio.testing.assert_checkpoints():
                await store.tails({})
            with trio.testing.assert_checkpoints():
                await store.candles(STREAM)
            with trio.testing.assert_checkpoints():
                await store.gaps(STREAM)
            with trio.testing.assert_checkpoints():
                await store.standing(STREAM, 1)
            with trio.testing.assert_checkpoints():
                await store.gap_summary(0)
            with trio.testing.assert_checkpoints():
                await store.merge([], corrects=True)
            with trio.testing.assert_checkpoints():
                await store.streams()
            with trio.testing.assert_checkpoints():
                await store.prune(STREAM, 0, most=1)
            with trio.testing.assert_checkpoints():
                await store.reclaim()

    async def test_closing_is_idempotent_and_final(self, place: Place) -> None:
        async with self.open(place) as store:
            await store.write([candle(0)], [])
            await store.aclose()
            await store.aclose()
            with pytest.raises(LocalProtocolError, match="closed"):
                await store.write([candle(1)], [])
            with pytest.raises(LocalProtocolError, match="closed"):
                await store.candles(STREAM)
            with pytest.raises(LocalProtocolError, match="closed"):
                await store.prune(STREAM, FAR_MS, most=10)
            with pytest.raises(LocalProtocolError, match="closed"):
                await store.reclaim()

    async def test_closing_works_when_cancelled(self, place: Place) -> None:
        async with self.open(place) as store:
            await store.write([candle(0)], [])
            with trio.CancelScope() as scope:
                scope.cancel()
                await store.aclose()
        async with self.open(place) as store:
            assert await store.candles(STREAM) == [candle(0)]

    # ── merging ──

    async def test_it_is_merged_into(self, place: Place) -> None:
        async with self.open(place, threaded=False) as store:
            await store.write([candle(0), candle(1), candle(2, trades=None), candle(3, revision=1)], [])
            arrived = [candle(0), *(candle(at, volume=Decimal(13)) for at in (1, 3, 5)), candle(2), candle(4)]
            assert await merge(store, arrived) == Tally(new=2, changed=2, unchanged=1, kept=1)
            stored = await store.candles(STREAM)
            assert [each.revision for each in stored] == [0, 1, 0, 1, 0, 0]
            assert [each.volume for each in stored] == [
                Decimal(text) for text in ("12.5", "13", "12.5", "12.5", "12.5", "13")
            ]
            assert await merge(store, arrived) == Tally(unchanged=5, kept=1)
            assert await store.candles(STREAM) == stored

    async def test_many_rows_are_merged(self, place: Place) -> None:
        many = [candle(at) for at in range(1_700)]
        async with self.open(place, threaded=False) as store:
            await store.write(many[::3], [])
            assert await merge(store, many) == Tally(new=1_133, unchanged=567)
            assert await store.candles(STREAM) == many

    async def test_several_streams_and_none_are_merged(self, place: Place) -> None:
        other = [candle(at, OTHER) for at in range(3)]
        async with self.open(place, threaded=False) as store:
            found = await store.merge([*other, candle()], corrects=True)
            assert found == {OTHER: Tally(new=3), STREAM: Tally(new=1)}
            assert await store.merge([], corrects=True) == {}

    async def test_a_merge_fills_gaps_and_says_when(self, place: Place) -> None:
        async with self.open(place) as store:
            await store.write([candle(0)], [gap(1, 4)])
            await store.merge([candle(0), candle(1)], corrects=True, repaired_ms=7)
            await store.merge([candle(3, received_ms=8)], corrects=True)
            assert [(await store.gap_summary(since_ms)).repaired_candles for since_ms in (7, 8, 9)] == [2, 1, 0]
            assert await store.gaps(STREAM) == [gap(2, 2), gap(4, 4)]

    async def test_the_writer_waits_for_a_guest_and_the_other_way_round(self, place: Place) -> None:
        async with self.open(place) as store, self.open(place, guest=True) as guest:

            async def write(first: int) -> None:
                for at in range(first, 400, 20):
                    await store.write([candle(at + step) for step in range(10)], [])

            async def bring(first: int) -> None:
                for at in range(first, 400, 20):
                    await guest.merge([candle(at + step) for step in range(10)], corrects=True)

            async with trio.open_nursery() as nursery:
                nursery.start_soon(write, 0)
                nursery.start_soon(bring, 10)
            assert await store.candles(STREAM) == [candle(at) for at in range(400)]

    def test_any_merges_agree_with_the_rule(self, place: Place) -> None:
        @given(stored=st.lists(merges, max_size=1), runs=st.lists(merges, max_size=5))
        @settings(max_examples=30)
        def check(stored: list[Any], runs: list[Any]) -> None:
            model = StoreModel()

            async def scenario(store: Archive) -> None:
                for indexes, like, corrects in [*stored, *runs]:
                    arrived = [
                        like.replace(open_time_ms=at_ms(at), close_time_ms=candle(at).close_time_ms) for at in indexes
                    ]
                    expected = {each.open_time_ms: each for each in model.candles(STREAM)}
                    outcomes = Tally()
                    for each in arrived:
                        outcomes.count(merged(expected.get(each.open_time_ms), each, corrects=corrects)[0])
                    tallies = await store.merge(arrived, corrects=corrects)
                    assert tallies == ({STREAM: outcomes} if arrived else {})
                    model.merge(arrived, corrects=corrects, repaired_ms=0)
                assert await store.candles(STREAM) == model.candles(STREAM)

            self.live(place, scenario)

        check()


async def merge(store: Archive, candles: Sequence[Candle], *, corrects: bool = True) -> Tally:
    return (await store.merge(candles, corrects=corrects))[STREAM]


def _rank(row: Candle) -> tuple[bool, int, bool]:
    return row.closed, row.revision, row.complete
