"""The judge: compares what a subscriber was given with what really happened in the simulated market.

It knows nothing of the feed. It is told every event in the order in which the subscriber got it, and asks the market
for the truth.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Final, TypeAlias

from attrs import frozen

from candleactors.model import Candle, Event, Gap, Revision, Stream
from candleactors.sim import TruthCandle

Truth: TypeAlias = Callable[[Stream, int, int], Iterable[TruthCandle]]
"""Returns the candles of a stream that open at or after the first instant and are over at the second, ascending."""

_MAX_EXAMPLES: Final = 10


@frozen
class Verdict:
    """What a run amounts to, counted in candles but for `gaps`.

    - `lost`: due and never delivered; one in a gap counts unless a revision followed, or the venue has no such row.
    - `duplicated`: delivered again, or revised without a difference.
    - `out_of_order`: delivered after a later one, or revised before it was delivered.
    - `wrong`: differs from the truth in any field, was not over yet, or never existed.
    """

    streams: int = 0
    closed_candles: int = 0
    lost: int = 0
    duplicated: int = 0
    out_of_order: int = 0
    wrong: int = 0
    gaps: int = 0
    revisions: int = 0
    examples: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether every due candle came exactly once, in order and right."""
        return not (self.lost or self.duplicated or self.out_of_order or self.wrong)

    @property
    def settled(self) -> bool:
        """Whether nothing is missing that could still come: late candles, or revisions of wrong ones."""
        return not (self.lost or self.wrong)


class Judge:
    """Judges `streams` from `watched_from_ms` on, an instant of the venue's clock: what closes later has to come.

    What is delivered of the time before it has to be without holes as well. Synchronous; does no I/O.
    """

    def __init__(self, streams: Iterable[Stream], truth: Truth, watched_from_ms: int) -> None:
        self._ledgers = {stream: _Ledger(stream, truth, watched_from_ms) for stream in streams}
        self._uninvited = 0

    def take(self, event: Event) -> None:
        """Take in what the subscriber was given next."""
        ledger = self._ledgers.get(event.stream)
        if ledger is None:
            self._uninvited += 1
        else:
            ledger.take(event)

    def close_books(self, before_ms: int) -> None:
        """Compare what opens before `before_ms` now, and keep only the result: memory and verdicts stay small.

        What comes late is still judged, except that a revision without a difference is not told from another.
        """
        for ledger in self._ledgers.values():
            ledger.close_books(before_ms)

    def verdict(self, horizon_ms: int, now_ms: int, *, as_far_as_delivered: bool = False) -> Verdict:
        """Return the verdict on everything taken in so far; `now_ms` is the venue's clock.

        Due is what was over at `horizon_ms`; with `as_far_as_delivered`, of each stream only what precedes its last
        event.
        """
        counts: Counter[str] = Counter(wrong=self._uninvited)
        examples = ["an event of a stream nobody asked for"] if self._uninvited else []
        for ledger in self._ledgers.values():
            counts.update(ledger.counts)
            lost, wrong = ledger.compare(horizon_ms, now_ms, as_far_as_delivered=as_far_as_delivered)
            counts["lost"] += len(lost)
            counts["wrong"] += len(wrong)
            examples += ledger.examples
            examples += [ledger.example("lost", open_ms) for open_ms in sorted(lost)]
            examples += [ledger.example("wrong", open_ms) for open_ms in sorted(wrong)]
        return Verdict(streams=len(self._ledgers), examples=tuple(examples[:_MAX_EXAMPLES]), **counts)


class _Ledger:
    """What was said about one stream. `counts` holds what cannot heal; what is lost or wrong is compared anew."""

    def __init__(self, stream: Stream, truth: Truth, watched_from_ms: int) -> None:
        self.counts: Counter[str] = Counter()
        self.examples: list[str] = []
        self._stream = stream
        self._truth = truth
        self._from_ms = stream.timeframe.floor(watched_from_ms)  # open time of the first that is due
        self._position = -1  # open time of the last that was delivered or passed over
        self._said: dict[int, Candle] = {}
        self._passed: set[int] = set()  # open times in gaps
        self._lost: set[int] = set()  # before `_from_ms`, once books were closed
        self._wrong: set[int] = set()  # likewise
        self._closed_ms = -1  # everything that opens earlier is compared and forgotten

    def take(self, event: Event) -> None:
        """Take in the next event of the stream."""
        if isinstance(event, Candle):
            self._on_candle(event)
        elif isinstance(event, Gap):
            self._on_gap(event)
        else:
            self._on_revision(event)

    def close_books(self, before_ms: int) -> None:
        """See `Judge.close_books`. Nothing is closed beyond what was delivered: it may still come in order."""
        before_ms = min(self._stream.timeframe.floor(before_ms), self._position)
        if before_ms > self._from_ms:
            lost, wrong = self._compare(before_ms, before_ms)
            self._lost |= lost
            self._wrong |= {open_ms for open_ms in wrong if open_ms < before_ms}
            self._said = {open_ms: candle for open_ms, candle in self._said.items() if open_ms >= before_ms}
            self._passed = {open_ms for open_ms in self._passed if open_ms >= before_ms}
            self._from_ms = self._closed_ms = before_ms

    def compare(self, horizon_ms: int, now_ms: int, *, as_far_as_delivered: bool) -> tuple[set[int], set[int]]:
        """Return the open times of what is lost and of what is wrong."""
        if as_far_as_delivered:
            horizon_ms = min(horizon_ms, self._position)
        lost, wrong = self._compare(horizon_ms, now_ms)
        return lost | self._lost, wrong | self._wrong

    def example(self, problem: str, open_ms: int) -> str:
        """Return a line that says what is the matter with which candle."""
        moment = datetime.fromtimestamp(open_ms / 1000, UTC)
        return f"{problem}: {self._stream} {moment:%Y-%m-%d %H:%M:%S}"

    def _on_candle(self, candle: Candle) -> None:
        open_ms = candle.open_time_ms
        self.counts["closed_candles"] += 1
        if open_ms in self._said or (open_ms < self._closed_ms and open_ms not in self._lost):
            self._count("duplicated", open_ms)
            return
        if open_ms <= self._position:
            self._count("out_of_order", open_ms)
        if open_ms < self._closed_ms:
            self._compare_closed(candle)
        else:
            self._say(candle)

    def _on_gap(self, gap: Gap) -> None:
        self.counts["gaps"] += 1
        if gap.first_open_ms <= self._position:
            self._count("out_of_order", gap.first_open_ms)
        timeframe = gap.stream.timeframe
        opens = timeframe.opens(gap.first_open_ms, timeframe.next_open(gap.last_open_ms))
        self._passed.update(open_ms for open_ms in opens if open_ms not in self._said)
        self._reach(gap.first_open_ms, gap.last_open_ms)

    def _on_revision(self, revision: Revision) -> None:
        candle = revision.candle
        open_ms = candle.open_time_ms
        self.counts["revisions"] += 1
        if open_ms < self._closed_ms:
            self._compare_closed(candle)
            return
        said = self._said.get(open_ms)
        if said is None and open_ms not in self._passed:
            self._count("out_of_order", open_ms)
        elif said is not None and said.same_values(candle):
            self._count("duplicated", open_ms)
        self._say(candle)

    def _compare_closed(self, candle: Candle) -> None:
        open_ms = candle.open_time_ms
        truth = next(iter(self._truth(self._stream, open_ms, candle.next_open_time_ms)), None)
        self._lost.discard(open_ms)
        self._wrong.discard(open_ms)
        if truth is None or not _same(candle, truth):
            self._wrong.add(open_ms)

    def _say(self, candle: Candle) -> None:
        self._said[candle.open_time_ms] = candle
        self._passed.discard(candle.open_time_ms)
        self._reach(candle.open_time_ms, candle.open_time_ms)

    def _reach(self, first_ms: int, last_ms: int) -> None:
        if first_ms < self._from_ms and self._closed_ms < 0:
            self._from_ms = first_ms
        self._position = max(self._position, last_ms)

    def _compare(self, horizon_ms: int, now_ms: int) -> tuple[set[int], set[int]]:
        """Return what is lost and what is wrong, from where the books were closed on."""
        lost, right = set(), set()
        for row in self._truth(self._stream, self._from_ms, now_ms):
            said = self._said.get(row.open_time_ms)
            if said is not None and _same(said, row):
                right.add(row.open_time_ms)
            elif said is None and row.close_time_ms < horizon_ms:
                lost.add(row.open_time_ms)
        return lost, {open_ms for open_ms in self._said if open_ms not in right}

    def _count(self, problem: str, open_ms: int) -> None:
        self.counts[problem] += 1
        if len(self.examples) < _MAX_EXAMPLES:
            self.examples.append(self.example(problem, open_ms))


def _same(candle: Candle, truth: TruthCandle) -> bool:
    return (
        candle.closed
        and candle.complete
        and candle.close_time_ms == truth.close_time_ms
        and candle.values() == truth.values()
    )
