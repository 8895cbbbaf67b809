"""pandas `resample` over nullable integers, each size from the largest that it is a multiple of.

As with polars, over a calendar with longer days. Without nullable integers, bars that lack all their minutes would turn
prices into floats.
"""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np

from benchmarks.resampling.year import A_DAY, AMOUNTS, PRICES, SIZES, Columns, parent, stretched_day

pd: Any = importlib.import_module("pandas")  # by name: it has no types

Derived = dict[int, Any]


def prepare(columns: Columns) -> Any:
    return pd.DataFrame(columns).astype("Int64").assign(present=pd.array([1] * len(columns["minute"]), dtype="Int64"))


def resample(minutes: Any) -> Derived:
    derived, prepared = {1: minutes}, {}
    for size in SIZES:
        source = parent(size)
        if source not in prepared:
            prepared[source] = nulled(derived[source])
        derived[size] = bars(prepared[source], size)
    return derived


def nulled(source: Any) -> Any:
    traded = (source["trades"] != 0) | (source["volume"] != 0)
    return source.assign(final=source["close"], **{name: source[name].where(traded) for name in PRICES})


def bars(source: Any, size: int) -> Any:
    day = stretched_day(size)
    minute = source["minute"].to_numpy(dtype=np.int64)
    stretched = minute // A_DAY * day + minute % A_DAY
    index = pd.DatetimeIndex(stretched.astype("datetime64[m]").astype("datetime64[s]"))
    groups = source.set_axis(index).resample(f"{size}min", origin="epoch")
    sums = groups[[*AMOUNTS, "present"]].sum()
    final = groups["final"].last()
    columns = {
        "open": groups["open"].first(),
        "high": groups["high"].max(),
        "low": groups["low"].min(),
        "close": groups["close"].last(),
    }
    made = sums.assign(**{name: values.fillna(final) for name, values in columns.items()})
    made = made[made["present"] != 0]
    at = made.index.to_numpy().astype("datetime64[m]").astype(np.int64)
    minute = at // day * A_DAY + at % day
    missing = np.minimum(size, A_DAY - minute % A_DAY) - made["present"].to_numpy(dtype=np.int64)
    return made.reset_index(drop=True).assign(minute=pd.array(minute), missing=missing)


def result(derived: Derived, size: int) -> Columns:
    made = derived[size]
    return {name: made[name].to_numpy(dtype=np.int64) for name in made.columns}
