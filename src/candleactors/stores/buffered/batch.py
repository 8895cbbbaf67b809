"""Batches: what one write was given, as bytes and back."""

from __future__ import annotations

import functools
import typing
import zlib
from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec
from attrs import frozen

from candleactors.model import Candle, Gap, GapReason, Stream, Timeframe


class DamagedBatch(Exception):
    """Bytes that are no batch, or not the ones that were written."""


@frozen
class Batch:
    """The arguments of one `Store.write`."""

    candles: Sequence[Candle]
    gaps: Sequence[Gap]
    repaired_ms: int | None

    @property
    def rows(self) -> int:
        """How many candles and gaps there are."""
        return len(self.candles) + len(self.gaps)


# As arrays in the order of the fields: a third of what the same takes with their names.
_FIELDS: Final = tuple(str if hint is Timeframe else hint for hint in typing.get_type_hints(Candle).values())
_CANDLE: Final[Any] = tuple[_FIELDS]  # type: ignore[valid-type]  # read off the fields
_GAP: Final[Any] = tuple[str, str, str, int, int, GapReason]
_ENCODER: Final = msgspec.msgpack.Encoder()
_DECODER: Final[msgspec.msgpack.Decoder[Any]] = msgspec.msgpack.Decoder(tuple[list[_CANDLE], list[_GAP], int | None])


def encode(batch: Batch) -> bytes:
    """Return `batch` as bytes that `decode` takes, with a checksum."""
    candles = []
    for candle in batch.candles:
        venue, symbol, timeframe, *values = msgspec.structs.astuple(candle)
        candles.append((venue, symbol, timeframe.text, *values))
    gaps = [
        (g.stream.venue, g.stream.symbol, g.stream.timeframe.text, g.first_open_ms, g.last_open_ms, g.reason)
        for g in batch.gaps
    ]
    payload = _ENCODER.encode((candles, gaps, batch.repaired_ms))
    return zlib.crc32(payload).to_bytes(4, "big") + payload


def decode(data: bytes) -> Batch:
    """Return the batch that `encode` made `data` of; raises `DamagedBatch`."""
    payload = data[4:]
    if zlib.crc32(payload).to_bytes(4, "big") != data[:4]:
        raise DamagedBatch("its checksum is wrong")
    try:
        candles, gaps, repaired_ms = _DECODER.decode(payload)
        return Batch(
            [Candle(venue, symbol, _timeframe(text), *values) for venue, symbol, text, *values in candles],
            [Gap(Stream(venue, symbol, _timeframe(text)), *values) for venue, symbol, text, *values in gaps],
            repaired_ms,
        )
    except (msgspec.MsgspecError, ValueError) as error:
        raise DamagedBatch(str(error)) from error


def joined(batches: Iterable[Batch]) -> Batch:
    """Return as one what comes to the same as one batch after the other, where only the last has gaps.

    A gap that one batch brings and a later one fills would otherwise never have been a gap.
    """
    candles: list[Candle] = []
    gaps: Sequence[Gap] = ()
    repaired_ms: int | None = None
    for batch in batches:
        assert not gaps, "a batch after one with gaps"
        candles += batch.candles
        gaps, repaired_ms = batch.gaps, batch.repaired_ms
    return Batch(candles, gaps, repaired_ms)


_timeframe: Final = functools.cache(Timeframe)
