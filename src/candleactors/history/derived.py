"""Derived history: what stored candles of a source make and the store does not have, or has incomplete."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import aclosing
from functools import partial

import trio

from candleactors.actors.deriving import derived_history
from candleactors.core.holes import absent, first_open, span_of
from candleactors.core.stretches import Stretch
from candleactors.history.report import StreamReport
from candleactors.model import Gap, GapReason, Stream
from candleactors.stores.base import Archive


async def extend_derived(
    store: Archive,
    source: Stream,
    reports: Sequence[StreamReport],
    changed: Iterable[Stretch],
    start_ms: int | None,
    end_ms: int | None,
    repaired_ms: int,
) -> None:
    """Make candles of the streams of `reports` from stored ones of `source`, and merge them into the store.

    That is whatever they lack between the first and the last source candle that opens in [`start_ms`, `end_ms`], what
    is incomplete there, and what contains `changed` source candles. Outages of the source are theirs as well. Raises
    `StoreUnavailable`.
    """
    there = await store.covered(source, start_ms, end_ms)
    if not there or not reports:
        return
    oldest = await store.candles(source, limit=1)
    streams = {report.stream: report for report in reports}
    needed = list(changed)
    for stream in streams:
        needed += await _lacking(store, stream, there)
    timeframes = [stream.timeframe for stream in streams]
    for stretch in _whole(streams, needed):
        first_ms = max(stretch.start_ms, oldest[0].open_time_ms)
        read = partial(store.candles, source)
        async with aclosing(derived_history(read, source, timeframes, first_ms, stretch.until_ms)) as batches:
            async for candles in batches:
                if candles:
                    for stream, tally in (await store.merge(candles, corrects=True, repaired_ms=repaired_ms)).items():
                        streams[stream].count(tally)
                await trio.lowlevel.checkpoint()
    gaps = [gap for gap in await store.gaps(source) if gap.reason is GapReason.VENUE]
    for stream in streams:
        await _note_outages(store, stream, gaps, repaired_ms)


async def _note_outages(store: Archive, stream: Stream, gaps: Iterable[Gap], repaired_ms: int) -> None:
    """Note as outages those intervals of `stream` that lie wholly in `gaps` of its source, between its candles."""
    timeframe = stream.timeframe
    oldest, newest = await store.candles(stream, limit=1), await store.candles(stream, limit=1, newest=True)
    whole: list[Gap] = []
    for gap in gaps:
        span = span_of(gap)
        until_ms = timeframe.floor(span.until_ms)
        first_ms = first_open(timeframe, span.start_ms, until_ms)
        if first_ms < until_ms and oldest and oldest[0].open_time_ms < first_ms < newest[0].open_time_ms:
            whole.append(Gap(stream, first_ms, timeframe.previous_open(until_ms), gap.reason))
    if whole:
        await store.write([], whole, repaired_ms=repaired_ms)


async def _lacking(store: Archive, stream: Stream, there: Sequence[Stretch]) -> list[Stretch]:
    """Return the whole intervals that `stream` lacks although there are source candles in them."""
    timeframe = stream.timeframe
    first_ms = timeframe.floor(there[0].start_ms)
    if first_ms < there[0].start_ms:
        first_ms = timeframe.next_open(first_ms)
    whole = Stretch(first_ms, timeframe.floor(there[-1].until_ms))
    if whole.start_ms >= whole.until_ms:
        return []
    have = await store.covered(stream, whole.start_ms, whole.until_ms - 1, complete=True)
    return [each for each in absent(whole, have) if absent(each, there) != [each]]


def _whole(streams: Iterable[Stream], needed: Iterable[Stretch]) -> list[Stretch]:
    """Return `needed` widened to whole intervals of every stream, ascending, those that touch as one."""
    frames = [stream.timeframe for stream in streams]
    widened = sorted(
        (
            min(frame.floor(each.start_ms) for frame in frames),
            max(frame.next_open(frame.floor(each.until_ms - 1)) for frame in frames),
        )
        for each in needed
    )
    joined: list[Stretch] = []
    for start_ms, until_ms in widened:
        if joined and start_ms <= joined[-1].until_ms:
            last = joined.pop()
            start_ms, until_ms = last.start_ms, max(last.until_ms, until_ms)
        joined.append(Stretch(start_ms, until_ms))
    return joined
