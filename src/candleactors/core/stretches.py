"""Stretches: what of one stream is to be compared with its venue, cut into pieces of one request each.

The newest come first: what is compared is what users look at, and history that is made longer grows backwards, so that
what is stored has no hole whenever the work is interrupted.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from attrs import frozen

from candleactors.model import Timeframe


@frozen
class Stretch:
    """The intervals that open in [`start_ms`, `until_ms`), both of them open times."""

    start_ms: int
    until_ms: int


def runs(edges: Iterable[Sequence[int]]) -> Iterator[Stretch]:
    """Yield the stretches whose first and last intervals are `edges`, ascending.

    An edge is when the interval opens, when it ends, whether it is the first of a stretch, and whether it is the last.
    """
    start_ms = 0
    for opens, ends, is_first, is_last in edges:
        if is_first:
            start_ms = opens
        if is_last:
            yield Stretch(start_ms, ends)


def pieces(timeframe: Timeframe, first_ms: int, until_ms: int, most: int) -> Iterator[Stretch]:
    """Yield the intervals that open in [`first_ms`, `until_ms`) in pieces of at most `most`, the newest first.

    `until_ms` is an open time and gives the phase; `first_ms` is any instant.
    """
    while until_ms > first_ms:
        start_ms = timeframe.advance(until_ms, -most)
        if start_ms < first_ms:
            start_ms = next((at for at in timeframe.opens(start_ms, until_ms) if at >= first_ms), until_ms)
        if start_ms < until_ms:
            yield Stretch(start_ms, until_ms)
        until_ms = min(start_ms, timeframe.previous_open(until_ms))


def around(timeframe: Timeframe, stretches: Iterable[Stretch], until_ms: int, most: int) -> Iterator[Stretch]:
    """Yield pieces that cover what of `stretches`, which ascend, opens before `until_ms`; several share a piece."""
    first_ms = last_ms = until_ms
    for stretch in reversed(list(stretches)):
        if stretch.start_ms >= until_ms:
            continue
        if first_ms < last_ms and timeframe.count_between(stretch.start_ms, last_ms) > most:
            yield from pieces(timeframe, first_ms, last_ms, most)
            first_ms = last_ms
        if first_ms == last_ms:
            last_ms = min(stretch.until_ms, until_ms)
        first_ms = stretch.start_ms
    yield from pieces(timeframe, first_ms, last_ms, most)


def plan(
    timeframe: Timeframe,
    start_ms: int | None,
    until_ms: int,
    *,
    recent: int,
    holes: Iterable[Stretch],
    most: int,
    resume_ms: int | None = None,
) -> Iterator[Stretch]:
    """Yield what is to be compared before `until_ms`, an open time, in pieces of at most `most` intervals.

    That is everything from `start_ms` on; without it, the last `recent` intervals, and older `holes`, which ascend.
    With `resume_ms` what opens from there on was compared before.
    """
    first_ms = timeframe.advance(until_ms, -recent) if start_ms is None else start_ms
    if resume_ms is not None:
        until_ms = min(until_ms, resume_ms)
    yield from pieces(timeframe, first_ms, until_ms, most)
    if start_ms is None:
        yield from around(timeframe, holes, min(first_ms, until_ms), most)
