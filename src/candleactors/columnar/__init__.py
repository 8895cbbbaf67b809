"""Bulk history in columns: exact resampling of years of candles at once, on numpy.

::

    table = CandleTable.of(candles)               # closed candles of one stream, ascending
    for timeframe, derived in table.resample_all("2m..60m,1d").items():
        print(timeframe, len(derived), derived.candles()[-1])

Gives the same candles as `candleactors.resample`, value by value. Importing it needs the extra ``columnar``.
"""

from __future__ import annotations

try:
    import numpy as _numpy  # noqa: F401 - to say at once what is lacking
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        'candleactors.columnar needs numpy, which the extra "columnar" brings: pip install "candleactors[columnar]"',
        name=error.name,
    ) from error

from candleactors.columnar.column import Column
from candleactors.columnar.table import CandleTable

__all__ = ["CandleTable", "Column"]
