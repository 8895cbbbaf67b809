"""polars `group_by_dynamic` over integers, each size from the largest that it is a multiple of.

That bars begin anew every day is had by grouping over a calendar with longer days. First and last traded prices are the
first and last that are not null.
"""

from __future__ import annotations

import polars as pl

from benchmarks.resampling.year import A_DAY, AMOUNTS, PRICES, SIZES, Columns, parent, stretched_day

Derived = dict[int, pl.DataFrame]


def prepare(columns: Columns) -> pl.DataFrame:
    return pl.DataFrame(columns).with_columns(present=pl.lit(1, dtype=pl.Int64))


def resample(minutes: pl.DataFrame) -> Derived:
    derived, prepared = {1: minutes}, {}
    for size in SIZES:
        source = parent(size)
        if source not in prepared:
            prepared[source] = nulled(derived[source].lazy()).collect()
        derived[size] = bars(prepared[source].lazy(), size).collect()
    return derived


def nulled(source: pl.LazyFrame) -> pl.LazyFrame:
    """Take away the prices of what was not traded, but the last."""
    traded = (pl.col("trades") != 0) | (pl.col("volume") != 0)
    return source.with_columns(
        pl.col("close").alias("final"), *(pl.when(traded).then(pl.col(name)).alias(name) for name in PRICES)
    )


def bars(source: pl.LazyFrame, size: int) -> pl.LazyFrame:
    day = stretched_day(size)
    minute = pl.col("minute")
    key, back = minute, minute
    if day != A_DAY:
        key, back = minute // A_DAY * day + minute % A_DAY, minute // day * A_DAY + minute % day
    grouped = source.with_columns(key.set_sorted()).group_by_dynamic("minute", every=f"{size}i")
    made = grouped.agg(
        pl.col("open").first(ignore_nulls=True),
        pl.col("high").max(),
        pl.col("low").min(),
        pl.col("close").last(ignore_nulls=True),
        pl.col("final").last(),
        *(pl.col(name).sum() for name in AMOUNTS),
        pl.col("present").sum(),
    )
    return made.select(back, *(pl.coalesce(name, "final") for name in PRICES), *AMOUNTS, "present").with_columns(
        missing=pl.min_horizontal(pl.lit(size), A_DAY - minute % A_DAY) - pl.col("present")
    )


def result(derived: Derived, size: int) -> Columns:
    return {name: column.to_numpy() for name, column in derived[size].to_dict().items()}
