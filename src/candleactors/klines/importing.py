"""Files of klines into a store: whole files or nothing of them, in bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from itertools import islice
from typing import Final, Protocol

from attrs import define, field

from candleactors.errors import CandleactorsError, ConfigError, MalformedFile
from candleactors.klines.coverage import Coverage
from candleactors.klines.own_csv import UNKNOWN_VENUE
from candleactors.klines.reader import KlineFile
from candleactors.model import Candle, Stream
from candleactors.stores.merging import Tally

_BATCH: Final = 2_000
"""Rows in one transaction: a feed that writes to the same store waits for it, some hundredths of a second."""


class MergingStore(Protocol):
    """A store that candles can be merged into, see `candleactors.stores.merging.merged`."""

    async def merge(
        self, candles: Sequence[Candle], *, corrects: bool, repaired_ms: int | None = None
    ) -> Mapping[Stream, Tally]:
        """Merge closed candles in one transaction and return what became of them."""
        ...


@define
class StreamImport:
    """What was imported of one stream."""

    coverage: Coverage
    rows: int = 0
    tally: Tally = field(factory=Tally)
    unfinished: int = 0
    """Rows left out because nothing says that their intervals were over."""


class Importer:
    """Imports files one after another. `now_ms` is our clock: what ends later is unfinished, whatever a file says.

    `told` is called after each batch of rows with what was done to them, ``checking`` or ``importing``, and how many.
    """

    def __init__(self, store: MergingStore, now_ms: int, told: Callable[[str, int], None]) -> None:
        self.streams: dict[Stream, StreamImport] = {}
        """What was imported so far, rows of a file that was interrupted included."""
        self._store = store
        self._now_ms = now_ms
        self._told = told

    async def import_file(self, file: KlineFile) -> None:
        """Import `file`, after reading it once from end to end to see that every row is right.

        Raises `MalformedFile` or `ConfigError` if it is not, and has then imported nothing of it; another
        `CandleactorsError` if the file changes meanwhile. Raises what the store does. Whatever happened, it can be
        called again: nothing is written twice.
        """
        self._check(file)
        try:
            await self._merge(file, file.identity)
        except MalformedFile:
            raise _changed(file) from None

    def _check(self, file: KlineFile) -> None:
        with closing(file.rows()) as rows:
            while batch := [candle for _, candle in islice(rows, _BATCH)]:
                if any(candle.venue == UNKNOWN_VENUE for candle in batch):
                    raise ConfigError(
                        "nothing says which venue the rows are of; give it, as in --venue binance-spot",
                        source=str(file.path),
                    )
                self._told("checking", len(batch))
        if file.changed():
            raise _changed(file)

    async def _merge(self, file: KlineFile, identity: tuple[int, ...]) -> None:
        with closing(file.rows()) as rows:
            while batch := [candle for _, candle in islice(rows, _BATCH)]:
                if file.identity != identity or file.changed():
                    raise _changed(file)
                await self._merge_batch(batch, corrects=file.official)
                self._told("importing", len(batch))

    async def _merge_batch(self, batch: list[Candle], *, corrects: bool) -> None:
        over: list[Candle] = []
        for candle in batch:
            stream = self._stream(candle.stream)
            stream.rows += 1
            if candle.closed and candle.close_time_ms < self._now_ms:
                over.append(candle)
                stream.coverage.add(candle.open_time_ms, candle.next_open_time_ms)
            else:
                stream.unfinished += 1
        if over:
            merged = await self._store.merge(over, corrects=corrects, repaired_ms=self._now_ms)
            for name, tally in merged.items():
                self._stream(name).tally.add(tally)

    def _stream(self, stream: Stream) -> StreamImport:
        found = self.streams.get(stream)
        if found is None:
            found = self.streams[stream] = StreamImport(Coverage(stream.timeframe))
        return found


def _changed(file: KlineFile) -> CandleactorsError:
    return CandleactorsError(f"{file.path}: was changed while it was imported; import it again")
