"""Several files of klines joined into one ascending sequence."""

from __future__ import annotations

import heapq
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from typing import TypeAlias

from attrs import frozen

from candleactors.errors import MalformedFile
from candleactors.klines.reader import KlineFile, Row, Rows
from candleactors.model import Candle, Stream


@frozen
class Place:
    """A candle and the file and line it comes from."""

    file: KlineFile
    line: int
    candle: Candle

    def __str__(self) -> str:
        return f"{self.file.path}, line {self.line}"


_Active: TypeAlias = tuple[int, int, Row, Rows]
"""Ordered by the end of the interval, then by the number of the file."""


class Joined:
    """The closed candles of several files, each once; where files overlap they have to agree.

    Files are taken up in the order of their first rows and no earlier than needed, so that a year of daily files does
    not need a year of open files.
    """

    def __init__(self, files: Sequence[KlineFile]) -> None:
        self._files = files
        self._last: dict[Stream, Place] = {}
        self._open: dict[Stream, Place] = {}
        self._active: list[_Active] = []
        self._read_bytes = 0
        self.left_out: list[Place] = []
        """The candles passed over because nothing says that their intervals were over."""

    def candles(self) -> Generator[Candle, None, None]:
        """Yield the candles, ascending in each stream; close what this returns if it is not used up.

        Raises `MalformedFile` for a bad row, and for one that contradicts another file's.
        """
        for place in self._merged():
            stream = place.candle.stream
            last, unfinished = self._last.get(stream), self._open.pop(stream, None)
            repeats = last is not None and self._repeats(place, last)
            if unfinished is not None and unfinished.candle.open_time_ms != place.candle.open_time_ms:
                self.left_out.append(unfinished)
            if repeats:
                continue
            if place.candle.closed:
                self._last[stream] = place
                yield place.candle
            else:
                self._open[stream] = place
        self.left_out += self._open.values()

    def position(self) -> int:
        """Return how many bytes of all files have been read."""
        return self._read_bytes + sum(self._files[number].position() for _, number, _, _ in self._active)

    def _repeats(self, place: Place, last: Place) -> bool:
        """Whether `place` adds nothing to `last`, the closed candle before it in its stream."""
        candle, before = place.candle, last.candle
        if candle.open_time_ms > before.open_time_ms:
            return False
        path = str(place.file.path)
        if candle.open_time_ms < before.open_time_ms:
            raise MalformedFile(f"opens before {last}, which had to be read first", path=path, line=place.line)
        if candle.closed and not candle.same_values(before):
            raise MalformedFile(f"says otherwise than {last}", path=path, line=place.line)
        return True

    def _merged(self) -> Iterator[Place]:
        """Yield the rows of all files by the ends of their intervals, as derived candles are written too."""
        waiting = sorted(self._first_rows(), reverse=True)
        try:
            while waiting or self._active:
                if waiting and (not self._active or waiting[-1][0] <= self._active[0][0]):
                    _, number = waiting.pop()
                    self._take(number, self._files[number].rows())
                    continue
                _, number, (line, candle), rows = self._active[0]
                yield Place(self._files[number], line, candle)
                heapq.heappop(self._active)
                self._take(number, rows)
        finally:
            for _, _, _, rows in self._active:
                rows.close()
            self._active.clear()

    def _take(self, number: int, rows: Rows) -> None:
        row = next(rows, None)
        if row is not None:
            heapq.heappush(self._active, (row[1].close_time_ms, number, row, rows))
        else:
            self._read_bytes += self._files[number].size

    def _first_rows(self) -> Iterator[tuple[int, int]]:
        """Yield when the first interval of each file ends, and the number of the file."""
        for number, file in enumerate(self._files):
            with closing(file.rows()) as rows:
                first = next(rows, None)
            if first is not None:
                yield first[1].close_time_ms, number
