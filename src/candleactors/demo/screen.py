"""The screen: a snapshot drawn to fit a terminal of any size. Pure; nothing here writes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Final

from attrs import evolve, frozen
from rich.cells import cell_len
from rich.text import Text

from candleactors.actors.status import ConnectionStatus
from candleactors.demo.snapshot import Snapshot, StreamLine
from candleactors.demo.tally import CLOSES
from candleactors.model import Source

_PAGE_S: Final = 6.0
_SPARK: Final = "▁▂▃▄▅▆▇█"
_SPARK_ASCII: Final = "_.-=+*#@"
_STATES: Final = {
    "live": "green",
    "late": "yellow",
    "waiting": "dim",
    "sick": "bold red",
    "parked": "red",
    "connected": "green",
    "retiring": "yellow",
    "down": "bold red",
}
_LEVELS: Final = {"fault": "magenta", "warning": "yellow", "error": "bold red"}


@frozen
class Column:
    """A column: its title, its width in cells, and whether it is aligned to the right.

    Where the screen is too narrow, the columns of the highest `rank` are left out first; those of rank 0 stay. Where it
    is wide, a column grows to at most `grows`.
    """

    title: str
    width: int
    right: bool = True
    rank: int = 0
    grows: int = 0


def draw(snapshot: Snapshot, width: int, height: int, *, ascii_only: bool = False) -> list[Text]:
    """Return at most `height` lines of at most `width` cells."""
    pen = _Pen(max(20, width), ascii_only)
    head = [pen.title(snapshot), pen.health(snapshot), pen.judgement(snapshot), pen.counters(snapshot), Text()]
    room = height - len(head)
    connections = pen.connections(snapshot, most=max(1, min(8, height // 5)))
    notes_room = 8 if height >= 36 else 4 if height >= 30 else 3
    notes = pen.notes(snapshot, notes_room) if height >= 16 else []
    streams_room = room - len(connections) - 1 - (len(notes) and notes_room + 1)
    if streams_room < 3:
        connections, streams_room = [], room - (len(notes) and notes_room + 1)
    lines = [*head]
    if connections:
        lines += [*connections, Text()]
    lines += pen.streams(snapshot, max(2, streams_room))
    if notes:
        lines += [Text(), *notes]
    return lines[:height]


def sparkline(values: Sequence[float], width: int, *, ascii_only: bool = False) -> str:
    """Return the last `width` values as bars between their own lowest and highest."""
    shown = values[-width:]
    if not shown:
        return ""
    bars = _SPARK_ASCII if ascii_only else _SPARK
    low, high = min(shown), max(shown)
    if high == low:
        return bars[0] * len(shown)
    return "".join(bars[min(int((value - low) / (high - low) * len(bars)), len(bars) - 1)] for value in shown)


def age(seconds: float | None) -> str:
    """Return a length of time in at most five characters."""
    if seconds is None:
        return "-"
    if seconds < 9.95:
        return f"{seconds:.1f}s"
    if seconds < 100:
        return f"{seconds:.0f}s"
    minutes, hours = int(seconds // 60), int(seconds // 3600)
    if minutes < 100:
        return f"{minutes}m"
    return f"{hours}h" if hours < 1000 else f"{hours // 24}d"


def elapsed(seconds: float) -> str:
    """Return a length of time as minutes and seconds, with hours where there are any."""
    whole = int(seconds)
    hours = f"{whole // 3600}:" if whole >= 3600 else ""
    return f"{hours}{whole // 60 % 60:02}:{whole % 60:02}"


def aligned(values: Sequence[Decimal], width: int) -> list[str]:
    """Return `values` with as many decimals as any of them needs, each in at most `width` characters."""
    decimals = max(-int(value.normalize().as_tuple().exponent) for value in values)
    return [amount(round(value, max(0, decimals)), width) for value in values]


def amount(value: Decimal, width: int) -> str:
    """Return `value` in at most `width` characters, six or more: exact if it fits, else rounded."""
    text = format(value, "f")
    if len(text) <= width:
        return text
    whole = len(text.partition(".")[0])
    if whole <= width:
        return f"{value:.{max(0, width - whole - 1)}f}"
    for exponent, unit in ((3, "k"), (6, "M"), (9, "G")):
        short = f"{value.scaleb(-exponent):.1f}{unit}"
        if len(short) <= width:
            return short
    return f"{value.scaleb(-12):.1f}T"


class _Pen:
    """Draws the parts of the screen at one width."""

    def __init__(self, width: int, ascii_only: bool) -> None:
        self._width = width
        self._ascii = ascii_only
        self._dot = " | " if ascii_only else " · "

    def title(self, shot: Snapshot) -> Text:
        """What runs, for how long, and what time it is there."""
        ran = elapsed(shot.elapsed_s) + (f" of {elapsed(shot.seconds)}" if shot.seconds is not None else "")
        what = {"settling": "waiting for repairs", "stopping": "stopping in order"}.get(shot.phase, "running")
        clock = datetime.fromtimestamp(shot.venue_ms / 1000, UTC)
        parts = [("candleactors demo", "bold"), (f"{what} {ran}", "bold green" if what == "running" else "bold yellow")]
        if shot.chaos:
            parts.append(("chaos", "bold magenta"))
        if shot.address is not None:
            parts.append((f"{shot.address}/", "bold cyan"))
        parts += [(f"{clock:%H:%M:%S} at the venues", ""), (f"seed {shot.seed}", "dim")]
        if shot.phase != "stopping":
            parts.append(("Ctrl-C ends" if shot.phase == "running" else "Ctrl-C skips that", "dim"))
        return self._parts(parts)

    def health(self, shot: Snapshot) -> Text:
        """How the feed says it is."""
        venues, store = shot.status.venues, shot.status.store
        confirmed, desired = sum(v.confirmed for v in venues), sum(v.subscriptions for v in venues)
        connected = sum(c.connected for v in venues for c in v.connections)
        repairing = sum(v.repairing for v in venues)
        healthy = shot.status.healthy
        parts = [
            ("healthy" if healthy else "recovering", "bold green" if healthy else "bold yellow"),
            (f"{confirmed}/{desired} streams confirmed", ""),
            (f"{connected}/{shot.connections} connected", ""),
            (f"{repairing} repairing", "yellow" if repairing else ""),
            (f"store {store.written:,} rows", ""),
            (f"{store.pending:,} pending", ""),
        ]
        return self._parts(parts if store.error is None else [*parts[:1], (f"store: {store.error}", "bold red")])

    def judgement(self, shot: Snapshot) -> Text:
        """What the judge says."""
        verdict = shot.verdict
        right = verdict.closed_candles - verdict.duplicated - verdict.out_of_order - verdict.wrong
        bad = verdict.duplicated or verdict.out_of_order or verdict.wrong
        parts = [("judge", "bold red" if bad else "bold green"), (f"{right:,} right", "")]
        for count, name in (
            (verdict.wrong, "wrong"),
            (verdict.duplicated, "duplicated"),
            (verdict.out_of_order, "out of order"),
        ):
            parts.append((f"{count:,} {name}", "bold red" if count else ""))
        parts.append((f"{verdict.lost:,} awaited", "yellow" if verdict.lost else ""))
        return self._parts(parts)

    def counters(self, shot: Snapshot) -> Text:
        """What came so far."""
        parts = [
            (f"{shot.messages_per_s:.0f} messages/s", ""),
            (f"{shot.closed_candles:,} closed", ""),
            (f"{shot.rest_repairs:,} by REST", "cyan" if shot.rest_repairs else ""),
            (f"{shot.reconnects:,} reconnects", "yellow" if shot.reconnects else ""),
            (f"{shot.gaps:,} gaps", "red" if shot.gaps else ""),
            (f"{shot.revisions:,} revisions", ""),
            (f"{shot.history:,} of history", ""),
            (f"{shot.messages:,} messages", ""),
        ]
        return self._parts(parts)

    def connections(self, shot: Snapshot, most: int) -> list[Text]:
        """A table of the connections."""
        labels = _labels(shot)
        columns = [
            Column("venue", max(5, *map(len, labels.values())), right=False),
            Column("conn", 4),
            Column("state", 9, right=False),
            Column("streams", 7),
            Column("used", 5),
            Column("uptime", 6),
            Column("last msg", 8),
            Column("gen", 3),
            Column("last failure", 12, right=False, grows=60),
        ]
        every = [(venue.venue, shard) for venue in shot.status.venues for shard in venue.connections]
        every.sort(key=lambda pair: (pair[1].connected, pair[0], pair[1].index))  # what is down comes first
        shown = sorted(every[:most], key=lambda pair: (pair[0], pair[1].index))
        return self._table(self._fit(columns), [_connection(labels[venue], shard) for venue, shard in shown])

    def streams(self, shot: Snapshot, room: int) -> list[Text]:
        """A table of the streams, page by page where they do not fit."""
        rows = room - 1 if len(shot.lines) < room else max(1, room - 2)
        pages = max(1, -(-len(shot.lines) // rows))
        page = int(shot.elapsed_s / _PAGE_S) % pages
        symbols = max((cell_len(line.stream.symbol) for line in shot.lines), default=0)
        labels = _labels(shot)
        columns = self._fit(
            [
                Column("venue", max(5, *map(len, labels.values())), right=False),
                Column("symbol", min(max(symbols, 7), 14), right=False),
                Column("tf", 3),
                Column("open", 9, rank=3),
                Column("high", 9, rank=2),
                Column("low", 9, rank=2),
                Column("close", 9),
                Column("volume", 9, rank=4),
                Column("closes", 10, right=False, rank=1, grows=CLOSES),
                Column("age", 5),
                Column("from", 4, right=False),
                Column("state", 7, right=False),
            ]
        )
        bars = next((column.width for column in columns if column.title == "closes"), 0)
        shown = shot.lines[page * rows : (page + 1) * rows]
        title = f"streams {page * rows + 1} to {page * rows + len(shown)} of {len(shot.lines)}"
        head = [] if pages == 1 else [Text(title, "dim")]
        cells = [_stream(labels[line.stream.venue], line, bars, ascii_only=self._ascii) for line in shown]
        return [*head, *self._table(columns, cells)]

    def notes(self, shot: Snapshot, most: int) -> list[Text]:
        """The latest events, the newest last."""
        lines = []
        for note in shot.notes[-most:]:
            line = Text.assemble((elapsed(note.at_s), "dim"), " ", (note.text, _LEVELS.get(note.level, "")))
            line.truncate(self._width, overflow="ellipsis" if not self._ascii else "crop")
            lines.append(line)
        return lines or [Text("nothing has gone wrong yet", "dim")]

    def _fit(self, columns: Sequence[Column]) -> list[Column]:
        """Leave out what there is no room for, and let one column take the room left over."""
        kept = list(columns)
        for rank in sorted({column.rank for column in columns if column.rank}, reverse=True):
            if self._spare(kept) >= 0:
                break
            kept = [column for column in kept if column.rank != rank]
        spare = max(0, self._spare(kept))
        return [evolve(c, width=min(c.width + spare, max(c.width, c.grows))) if c.grows else c for c in kept]

    def _spare(self, columns: Sequence[Column]) -> int:
        return self._width - sum(column.width + 1 for column in columns) + 1

    def _table(self, columns: Sequence[Column], rows: Iterable[Mapping[str, Text]]) -> list[Text]:
        """Return the header and a line for each of `rows`, which hold cells by title."""
        header = {column.title: Text(column.title, "dim") for column in columns}
        return [self._row([(column, row[column.title]) for column in columns]) for row in (header, *rows)]

    def _row(self, cells: Iterable[tuple[Column, Text]]) -> Text:
        line = Text()
        for number, (column, cell) in enumerate(cells):
            if number:
                line.append(" ")
            shown = cell.copy()
            shown.truncate(column.width, overflow="crop" if self._ascii else "ellipsis")
            gap = " " * (column.width - shown.cell_len)
            line.append_text(Text.assemble(gap, shown) if column.right else Text.assemble(shown, gap))
        line.rstrip()
        line.truncate(self._width)
        return line

    def _parts(self, parts: Iterable[tuple[str, str]]) -> Text:
        """Join parts from left to right, as many as there is room for."""
        line = Text()
        for text, style in parts:
            lead = self._dot if line else ""
            if cell_len(line.plain) + len(lead) + cell_len(text) > self._width:
                break
            line.append(lead, "dim").append(text, style)
        return line


def _connection(label: str, shard: ConnectionStatus) -> dict[str, Text]:
    state = "retiring" if shard.retiring else "connected" if shard.connected else "down"
    return {
        "venue": Text(label, "dim"),
        "conn": Text(str(shard.index)),
        "state": Text(state, _STATES[state]),
        "streams": Text(str(shard.streams)),
        "used": Text(f"{shard.capacity_used_pct:.0f} %"),
        "uptime": Text(age(shard.uptime_s)),
        "last msg": Text(age(shard.last_message_age_s)),
        "gen": Text(str(shard.generation)),
        "last failure": Text((shard.last_disconnect or "-").removeprefix("disconnected with "), "dim"),
    }


def _stream(label: str, line: StreamLine, bars: int, *, ascii_only: bool) -> dict[str, Text]:
    stream, last = line.stream, line.last
    cells = {
        "venue": Text(label, "dim"),
        "symbol": Text(stream.symbol, "bold"),
        "tf": Text(str(stream.timeframe)),
        "age": Text(age(line.age_s)),
        "state": Text(line.state, _STATES[line.state]),
    }
    if last is None:
        empty = Text("-", "dim")
        return cells | dict.fromkeys(("open", "high", "low", "close", "volume", "closes", "from"), empty)
    prices = aligned((last.open, last.high, last.low, last.close), 9)
    direction = "green" if last.close > last.open else "red" if last.close < last.open else ""
    trend = "green" if line.closes[-1] >= line.closes[0] else "red"
    return cells | {
        **{name: Text(price) for name, price in zip(("open", "high", "low"), prices, strict=False)},
        "close": Text(prices[3], f"bold {direction}".strip()),
        "volume": Text(amount(last.volume.normalize(), 9)),
        "closes": Text(sparkline(line.closes, bars, ascii_only=ascii_only), trend),
        "from": Text(last.source.value, "cyan" if last.source is Source.REST else ""),
    }


def _labels(shot: Snapshot) -> dict[str, str]:
    """Return what to call each venue: the last part of its name, where no other has the same."""
    names = [venue.venue for venue in shot.status.venues]
    short = [name.rpartition("-")[2] for name in names]
    return {name: name if short.count(last) > 1 else last for name, last in zip(names, short, strict=True)}
