"""Prints what derived candles were compared with, and what came of it, as the table in ``docs/aggregation.md``.

``PYTHONPATH=tests python tests/truth/truth_report.py``; the recordings are looked for as the tests do. Lists every
difference below the table if called with ``--differences``.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

from known_faults import known_faults
from recorded_pairs import EXPECTED, RECORDED, Group, group_of, pairs_of, tally


def table() -> Iterator[str]:
    """Yield the rows of the table: one for each market of each recording, or of two that are compared."""
    yield "| recorded | market | from | to | candles | values | over holes | differ |"
    yield "|---|---|---|---|---:|---:|---:|---:|"
    groups = dict.fromkeys(group_of(pair) for pair in RECORDED.pairs)
    for group in sorted(groups):
        yield row(group)


def row(group: Group) -> str:
    """Return the row of a group, whether the documentation has it or not."""
    low, high, market = group
    total = tally(group)
    recorded = f"`{low}`" if low == high else f"`{low}` with `{high.split('/', 1)[1]}`"
    cells = [recorded, market, _sizes(group, 0), _sizes(group, 1)]
    cells += [f"{number:,}" for number in (total.compared, total.values, total.holed_equal, total.differences)]
    return f"| {' | '.join(cells)} |"


def totals() -> str:
    """Return what all expected groups amount to, as a sentence."""
    tallies = [tally(group) for group in EXPECTED]
    compared, values = sum(one.compared for one in tallies), sum(one.values for one in tallies)
    differing = {(pair, one.open) for pair, faults in known_faults().items() for one in faults}
    pairs = sum(one.pairs for one in tallies)
    return f"{pairs} pairs of timeframes, {compared:,} candles, {values:,} values; {len(differing)} candles differ"


def _sizes(group: Group, side: int) -> str:
    sizes = {pair[side].timeframe for pair in pairs_of(group)}
    return " ".join(size.text for size in sorted(sizes, key=lambda size: size.nominal_ms))


if __name__ == "__main__":
    print("\n".join(table()))
    print(f"\n{totals()}")
    if "--differences" in sys.argv:
        for comparison in RECORDED.comparisons():
            for one in comparison.differences:
                print(f"{comparison.low} to {comparison.high.size}: {one}")
