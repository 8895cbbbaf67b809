"""polars `group_by_dynamic` once more: all sizes from the minutes, as one query."""

from __future__ import annotations

import polars as pl

from benchmarks.resampling.with_polars import Derived, bars, nulled, prepare, result
from benchmarks.resampling.year import SIZES

__all__ = ["prepare", "resample", "result"]


def resample(minutes: pl.DataFrame) -> Derived:
    prepared = nulled(minutes.lazy()).collect().lazy()
    return dict(zip(SIZES, pl.collect_all([bars(prepared, size) for size in SIZES]), strict=True))
