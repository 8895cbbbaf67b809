"""Arithmetic on stored gaps: pure, on ascending, disjoint lists of one stream."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable, Sequence

from attrs import evolve

from candleactors.model import DAY_MS, Gap, GapReason, GapSummary, Stream


def cover(gaps: Sequence[Gap], new: Gap) -> list[Gap]:
    """Return `gaps` with `new` laid over them: where they overlap, the reason of `new` holds.

    Neighbours of the same reason become one gap.
    """
    timeframe = new.stream.timeframe
    before, after = timeframe.previous_open(new.first_open_ms), timeframe.next_open(new.last_open_ms)
    pieces = [new]
    for gap in gaps:
        left = evolve(gap, last_open_ms=min(gap.last_open_ms, before))
        right = evolve(gap, first_open_ms=max(gap.first_open_ms, after))
        pieces += [piece for piece in (left, right) if piece.first_open_ms <= piece.last_open_ms]
    pieces.sort(key=lambda gap: gap.first_open_ms)
    joined = pieces[:1]
    for piece in pieces[1:]:
        last = joined[-1]
        if last.reason == piece.reason and timeframe.next_open(last.last_open_ms) == piece.first_open_ms:
            joined[-1] = evolve(last, last_open_ms=piece.last_open_ms)
        else:
            joined.append(piece)
    return joined


def fill(gaps: Sequence[Gap], open_times: Sequence[int]) -> list[Gap]:
    """Return what is left of `gaps` once candles exist at `open_times`, which ascend."""
    left: list[Gap] = []
    for gap in gaps:
        timeframe = gap.stream.timeframe
        first = gap.first_open_ms
        inside = slice(bisect_left(open_times, first), bisect_right(open_times, gap.last_open_ms))
        for at in open_times[inside]:
            if first < at:
                left.append(evolve(gap, first_open_ms=first, last_open_ms=timeframe.previous_open(at)))
            first = timeframe.next_open(at)
        if first <= gap.last_open_ms:
            left.append(evolve(gap, first_open_ms=first))
    return left


def repaired(gaps: Sequence[Gap], open_times: Sequence[int]) -> list[Gap]:
    """Return the part of `gaps` that candles at `open_times`, which ascend, fill: what `fill` takes out of them.

    Neighbours within one gap come as one.
    """
    runs: list[Gap] = []
    for gap in gaps:
        next_open, next_ms = gap.stream.timeframe.next_open, None
        inside = slice(bisect_left(open_times, gap.first_open_ms), bisect_right(open_times, gap.last_open_ms))
        for at in open_times[inside]:
            if at == next_ms:
                runs[-1] = evolve(runs[-1], last_open_ms=at)
            else:
                runs.append(evolve(gap, first_open_ms=at, last_open_ms=at))
            next_ms = next_open(at)
    return runs


def passed_over(stream: Stream, last_ms: int, open_times: Iterable[int]) -> Gap | None:
    """Return the gap between the interval that opens at `last_ms` and the first of `open_times` after it, if any."""
    next_ms = stream.timeframe.next_open(last_ms)
    first_ms = min((at for at in open_times if at >= next_ms), default=next_ms)
    if first_ms == next_ms:
        return None
    return Gap(stream, next_ms, stream.timeframe.previous_open(first_ms), GapReason.UNREPAIRED)


def settle(stored: Sequence[Gap], new: Iterable[Gap], open_times: Iterable[int]) -> tuple[list[Gap], list[Gap]]:
    """Return what to store in place of `stored` once `new` ones were told of, and what of `stored` was repaired.

    `open_times` are those of the closed candles that exist now, as far as they lie in any of these gaps.
    """
    ascending = sorted(open_times)
    left = list(stored)
    for gap in new:
        left = cover(left, gap)
    return fill(left, ascending), repaired(stored, ascending)


def from_on(gaps: Sequence[Gap], start_ms: int) -> list[Gap]:
    """Return the part of `gaps` that opens at or after `start_ms`."""
    cut = [evolve(gap, first_open_ms=_first_open(gap, start_ms)) for gap in gaps if gap.last_open_ms >= start_ms]
    return [gap for gap in cut if gap.first_open_ms <= gap.last_open_ms]


def summarize(gaps: Sequence[Gap], repairs: Iterable[Gap]) -> GapSummary:
    """Return the summary of open `gaps`, of any streams, the oldest first, and of what was repaired."""
    reasons = Counter(gap.reason for gap in gaps)
    repairs = list(repairs)
    return GapSummary(
        gaps=len(gaps),
        candles=sum(gap.count for gap in gaps),
        by_reason={reason: reasons[reason] for reason in GapReason},
        oldest=gaps[0] if gaps else None,
        repaired_candles=sum(gap.count for gap in repairs),
        repaired_streams=len({gap.stream for gap in repairs}),
    )


def _first_open(gap: Gap, start_ms: int) -> int:
    """Return when the first interval of `gap` opens at or after `start_ms`, or the one after its last."""
    timeframe, at = gap.stream.timeframe, gap.first_open_ms
    if timeframe.duration_ms is not None and at < start_ms:
        # After so long the grid repeats itself, whether it starts anew every day or not.
        repeats_ms = math.lcm(DAY_MS, timeframe.duration_ms)
        at += (start_ms - at) // repeats_ms * repeats_ms
    while at < start_ms:
        at = timeframe.next_open(at)
    return at
