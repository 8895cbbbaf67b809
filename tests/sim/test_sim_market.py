"""The market: every candle is what its trades say, whoever asks, in whatever order."""

from __future__ import annotations

import itertools
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sim_client import START_MS, SYMBOLS

from candleactors.errors import ConfigError, InvalidSymbol
from candleactors.model import DAY_MS, HOUR_MS, MINUTE_MS, Timeframe
from candleactors.sim import SPOT_RULES, Market, Outage, SymbolSpec, TruthCandle, default_symbols
from candleactors.sim.tape import Trade

NAMES = [spec.symbol for spec in SYMBOLS]
TIMEFRAMES = [timeframe.text for timeframe in SPOT_RULES.timeframes]


def folded(trades: list[Trade], spec: SymbolSpec, previous_close: Decimal) -> tuple[Decimal | int, ...]:
    """The naive candle of some trades, in decimals throughout."""
    if not trades:
        flat = previous_close
        return flat, flat, flat, flat, Decimal(0), Decimal(0), 0, Decimal(0), Decimal(0)
    prices = [Decimal(t.price).scaleb(-spec.tick) for t in trades]
    amounts = [Decimal(t.quantity).scaleb(-spec.step) for t in trades]
    bought = [(p, a) for p, a, t in zip(prices, amounts, trades, strict=True) if t.taker_buys]
    return (
        prices[0],
        max(prices),
        min(prices),
        prices[-1],
        sum(amounts, Decimal(0)),
        sum((p * a for p, a in zip(prices, amounts, strict=True)), Decimal(0)),
        len(trades),
        sum((a for _, a in bought), Decimal(0)),
        sum((p * a for p, a in bought), Decimal(0)),
    )


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 10**6),
    symbol=st.sampled_from(NAMES),
    text=st.sampled_from(TIMEFRAMES),
    from_ms=st.integers(-3 * HOUR_MS, 0),
    for_ms=st.integers(1, 30 * MINUTE_MS),
)
def test_every_candle_is_what_its_trades_say(seed: int, symbol: str, text: str, from_ms: int, for_ms: int) -> None:
    market = Market(seed, START_MS, SYMBOLS, history_ms=4 * HOUR_MS)
    timeframe, spec, tape = Timeframe(text), market.specs[symbol], market.tape(symbol)
    first_ms, until_ms = START_MS + from_ms, START_MS + from_ms + for_ms
    before = tape.trades(0, first_ms)
    for candle in market.truth(symbol, timeframe, first_ms, until_ms):
        assert candle.open_time_ms >= first_ms
        assert candle.close_time_ms == candle.venue_close_ms < until_ms
        before += tape.trades(before[-1].at_ms + 1, candle.open_time_ms)
        previous = Decimal(before[-1].price).scaleb(-spec.tick)
        trades = tape.trades(candle.open_time_ms, candle.close_time_ms + 1)
        assert candle.values() == folded(trades, spec, previous)


@settings(deadline=None, max_examples=15)
@given(seed=st.integers(0, 10**6), instants=st.lists(st.integers(0, 3 * HOUR_MS), min_size=1, max_size=6))
def test_what_is_known_depends_on_the_instant_not_on_the_questions(seed: int, instants: list[int]) -> None:
    asked = Market(seed, START_MS, SYMBOLS, history_ms=HOUR_MS)
    for text in ("1s", "1m", "15m", "1h"):
        for instant in instants:
            now_ms = START_MS + instant
            fresh = Market(seed, START_MS, SYMBOLS, history_ms=HOUR_MS).series("BTCUSDT", Timeframe(text))
            series = asked.series("BTCUSDT", Timeframe(text))
            assert series.last_rows(now_ms, 3, now_ms) == fresh.last_rows(now_ms, 3, now_ms)


def test_trades_are_numbered_without_gaps_in_time_order() -> None:
    tape = Market(3, START_MS, SYMBOLS).tape("BTCUSDT")
    trades = tape.trades(0, START_MS + HOUR_MS)
    assert [t.id for t in trades] == list(range(1, len(trades) + 1))
    assert trades == sorted(trades, key=lambda t: t.at_ms)
    assert trades[0].at_ms == tape.listed_ms
    assert all(t.price > 0 and t.quantity > 0 for t in trades)


def test_candles_follow_each_other_without_holes_and_carry_the_close_over_quiet_intervals() -> None:
    market = Market(1, START_MS, SYMBOLS)
    candles = market.truth("QUIETUSDT", Timeframe("1m"), 0, START_MS)
    assert len(candles) == 6 * 60
    assert any(c.trades == 0 for c in candles)
    assert any(c.trades for c in candles[1:])
    for earlier, later in itertools.pairwise(candles):
        assert later.open_time_ms == earlier.close_time_ms + 1
        if not later.trades:
            assert later.open == later.high == later.low == later.close == earlier.close
            assert later.volume == later.quote_volume == later.taker_buy_volume == 0


def test_three_day_candles_have_the_phase_of_the_listing_day_and_weeks_open_on_monday() -> None:
    for day in range(3):
        listed_ms = START_MS - START_MS % DAY_MS - (10 + day) * DAY_MS
        spec = SymbolSpec("OLD", "USDT", "5", trades_per_minute=0.05, listed_ms=listed_ms)
        market = Market(1, START_MS, [spec])
        opens = [c.open_time_ms for c in market.truth("OLDUSDT", Timeframe("3d"), 0, START_MS)]
        assert opens[0] == listed_ms
        assert {b - a for a, b in itertools.pairwise(opens)} == {3 * DAY_MS}
        for week in market.truth("OLDUSDT", Timeframe("1w"), 0, START_MS):
            assert (week.open_time_ms // DAY_MS + 3) % 7 == 0


def outage_market(start_min: int, minutes: int) -> Market:
    outage = Outage(START_MS + start_min * MINUTE_MS + 20_500, START_MS + (start_min + minutes) * MINUTE_MS)
    return Market(5, START_MS, SYMBOLS, outages=[outage])


def test_an_outage_cuts_one_candle_short_and_leaves_a_hole() -> None:
    market = outage_market(10, 5)
    candles = market.truth("BTCUSDT", Timeframe("1m"), START_MS + 8 * MINUTE_MS, START_MS + 18 * MINUTE_MS)
    minutes = [(c.open_time_ms - START_MS) // MINUTE_MS for c in candles]
    assert minutes == [8, 9, 10, 15, 16, 17]
    assert candles[2].venue_close_ms == START_MS + 10 * MINUTE_MS + 20_499
    assert candles[2].close_time_ms == START_MS + 11 * MINUTE_MS - 1
    assert all(c.venue_close_ms == c.close_time_ms for c in candles if c is not candles[2])
    assert not market.tape("BTCUSDT").trades(START_MS + 10 * MINUTE_MS + 20_500, START_MS + 15 * MINUTE_MS)


def test_an_outage_inside_one_candle_leaves_it_regular() -> None:
    market = outage_market(10, 5)
    hours = market.truth("BTCUSDT", Timeframe("1h"), START_MS, START_MS + HOUR_MS)
    assert [c.venue_close_ms - c.close_time_ms for c in hours] == [0]


def test_during_an_outage_the_last_row_is_the_one_it_cut_short() -> None:
    market = outage_market(10, 5)
    now_ms = START_MS + 13 * MINUTE_MS
    rows = market.series("BTCUSDT", Timeframe("1m")).last_rows(now_ms, 2, now_ms)
    assert [(r.open_ms - START_MS) // MINUTE_MS for r in rows] == [9, 10]
    assert rows[-1].close_ms < now_ms
    assert market.halted("BTCUSDT", now_ms)
    assert not market.halted("BTCUSDT", START_MS + 15 * MINUTE_MS)


@pytest.mark.parametrize("symbol", ["BTCUSDT", "QUIETUSDT"])
def test_a_correction_changes_the_minute_and_everything_that_contains_it_and_nothing_else(symbol: str) -> None:
    market = Market(9, START_MS, SYMBOLS)
    now_ms = START_MS + 40_000

    def everything() -> dict[str, list[TruthCandle]]:
        return {text: market.truth(symbol, Timeframe(text), 0, now_ms) for text in ("1s", "1m", "5m", "1h")}

    at_ms = START_MS - 95 * MINUTE_MS + 17_000
    before = everything()
    running = market.series(symbol, Timeframe("4h")).row(Timeframe("4h").floor(at_ms), now_ms)
    assert market.correct(symbol, at_ms, now_ms)
    after = everything()
    for text, candles in after.items():
        changed = [new for old, new in zip(before[text], candles, strict=True) if old != new]
        assert len(changed) == 1, text
        assert changed[0].open_time_ms <= at_ms <= changed[0].close_time_ms or text == "1s"
        known = next(c for c in before[text] if c.open_time_ms == changed[0].open_time_ms)
        assert (changed[0].trades or 0) - (known.trades or 0) == 1
    assert running != market.series(symbol, Timeframe("4h")).row(Timeframe("4h").floor(at_ms), now_ms)


def test_a_running_minute_or_a_minute_before_the_listing_cannot_be_corrected() -> None:
    market = Market(9, START_MS, SYMBOLS)
    assert not market.correct("BTCUSDT", START_MS + 1, START_MS + 30_000)
    assert not market.correct("BTCUSDT", START_MS - DAY_MS, START_MS)


def test_a_halt_at_run_time_stops_trades_without_changing_the_past() -> None:
    market = Market(4, START_MS, SYMBOLS)
    now_ms = START_MS + 30_000
    before = market.tape("BTCUSDT").trades(0, now_ms)
    market.halt("BTCUSDT", now_ms, now_ms + 5 * MINUTE_MS)
    assert market.tape("BTCUSDT").trades(0, now_ms) == before
    assert not market.tape("BTCUSDT").trades(now_ms, now_ms + 5 * MINUTE_MS)
    assert market.tape("BTCUSDT").trades(now_ms + 5 * MINUTE_MS, now_ms + 7 * MINUTE_MS)


def test_default_symbols_have_every_liquidity_and_one_is_not_ascii() -> None:
    specs = default_symbols()
    assert len({spec.symbol for spec in specs}) == 20
    assert min(spec.trades_per_minute for spec in specs) < 0.5 < 50 < max(spec.trades_per_minute for spec in specs)
    assert [spec.spot and not spec.futures for spec in specs if not spec.symbol.isascii()] == [True]
    assert len(default_symbols(300)) == 300


def test_bad_markets_are_refused() -> None:
    with pytest.raises(ConfigError):
        SymbolSpec("BTC", "USDT", "1", tick=5, step=4)
    with pytest.raises(ConfigError):
        SymbolSpec("BTC", "USDT", "0.001", tick=2)
    with pytest.raises(ConfigError):
        Market(1, START_MS, [SYMBOLS[0], SYMBOLS[0]])
    with pytest.raises(InvalidSymbol):
        Market(1, START_MS, SYMBOLS).truth("NOPEUSDT", Timeframe("1m"), 0, START_MS)
