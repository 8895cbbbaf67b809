"""Files of klines, written by hand: as the exchange gives them out, and spoilt."""

from __future__ import annotations

import gzip
import io
import json
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path

START_MS = 1_767_225_600_000  # 2026-01-01
MINUTE_MS = 60_000
DUMP_HEADER = (
    "open_time,open,high,low,close,volume,close_time,quote_volume,count,taker_buy_volume,taker_buy_quote_volume,ignore"
)


def cells(index: int, *, start_ms: int = START_MS, step_ms: int = MINUTE_MS, per_ms: int = 1) -> list[str]:
    """Return the twelve cells of the row `index`; `per_ms` is 1000 for times in microseconds."""
    open_ms = start_ms + index * step_ms
    price = 100 + index
    return [
        str(open_ms * per_ms),
        f"{price}.10000000",
        f"{price + 1}.00000000",
        f"{price}.00000000",
        f"{price}.50000000",
        f"{index}.25000000",
        str((open_ms + step_ms) * per_ms - 1),
        f"{price * index}.00000000",
        str(index),
        "0.10000000",
        "10.01000000",
        "0",
    ]


def row(index: int, *, start_ms: int = START_MS, step_ms: int = MINUTE_MS, per_ms: int = 1) -> str:
    """Return the line `index` of a dump."""
    return ",".join(cells(index, start_ms=start_ms, step_ms=step_ms, per_ms=per_ms))


def rows(count: int, *, start_ms: int = START_MS, step_ms: int = MINUTE_MS, per_ms: int = 1) -> list[str]:
    """Return the first `count` lines of a dump."""
    return [row(index, start_ms=start_ms, step_ms=step_ms, per_ms=per_ms) for index in range(count)]


def rest_rows(count: int, *, start_ms: int = START_MS, step_ms: int = MINUTE_MS) -> list[list[str | int]]:
    """Return the first `count` rows of a REST answer."""
    found = []
    for index in range(count):
        each: list[str | int] = [*cells(index, start_ms=start_ms, step_ms=step_ms)]
        for number in (0, 6, 8):
            each[number] = int(each[number])
        found.append(each)
    return found


def changed(line: str, column: int, value: str) -> str:
    """Return a line of CSV with another value in `column`, counted from 0."""
    each = line.split(",")
    each[column] = value
    return ",".join(each)


def text_of(lines: Iterable[str], end: str = "\n") -> bytes:
    return "".join(line + end for line in lines).encode()


def write(path: Path, lines: Iterable[str]) -> Path:
    path.write_bytes(text_of(lines))
    return path


def write_gz(path: Path, lines: Iterable[str]) -> Path:
    path.write_bytes(gzip.compress(text_of(lines), mtime=0))
    return path


def zipped(members: Sequence[tuple[str, bytes]]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return packed.getvalue()


def write_zip(path: Path, lines: Iterable[str], member: str | None = None) -> Path:
    path.write_bytes(zipped([(member or f"{path.stem}.csv", text_of(lines))]))
    return path


def write_json(path: Path, document: object) -> Path:
    path.write_text(json.dumps(document))
    return path
