"""Event ids: where a reader of live candles stands, as the text that comes back as ``Last-Event-ID``.

The server keeps nothing of a reader that has gone, so its id says everything: a `Cursor` over the streams of its
connection, in an order of its own. Eight fields, parted by ``~``::

    1 ~ digest of the streams ~ life ~ news ~ taken_ms ~ positions ~ again ~ revised

Numbers are hexadecimal. `positions` and `again` have a number for each stream, parted by dots: empty where there is
none, ``_`` where it is the same as the one before. `revised` has pairs of a stream's number and an open time.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from attrs import evolve

from candleactors.instants import LATEST_MS
from candleactors.model import Cursor, Stream

_VERSION: Final = "1"
_MOST_REVISED: Final = 64
"""A reader who owes more keeps its earlier id: the feed then tells it what was revised since."""
_LARGEST: Final = 1 << 48
_FIELD: Final = re.compile(r"[0-9a-f]{0,16}")


class EventIds:
    """Gives the ids of one reader's events, in the order in which they are sent.

    `streams` are those of the connection, in the venues' own spelling. Synchronous.
    """

    def __init__(self, streams: Iterable[Stream], cursor: Cursor) -> None:
        self._streams = in_order(streams)
        self._numbers = {stream: number for number, stream in enumerate(self._streams)}
        self._stem = f"{_VERSION}~{_digest(self._streams)}"
        self._positions: list[int | None] = []
        self._written: list[str] = []  # the positions, so that an event costs no more than what it changes
        self._head = self._tail = ""
        self.rebase(cursor)

    def rebase(self, cursor: Cursor) -> None:
        """Take notice that everything up to `cursor` was sent."""
        if len(cursor.revised) > _MOST_REVISED and self._head:
            return
        positions = [cursor.after.get(stream) for stream in self._streams]
        if positions != self._positions:
            self._positions, self._written = positions, _written(positions)
        self._head = f"{self._stem}~{cursor.life:x}~{cursor.news:x}~{cursor.taken_ms:x}"
        again = ".".join(_written([cursor.again.get(stream) for stream in self._streams])) if cursor.again else ""
        revised = [
            f"{self._numbers[stream]:x}.{open_ms:x}" for stream, open_ms in cursor.revised if stream in self._numbers
        ]
        self._tail = f"{again}~{'.'.join(revised)}"

    def text(self) -> str:
        """Return the id of where the reader stands."""
        return f"{self._head}~{'.'.join(self._written)}~{self._tail}"

    def advance(self, stream: Stream, open_ms: int) -> str:
        """Return the id of an event after which the reader stands at `open_ms` in `stream`."""
        number, positions, written = self._numbers[stream], self._positions, self._written
        positions[number] = open_ms
        for changed in (number, number + 1):
            if changed < len(positions):
                written[changed] = _one(positions[changed], positions[changed - 1] if changed else -1)
        return self.text()


def parse(text: str, streams: Iterable[Stream]) -> Cursor:
    """Return the cursor that an id says; raises `ValueError` where it is none, or one of other streams."""
    ordered = in_order(streams)
    fields = text.split("~")
    if len(text) > 16_384 or len(fields) != 8 or fields[0] != _VERSION:
        raise ValueError("this is not an event id")
    if fields[1] != _digest(ordered):
        raise ValueError("this event id was given for other streams")
    life, news, taken_ms = _number(fields[2]), _number(fields[3]), _instant(fields[4])
    revised = fields[7].split(".") if fields[7] else []
    if len(revised) % 2 or len(revised) > 2 * _MOST_REVISED:
        raise ValueError("this is not an event id")
    pairs = [(_number(number), _instant(ms)) for number, ms in zip(revised[::2], revised[1::2], strict=True)]
    if any(number >= len(ordered) for number, _ in pairs):
        raise ValueError("this is not an event id")
    known = _unlist(fields[5], ordered)
    return Cursor(
        after={stream: stream.timeframe.floor(known.get(stream, _nothing_yet(stream, taken_ms))) for stream in ordered},
        revised=tuple((ordered[number], ms) for number, ms in pairs),
        life=life,
        news=news,
        taken_ms=taken_ms,
        again=_unlist(fields[6], ordered) if fields[6] else {},
    )


def since(cursor: Cursor, streams: Iterable[Stream], start_ms: int) -> Cursor:
    """Return `cursor`, one of now, put back to before the first candle of each stream that opens from `start_ms` on."""
    after = {}
    for stream in streams:
        open_ms = stream.timeframe.floor(start_ms)
        after[stream] = open_ms if open_ms < start_ms else stream.timeframe.previous_open(open_ms)
    return evolve(cursor, after=after)


def in_order(streams: Iterable[Stream]) -> tuple[Stream, ...]:
    """Return `streams`, each once, as ids number them: those of one timeframe, which mostly stand together."""
    return tuple(sorted(dict.fromkeys(streams), key=lambda stream: (str(stream.timeframe), str(stream))))


def _nothing_yet(stream: Stream, taken_ms: int) -> int:
    """Return the position of a reader that was there at `taken_ms` and had been given no candle by then."""
    previous = stream.timeframe.previous_open
    return previous(previous(stream.timeframe.floor(taken_ms)))


def _digest(streams: Sequence[Stream]) -> str:
    return f"{zlib.crc32(chr(10).join(map(str, streams)).encode()):x}"


def _written(numbers: Sequence[int | None]) -> list[str]:
    return [_one(number, before) for number, before in zip(numbers, (-1, *numbers), strict=False)]


def _one(number: int | None, before: int | None) -> str:
    return "_" if number == before else "" if number is None else f"{number:x}"


def _unlist(text: str, streams: Sequence[Stream]) -> Mapping[Stream, int]:
    parts = text.split(".")
    if len(parts) != len(streams):
        raise ValueError("this is not an event id")
    numbers: dict[Stream, int] = {}
    before: int | None = None
    for stream, part in zip(streams, parts, strict=True):
        if part != "_":
            before = _instant(part) if part else None
        if before is not None:
            numbers[stream] = before
    return numbers


def _number(text: str) -> int:
    if not text or not _FIELD.fullmatch(text) or (number := int(text, 16)) > _LARGEST:
        raise ValueError("this is not an event id")
    return number


def _instant(text: str) -> int:
    if (at_ms := _number(text)) > LATEST_MS:
        raise ValueError("this is not an event id")
    return at_ms
