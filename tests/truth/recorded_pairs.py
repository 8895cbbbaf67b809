"""The pairs of the recordings at hand, grouped as the documentation lists them, and what they must amount to."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Final, TypeAlias

from attrs import define
from table_comparison import Comparison
from table_pairs import Pair, Pairs
from venue_tables import Table

from recorded import root

Group: TypeAlias = tuple[str, str, str]
"""The recording of the lower tables, that of the higher ones, the market."""

RECORDED: Final = Pairs(root())

_SPOT: Final = "binance_spot/klines_rest_json_2025"
_HOLES: Final = "binance_spot/klines_rest_json_outages"
_ZIPS: Final = "binance_spot/klines_1m_vision_zip_BTCUSDT"
_SQLITE: Final = "binance_spot/klines_multi_tf_sqlite_octobot"
_ANSWERS: Final = "binance_spot/rest_recorded"
_ALGO: Final = "binance_usdm/klines_1m_12col_ALGOUSDT_2023-02"
_THREES: Final = "binance_usdm/klines_3m_5m_15m_ASTERUSDT"
_OUTAGE: Final = "binance_usdm/klines_outage_2025-01-29"
_FUTURES: Final = "binance_usdm/rest_recorded"
_BYBIT: Final = "bybit/klines_multi_tf_ADAUSDT_2025-06"
_TURNOVER: Final = "bybit/klines_with_turnover"
_OKX: Final = "okx/klines_1m_15m_4h_BTC-USDT-SWAP_2026-01"
_ASTER: Final = "aster/klines_1h_4h_1d_share"

EXPECTED: Final[dict[Group, int]] = {
    (_ASTER, _ASTER, "AAVEUSDT"): 237,
    (_ASTER, _ASTER, "BTCUSDT"): 245,
    (_ASTER, _ASTER, "ETHUSDT"): 245,
    (_ASTER, _ASTER, "SOLUSDT"): 245,
    (_ZIPS, _SPOT, "BTCUSDT"): 11_787,
    (_SQLITE, _SQLITE, "ADAUSDT"): 4_992,
    (_SQLITE, _SQLITE, "BTCUSDT"): 4_118,
    (_SQLITE, _HOLES, "BTCUSDT"): 925,
    (_SQLITE, _SPOT, "BTCUSDT"): 169,
    (_SQLITE, _SQLITE, "XRBBTC"): 3_912,
    (_SPOT, _SPOT, "BTCUSDT"): 19_681,
    (_HOLES, _SPOT, "BTCUSDT"): 408,
    (_HOLES, _HOLES, "BTCUSDT"): 1_229,
    (_HOLES, _SQLITE, "BTCUSDT"): 1_146,
    (_HOLES, _ANSWERS, "BTCUSDT"): 1_095,
    (_ANSWERS, _SPOT, "BTCUSDT"): 305,
    (_ANSWERS, _ANSWERS, "BTCUSDT"): 1_093,
    (_ANSWERS, _HOLES, "BTCUSDT"): 42,
    (_ALGO, _ALGO, "ALGOUSDT"): 725,
    (_THREES, _THREES, "ASTERUSDT"): 19_776,
    (_OUTAGE, _OUTAGE, "BTCUSDT"): 287,
    (_OUTAGE, _OUTAGE, "ETHUSDT"): 287,
    (_OUTAGE, _OUTAGE, "WIFUSDT"): 287,
    (_FUTURES, _FUTURES, "LTCUSDT"): 498,
    (_BYBIT, _BYBIT, "ADAUSDT"): 22_484,
    (_TURNOVER, _TURNOVER, "ADAUSDT"): 809,
    (_TURNOVER, _TURNOVER, "APTUSDT"): 809,
    (_OKX, _OKX, "BTC-USDT-SWAP"): 1_657,
}
"""How many complete candles each group must at least have to compare."""


@define
class Tally:
    """What a group amounts to, over all its pairs."""

    pairs: int = 0
    compared: int = 0
    values: int = 0
    holed: int = 0
    holed_equal: int = 0
    differences: int = 0

    def add(self, comparison: Comparison) -> None:
        """Count a pair in."""
        self.pairs += 1
        self.compared += comparison.compared
        self.values += comparison.values
        self.holed += comparison.holed
        self.holed_equal += comparison.holed_equal
        self.differences += len(comparison.differences)


def group_of(pair: Pair) -> Group:
    """Return the group a pair belongs to."""
    low, high = pair
    return folder_of(low), folder_of(high), low.market


def pairs_of(group: Group) -> list[Pair]:
    """Return the pairs of a group."""
    return [pair for pair in RECORDED.pairs if group_of(pair) == group]


def tally(group: Group) -> Tally:
    """Return what a group amounts to; compares whatever was not compared yet."""
    total = Tally()
    for pair in pairs_of(group):
        total.add(RECORDED.comparison(pair))
    return total


def folder_of(table: Table) -> str:
    """Return the folder a table is recorded in, also where its recording is one file of it."""
    path = PurePosixPath(table.recording)
    return str(path.parent if path.suffix else path)
