"""candleactors.columnar."""

from __future__ import annotations

import numpy as np

from benchmarks.resampling.year import AMOUNT_DIGITS, AMOUNTS, PRICE_DIGITS, PRICES, SIZES, Columns
from candleactors.columnar import CandleTable, Column
from candleactors.model import MINUTE_MS, Source, Timeframe

Derived = dict[Timeframe, CandleTable]


def prepare(columns: Columns) -> CandleTable:
    rows = len(columns["minute"])
    open_ms = columns["minute"] * MINUTE_MS
    prices = {name: Column(columns[name], PRICE_DIGITS) for name in PRICES}
    amounts = {name: Column(columns[name], 0 if name == "trades" else AMOUNT_DIGITS) for name in AMOUNTS}
    return CandleTable(
        venue="binance-spot",
        symbol="BTCUSDT",
        timeframe=Timeframe("1m"),
        base=Timeframe("1m"),
        open_time_ms=open_ms,
        until_ms=open_ms + MINUTE_MS,
        **prices,
        **amounts,
        traded=(columns["trades"] != 0) | (columns["volume"] != 0),
        missing=np.zeros(rows, dtype=np.int64),
        complete=np.ones(rows, dtype=np.bool_),
        source=np.full(rows, Source.REST, dtype=object),
        revision=np.zeros(rows, dtype=np.int64),
        received_ms=open_ms + MINUTE_MS,
        finished=True,
    )


def resample(table: CandleTable) -> Derived:
    return table.resample_all(f"{SIZES[0]}m..{SIZES[-1]}m")


def result(derived: Derived, size: int) -> Columns:
    table = derived[Timeframe(f"{size}m")]
    numbers = {name: getattr(table, name).values for name in (*PRICES, *AMOUNTS)}
    return {"minute": table.open_time_ms // MINUTE_MS, **numbers, "missing": table.missing}
