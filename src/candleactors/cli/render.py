"""Tables on the terminal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from candleactors.core.holes import Hole
from candleactors.model import Candle

_LEFT: Final = ("id", "stream", "reason", "state", "source", "last disconnect", "last failure", "")

_SPARE: Final = (
    "generation",
    "quiet",
    "suspect",
    "retiring",
    "messages",
    "bytes",
    "capacity",
    "last_disconnect",
    "last_failure",
)


def candles(rows: Iterable[Candle]) -> None:
    """Print candles; one that is still open, incomplete or revised says so in the last column."""
    table = _table("open time (UTC)", "open", "high", "low", "close", "volume", "trades", "source", "")
    for row in rows:
        notes = [
            *(["open"] if not row.closed else []),
            *([f"incomplete, {row.missing} missing"] if not row.complete else []),
            *([f"revision {row.revision}"] if row.revision else []),
        ]
        prices = (row.open, row.high, row.low, row.close, row.volume)
        table.add_row(
            instant(row.open_time_ms), *(format(price, "f") for price in prices), _cell("trades", row.trades),
            row.source.value, ", ".join(notes),
        )  # fmt: skip
    _print(table)


def holes(found: Iterable[Hole]) -> None:
    """Print holes, one a line."""
    table = _table("stream", "first (UTC)", "last (UTC)", "candles", "reason")
    for hole in found:
        first, last = instant(hole.first_ms), instant(hole.last_ms)
        table.add_row(Text(str(hole.stream)), first, last, str(hole.count), hole.reason.value)
    _print(table)


def status(answer: Mapping[str, Any]) -> None:
    """Print what a feed says about itself: lines, and a table for every list of objects.

    Nothing here knows the names, so that a newer feed's answer is shown as well: those ending in ``_s``, ``_ms``,
    ``_pct`` and ``bytes`` are durations, lengths of time in milliseconds, shares and sizes. What does not fit a table
    is left to ``--json``.
    """
    _section("", answer)


def _section(title: str, values: Mapping[str, Any]) -> None:
    if title:
        _console().print(Text(title, style="bold"))
    lines = {name: value for name, value in values.items() if not _is_list_of_objects(value)}
    if lines:
        _print(_pairs(lines))
    for name, value in values.items():
        if not _is_list_of_objects(value):
            continue
        if any(_is_list_of_objects(inner) for row in value for inner in row.values()):
            for row in value:
                # A list of things that hold tables themselves; the first field of each is its name.
                first = next(iter(row))
                _section(str(row[first]), {key: inner for key, inner in row.items() if key != first})
        else:
            _console().print(Text(_title(name), style="bold"))
            _print(_rows(value))


def instant(at_ms: int) -> str:
    """Return a point in time in UTC, to the second, or to the millisecond where there are any."""
    try:
        moment = datetime.fromtimestamp(at_ms / 1000, UTC)
    except (OverflowError, ValueError, OSError):
        return f"{at_ms} ms"
    return moment.strftime("%Y-%m-%d %H:%M:%S") + (f".{at_ms % 1000:03}" if at_ms % 1000 else "")


def duration(seconds: float) -> str:
    """Return a length of time with its two largest units: ``2d 3h``, ``4m 5s``, ``0.3s``."""
    if seconds < 60:
        return f"{seconds:.1f}s" if seconds < 10 else f"{seconds:.0f}s"
    whole = int(seconds)
    units = ((whole // 86400, "d"), (whole // 3600 % 24, "h"), (whole // 60 % 60, "m"), (whole % 60, "s"))
    first = next(index for index, (count, _) in enumerate(units) if count)
    return " ".join(f"{count}{unit}" for count, unit in units[first : first + 2])


def size(count: float) -> str:
    """Return a number of bytes in the largest unit of which there is one: ``999 B``, ``1.2 MB``."""
    units = ("kB", "MB", "GB", "TB")
    power = next((power for power in range(len(units)) if count < 1000 ** (power + 1)), len(units))
    return f"{count / 1000**power:.1f} {units[power - 1]}" if power else f"{count:.0f} B"


def _is_list_of_objects(value: Any) -> bool:
    return bool(value) and isinstance(value, list) and all(isinstance(item, dict) and item for item in value)


def _pairs(values: Mapping[str, Any]) -> Table:
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column()
    table.add_column(overflow="fold")
    for name, value in values.items():
        table.add_row(Text(_title(name)), _cell(name, value))
    return table


def _rows(rows: list[dict[str, Any]]) -> Table:
    """Return a table that fits the terminal, if need be without the columns that people miss least."""
    nested = {name for row in rows for name, value in row.items() if isinstance(value, dict)}
    names = [name for name in dict.fromkeys(name for row in rows for name in row) if name not in nested]
    console = _console()
    unbounded = console.options.update_width(10_000)
    for dropped in range(len(_SPARE) + 1):
        kept = [name for name in names if name not in _SPARE[:dropped]]
        table = _table(*map(_title, kept), wrap=True)
        for row in rows:
            table.add_row(*(_cell(name, row.get(name)) for name in kept))
        if console.measure(table, options=unbounded).minimum <= console.width:
            break
    return table


def _table(*titles: str, wrap: bool = False) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for title in titles:
        table.add_column(Text(title), justify="left" if title in _LEFT else "right", no_wrap=not wrap)
    return table


def _title(name: str) -> str:
    for suffix in ("_pct", "_ms", "_s"):
        name = name.removesuffix(suffix)
    return name.replace("_", " ")


def _cell(name: str, value: Any) -> Text:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if value is None or value in ([], {}):
        shown = "–"
    elif isinstance(value, bool):
        shown = "yes" if value else "no"
    elif number and name.endswith("_pct"):
        shown = f"{value:.1f} %"
    elif number and name.endswith("_ms"):
        shown = f"{value} ms"
    elif number and name.endswith("_s"):
        shown = duration(value)
    elif number and name.endswith("bytes"):
        shown = size(value)
    elif isinstance(value, dict):
        shown = ", ".join(f"{_title(key)} {_cell(key, inner)}" for key, inner in value.items())
    elif isinstance(value, list):
        shown = ", ".join(str(_cell(name, item)) for item in value)
    else:
        shown = str(value)
    return Text("".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in shown))


def _print(table: Table) -> None:
    _console().print(table)


def _console() -> Console:
    # Where there is no terminal to fit into, nothing is folded or cut.
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=400)
