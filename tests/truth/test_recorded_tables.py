"""Derived candles equal what the venues themselves say of the higher timeframes, over everything that is recorded.

Whatever has the shape of a recording of candles is found and compared, also where nobody here has seen it. Every
difference is a fault of ours unless `known_faults.toml` lists it, and a listed one must be there.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from decimal import Decimal
from itertools import islice
from pathlib import Path

import pytest
from known_faults import known_faults, reasons
from recorded_pairs import EXPECTED, RECORDED, Group, folder_of, group_of, pairs_of, tally
from table_comparison import FIELDS
from table_pairs import Pair
from truth_report import row, totals
from venue_tables import Hole, Table

from candleactors import resample
from candleactors.model import Candle, Timeframe
from recorded import VARIABLE, root

_FAULTS = known_faults()
_NOTHING = pytest.mark.skip(reason=f"no recordings under {root()}; set {VARIABLE} to the folder of recordings")


def _pairs() -> Iterable[object]:
    yield from (pytest.param(pair, id=f"{pair[0]} to {pair[1]}") for pair in RECORDED.pairs)
    for table in RECORDED.unreadable:
        yield pytest.param(None, id=str(table), marks=pytest.mark.skip(reason=f"needs {table.lacks}"))
    if not RECORDED.tables:
        yield pytest.param(None, id="none", marks=_NOTHING)


def _here(group: Group) -> None:
    """Skip where the recordings of a group are not at hand."""
    for recording in group[:2]:
        if not (root() / recording).is_dir():
            pytest.skip(f"no recording {recording} under {root()}; set {VARIABLE} to the folder of recordings")
    for table in RECORDED.unreadable:
        if (table.recording, table.market) == group[1:]:
            pytest.skip(f"needs {table.lacks}")


@pytest.mark.parametrize("pair", list(_pairs()))
def test_every_complete_candle_equals_the_venues(pair: Pair) -> None:
    found = sorted(RECORDED.comparison(pair).differences)
    known = _FAULTS.get((str(pair[0]), str(pair[1])), [])
    unknown = [difference for difference in found if difference not in known]
    gone = [difference for difference in known if difference not in found]
    assert not unknown, f"{len(unknown)} values differ, first {unknown[:5]}"
    assert not gone, f"these are listed as faults of the venue, but do not differ: {gone}"


@pytest.mark.parametrize("group", EXPECTED, ids=" ".join)
def test_enough_is_compared(group: Group) -> None:
    _here(group)
    assert tally(group).compared >= EXPECTED[group]


@pytest.mark.parametrize("group", EXPECTED, ids=" ".join)
def test_candles_equal_the_venues_over_its_own_holes_too(group: Group) -> None:
    """What lacks constituents that the venue never had says that it is incomplete, and has the venue's values."""
    _here(group)
    total = tally(group)
    assert total.holed_equal == total.holed


def test_faults_are_those_of_recorded_pairs() -> None:
    here = {(str(low), str(high)) for low, high in RECORDED.pairs}
    gone = [pair for pair in _FAULTS if pair not in here and all((root() / name.split()[0]).exists() for name in pair)]
    if RECORDED.unreadable:
        gone = [pair for pair in gone if not pair[0].startswith("aster/")]
    assert not gone, "listed as faults, but nothing compares these"
    assert reasons()


_VENUE_HOLES = {
    "binance_spot/klines_multi_tf_sqlite_octobot ADAUSDT 4h": [Hole("2020-02-19 12:00", "2020-02-19 12:00", 1)],
    "binance_spot/klines_multi_tf_sqlite_octobot BTCUSDT 12h": [Hole("2018-02-08 12:00", "2018-02-08 12:00", 1)],
    "binance_spot/klines_multi_tf_sqlite_octobot BTCUSDT 1m": [Hole("2018-04-28 10:12", "2018-04-28 10:12", 1)],
    "binance_spot/klines_multi_tf_sqlite_octobot BTCUSDT 4h": [Hole("2018-02-08 04:00", "2018-02-09 04:00", 7)],
    "binance_spot/klines_multi_tf_sqlite_octobot BTCUSDT 8h": [Hole("2018-02-08 08:00", "2018-02-09 00:00", 3)],
    "binance_spot/klines_multi_tf_sqlite_octobot XRBBTC 12h": [Hole("2018-02-08 12:00", "2018-02-08 12:00", 1)],
    "binance_spot/klines_multi_tf_sqlite_octobot XRBBTC 1h": [
        Hole("2018-06-26 02:00", "2018-06-26 11:00", 10),
        Hole("2018-06-27 13:00", "2018-06-27 13:00", 1),
        Hole("2018-07-04 01:00", "2018-07-04 07:00", 7),
    ],
    "binance_spot/klines_multi_tf_sqlite_octobot XRBBTC 2h": [
        Hole("2018-06-26 02:00", "2018-06-26 10:00", 5),
        Hole("2018-07-04 02:00", "2018-07-04 06:00", 3),
    ],
    "binance_spot/klines_multi_tf_sqlite_octobot XRBBTC 4h": [
        Hole("2018-06-26 04:00", "2018-06-26 08:00", 2),
        Hole("2018-07-04 04:00", "2018-07-04 04:00", 1),
    ],
    "binance_spot/klines_multi_tf_sqlite_octobot XRBBTC 8h": [Hole("2018-02-08 08:00", "2018-02-09 00:00", 3)],
    "binance_spot/klines_rest_json_outages BTCUSDT 1h": [Hole("2023-03-24 13:00", "2023-03-24 13:00", 1)],
    "binance_spot/klines_rest_json_outages BTCUSDT 2h": [Hole("2018-02-08 02:00", "2018-02-09 08:00", 16)],
    "binance_spot/klines_rest_json_outages BTCUSDT 4h": [Hole("2018-02-08 04:00", "2018-02-09 04:00", 7)],
    "binance_spot/rest_recorded/api_v3_klines_06.json BTCUSDT 1h": [Hole("2020-06-28 02:00", "2020-06-28 04:00", 3)],
}
"""Where a venue has no candle: outages, and one minute without a trade or an answer."""


def test_venues_have_no_holes_but_those() -> None:
    tables = [table for table in RECORDED.tables if table.lacks is None and _known(table)]
    if not tables:
        pytest.skip(f"no recordings under {root()}; set {VARIABLE} to the folder of recordings")
    holes = {str(table): list(table.outline.holes) for table in tables if table.outline.holes}
    assert holes == {name: held for name, held in _VENUE_HOLES.items() if name in {str(table) for table in tables}}


def _known(table: Table) -> bool:
    """Whether this is one of the recordings that were looked through, and not one that nobody here has seen."""
    return any((folder_of(table), table.market) in (group[::2], group[1:]) for group in EXPECTED)


def test_no_row_lies_off_its_grid() -> None:
    """Spot 3d candles are counted from the day the symbol was listed, others lie where they are expected."""
    if not RECORDED.tables:
        pytest.skip(f"no recordings under {root()}; set {VARIABLE} to the folder of recordings")
    readable = [table for table in RECORDED.tables if table.lacks is None and _known(table)]
    assert {str(table): table.outline.off_grid for table in readable if table.outline.off_grid} == {}
    assert {(table.market, table.timeframe.text) for table in readable if table.timeframe.anchor is not None} <= {
        ("ADAUSDT", "3d@2018-04-17"),
        ("BTCUSDT", "3d@2017-08-17"),
        ("BTCUSDT", "3d@2020-01-01"),
        ("XRBBTC", "3d@2018-02-02"),
    }


@pytest.mark.parametrize(
    "recording",
    [
        "aster/klines_1h_4h_1d_share",
        "binance_spot/klines_multi_tf_sqlite_octobot",
        "binance_usdm/klines_1m_12col_ALGOUSDT_2023-02",
        "binance_usdm/klines_3m_5m_15m_ASTERUSDT",
        "binance_usdm/klines_outage_2025-01-29",
        "bybit/klines_multi_tf_ADAUSDT_2025-06",
        "bybit/klines_with_turnover",
        "okx/klines_1m_15m_4h_BTC-USDT-SWAP_2026-01",
    ],
)
def test_floats_lost_nothing_on_the_way(recording: str) -> None:
    """The text of each float is the venue's own number: no two numbers with so many decimals share a float.

    The decimals are those of the number with the most. Had the venue given more digits than a float holds, then some
    would have as many as a float ever has, and floats of their size would lie further apart than their last decimal.
    """
    tables = [table for table in RECORDED.tables if table.recording == recording and table.floats and _known(table)]
    if not tables or any(table.lacks is not None for table in tables):
        pytest.skip(f"{recording} cannot be read here")
    for table in tables:
        for name in FIELDS:
            values = [getattr(row, name) for row in table.rows().values()]
            given = [value for value in values if isinstance(value, Decimal)]
            digits = max((_decimals(value) for value in given), default=0)
            assert all(math.ulp(float(value)) < 10.0**-digits for value in given), f"{table} {name}: {digits} decimals"


def _decimals(value: Decimal) -> int:
    exponent = value.normalize().as_tuple().exponent
    assert isinstance(exponent, int)
    return max(0, -exponent)


def test_flat_candles_prove_the_rule_for_them() -> None:
    """Were constituents without trades allowed to touch the prices, this many complete candles would be wrong."""
    for recording in ("aster/klines_1h_4h_1d_share", "binance_spot/klines_multi_tf_sqlite_octobot"):
        if not (root() / recording).is_dir() or any(table.recording == recording for table in RECORDED.unreadable):
            pytest.skip(f"{recording} cannot be read here")
    wrong = 0
    for low, high in RECORDED.pairs:
        if low.recording == high.recording and (str(low), str(high)) not in _FAULTS:
            wrong += _naively_wrong(low, high)
    assert wrong >= 21


def _naively_wrong(low: Table, high: Table) -> int:
    constituents: dict[int, list[Candle]] = {}
    for candle in low.candles():
        constituents.setdefault(high.timeframe.floor(candle.open_time_ms), []).append(candle)
    wrong = 0
    for open_ms, theirs in high.rows().items():
        candles = constituents.get(open_ms, [])
        whole = len(candles) == low.timeframe.count_between(open_ms, high.timeframe.next_open(open_ms))
        if whole and any(candle.volume == 0 for candle in candles) and any(candle.volume for candle in candles):
            naive = (candles[0].open, max(c.high for c in candles), min(c.low for c in candles), candles[-1].close)
            wrong += naive != (theirs.open, theirs.high, theirs.low, theirs.close)
    return wrong


@pytest.mark.parametrize("recording", sorted({low.recording for low, _ in RECORDED.pairs}))
def test_columns_give_the_same_candles(recording: str) -> None:
    columnar = pytest.importorskip("candleactors.columnar")
    for low in dict.fromkeys(low for low, _ in RECORDED.pairs if low.recording == recording):
        sizes = {high.timeframe for one, high in RECORDED.pairs if one is low} - {low.timeframe}
        if not sizes:
            continue
        candles = list(islice(low.candles(), 20_000))
        derived: dict[Timeframe, list[Candle]] = {size: [] for size in sizes}
        for candle in resample(candles, sizes):
            derived[candle.timeframe].append(candle)
        for size, table in columnar.CandleTable.of(candles).resample_all(sizes).items():
            assert table.candles() == derived[size], f"{low} to {size}"


def test_groups_are_all_expected_or_unseen() -> None:
    """Of what was looked through every pair is in an expected group, so that none goes unlisted in the docs."""
    groups = {group_of(pair) for pair in RECORDED.pairs}
    assert {group_of((low, high)) for low, high in RECORDED.pairs if _known(low) and _known(high)} <= set(EXPECTED)
    assert all(pairs_of(group) for group in groups)


def _as_it_was(group: Group) -> None:
    """Skip where a recording has got more than when the documentation was written."""
    if tally(group).compared > EXPECTED[group]:
        pytest.skip(f"there is more in {group[0]} than the documentation tells of")


@pytest.mark.parametrize("group", EXPECTED, ids=" ".join)
def test_the_documentation_says_what_was_found(group: Group) -> None:
    _here(group)
    _as_it_was(group)
    assert row(group) in (Path(__file__).parents[2] / "docs" / "aggregation.md").read_text().splitlines()


def test_the_documentation_adds_it_up() -> None:
    for group in EXPECTED:
        _here(group)
        _as_it_was(group)
    pairs, candles, values, differing = re.findall(r"\d[\d,]*", totals())
    text = " ".join((Path(__file__).parents[2] / "docs" / "aggregation.md").read_text().split())
    assert f"{pairs} pairs of timeframes, {candles} candles, {values} values" in text
    assert f"those of {differing} candles" in text
