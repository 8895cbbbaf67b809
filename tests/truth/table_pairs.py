"""Pairs: which recorded tables are compared with which, and what came of it."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Final, TypeAlias

from table_comparison import Comparison, compare
from table_formats import found
from venue_tables import Table

from candleactors.model import Timeframe

Pair: TypeAlias = tuple[Table, Table]

# Where one symbol names several markets (spot and futures of Bybit), two recordings need not be of the same.
_AMBIGUOUS: Final = frozenset({"bybit"})


class Pairs:
    """Every pair of tables under `root` that can be compared: of one market, the lower one tiling the higher.

    Two recordings of one timeframe make a pair as well: do they agree? Tables that cannot be read here are left out,
    see `unreadable`.
    """

    def __init__(self, root: Path) -> None:
        self.tables = sorted(found(root), key=_order) if root.is_dir() else []
        self.unreadable = [table for table in self.tables if table.lacks is not None]
        readable = [table for table in self.tables if table.lacks is None]
        self.pairs: list[Pair] = [
            (low, high)
            for low in readable
            for high in readable
            if _same_market(low, high) and _tiles(low, high) and low.outline.shares(high.outline)
        ]

    @lru_cache  # noqa: B019 - there is one for as long as the tests run
    def _compared(self, low: Table) -> dict[Table, Comparison]:
        return compare(low, [high for one, high in self.pairs if one is low])

    def comparison(self, pair: Pair) -> Comparison:
        """Return what came of a pair; all pairs with its lower table are done at once, and only once."""
        low, high = pair
        return self._compared(low)[high]

    def comparisons(self) -> Iterable[Comparison]:
        """Yield what came of every pair, market by market."""
        return map(self.comparison, self.pairs)


def _order(table: Table) -> tuple[str, str, str, int]:
    return table.venue, table.market, table.recording, table.size.nominal_ms


def _same_market(low: Table, high: Table) -> bool:
    if (low.venue, low.market) != (high.venue, high.market):
        return False
    return low.recording == high.recording or low.venue not in _AMBIGUOUS


def _tiles(low: Table, high: Table) -> bool:
    if low.size == high.size:
        return low.recording < high.recording and low.timeframe == high.timeframe
    return _plain(low.size) != _plain(high.size) and low.timeframe.tiles(high.timeframe)


def _plain(size: Timeframe) -> int | str:
    """Return what 60m and 1h have in common."""
    return size.duration_ms or size.text
