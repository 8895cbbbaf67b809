"""Headers of CSV files: which column holds what."""

from __future__ import annotations

import csv
from typing import Final

from attrs import frozen

from candleactors.errors import excerpt
from candleactors.klines.record import COLUMNS, GIVEN_BY_ALL

_DELIMITERS: Final = ",;\t|"

_OPEN_TIMES: Final = (
    *("opentimems", "opentime", "klineopentime", "timestampms", "timestamp", "unix", "time", "ts", "starttime"),
    *("datetime", "date", "dateutc", "timeutc"),
)
"""In the order of trust."""

_NAMES: Final = {
    "open": ("open", "openprice"),
    "high": ("high", "highprice"),
    "low": ("low", "lowprice"),
    "close": ("close", "closeprice"),
    "volume": ("volume", "vol", "basevolume"),
    "close_time": ("closetime", "closetimems", "klineclosetime"),
    "quote_volume": ("quotevolume", "quoteassetvolume", "quoteav", "qav", "turnover"),
    "count": ("count", "trades", "numberoftrades", "numtrades", "tradecount", "ntrades"),
    "taker_buy_volume": (
        *("takerbuyvolume", "takerbuybasevolume", "takerbuybaseassetvolume", "takerbuybase", "takerbuybasevol"),
        *("takerbasevol", "tbbaseav"),
    ),
    "taker_buy_quote_volume": (
        *("takerbuyquotevolume", "takerbuyquoteassetvolume", "takerbuyquote", "takerbuyquotevol"),
        *("takerquotevol", "tbquoteav"),
    ),
    "symbol": ("symbol", "pair", "ticker"),
}
_FIELD_OF: Final = {name: field for field, names in _NAMES.items() for name in names}


@frozen
class Columns:
    """Where a file of CSV rows holds what."""

    delimiter: str
    count: int
    """How many cells a row has."""
    times: tuple[int, ...]
    """The indexes of the columns that may hold the open time, the most trusted first."""
    others: tuple[int | None, ...]
    """The index of each of `COLUMNS` after the open time, ``None`` for what the file does not give."""
    symbol: int | None
    """The index of a column that names the symbol."""


def columns_of(line: str) -> Columns | None:
    """Return what the columns are if `line` is a header, else ``None``; raises `ValueError` where it is ambiguous.

    Upper and lower case, blanks and underscores make no difference. Columns of other names are left alone.
    """
    delimiter = max(_DELIMITERS, key=line.count)
    names = ["".join(filter(str.isalnum, cell)).lower() for cell in cells_of(line, delimiter)]
    found: dict[str, int] = {}
    for index, name in enumerate(names):
        field = _FIELD_OF.get(name)
        if field is not None and found.setdefault(field, index) != index:
            raise ValueError(f"two columns say {field}")
    times = tuple(names.index(name) for name in _OPEN_TIMES if name in names)
    if not found and not times:
        return None
    lacking = [
        name for name in COLUMNS if name in GIVEN_BY_ALL and name not in found and (name != COLUMNS[0] or not times)
    ]
    if lacking:
        raise ValueError(f"the header names no column for {', '.join(lacking)}: {excerpt(line, 120)}")
    return Columns(delimiter, len(names), times, tuple(map(found.get, COLUMNS[1:])), found.get("symbol"))


def cells_of(line: str, delimiter: str) -> list[str]:
    """Return the cells of a line of CSV, quotes and surrounding blanks removed; raises `ValueError`."""
    if '"' in line:
        try:
            return [cell.strip() for cell in next(csv.reader([line], delimiter=delimiter, strict=True))]
        except csv.Error as error:
            raise ValueError(f"no CSV: {error}") from None
    return [cell.strip() for cell in line.split(delimiter)]
