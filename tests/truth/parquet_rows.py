"""Parquet files, where something is installed that reads them."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Final

MISSING: Final = None if find_spec("polars") else "polars, which reads Parquet files: install candleactors[truth]"
"""What has to be installed for `parquet_records`, ``None`` if nothing."""


def parquet_records(path: Path) -> Iterator[dict[str, str]]:
    """Yield the records of a Parquet file, values as text: of a float, the shortest that means the same float."""
    import polars  # not every place where tests run has it

    for record in polars.read_parquet(path).iter_rows(named=True):
        yield {name: str(value) for name, value in record.items()}
