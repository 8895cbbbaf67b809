"""Candles written out as our own CSV or as JSON, with the public field names."""

from __future__ import annotations

import csv
import json
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, TextIO

from candleactors.errors import CandleactorsError
from candleactors.model import Candle
from candleactors.records import FIELDS, candle_record


def write_csv(candles: Iterable[Candle], out: TextIO, *, header: bool = True) -> int:
    """Write a header and a row for each candle, which `candleactors.read_klines` reads back; return how many."""
    writer = csv.writer(out, lineterminator="\n")
    if header:
        writer.writerow(FIELDS)
    count = 0
    for candle in candles:
        values = candle_record(candle).values()
        writer.writerow([str(value).lower() if isinstance(value, bool) else value for value in values])
        count += 1
    return count


def write_json(candles: Iterable[Candle], out: TextIO) -> int:
    """Write an array with an object for each candle, one a line; return how many."""
    count = 0
    out.write("[")
    for candle in candles:
        out.write(("," if count else "") + "\n" + json.dumps(candle_record(candle), ensure_ascii=False))
        count += 1
    out.write("\n]\n")
    return count


@contextmanager
def replacing(path: Path) -> Iterator[TextIO]:
    """Open a text file that becomes `path` once the body has ended well; else `path` stays as it was, or absent.

    Raises `CandleactorsError` where it cannot be written.
    """
    with _part_of(path) as part, part.open("x", encoding="utf-8", newline="") as out:
        yield out
        _make_durable(out)


@contextmanager
def replacing_bytes(path: Path) -> Iterator[IO[bytes]]:
    """The same for a file of bytes."""
    with _part_of(path) as part, part.open("xb") as out:
        yield out
        _make_durable(out)


@contextmanager
def _part_of(path: Path) -> Iterator[Path]:
    """Name a file beside `path` that takes its place once the body has ended well, and goes otherwise."""
    # A symbolic link stays one: what it points to is replaced.
    target = Path(os.path.realpath(path))
    if target.exists() and not target.is_file():
        raise CandleactorsError(f"{path} is not a regular file and cannot be replaced")
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        yield part
        if target.exists():
            shutil.copymode(target, part)
        part.replace(target)
    except OSError as error:
        raise CandleactorsError(f"{path} cannot be written: {error.strerror}") from error
    finally:
        with suppress(OSError):
            part.unlink()


def _make_durable(out: IO[Any]) -> None:
    out.flush()
    os.fsync(out.fileno())
