"""The judge: holds everything that one reader is given against the candle contract and the truth, as it comes.

It knows nothing of the feed but the events. What cannot be right at any time is a breach at once; what may come right
later is compared once there was peace.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from attrs import define, field

from candleactors.model import HOUR_MS, Candle, Cursor, Event, Gap, Revision, Source, Stream
from candleactors.simulation.truth import MINUTE, Expected, Truth

_FORGIVEN_MS = 3 * HOUR_MS
"""So long after a correction, candles derived from the corrected one may have any of its values: while REST is out of
reach, as after a ban, nobody tells of it."""
_AGAIN_MS = 3 * HOUR_MS
"""What was right may have been revised since, but nothing so old."""
_KEPT_MS = 8 * HOUR_MS
"""What is older and was found right is forgotten: a simulation of months takes no more memory than one of hours."""


@define
class Weather:
    """What excuses a reader's candles, shared by all judges. Times are the venues', UTC milliseconds."""

    stale_until_ms: int = 0
    """Until then REST may have told what was true earlier."""
    lossy_until_ms: dict[str, int] = field(factory=dict)
    """Until then what a venue pushed may have been lost or late, and REST not have shown it yet. Only of venues that do
    not say which candle is closed: it is taken for what was seen of it, and revised."""
    corrected_ms: dict[str, int] = field(factory=dict)
    """When a symbol was last corrected."""
    killed: bool = False
    """Since the last comparison a process died: what it had told and not stored is told again."""


@define
class _Ledger:
    """What was said of one stream."""

    next_ms: int | None = None
    said: dict[int, Candle] = field(factory=dict)
    missing: dict[int, Gap] = field(factory=dict)
    right_until_ms: int = 0
    """What opens before was compared and found right."""
    kept_from_ms: int = 0
    """What opens before was forgotten."""
    forming: Candle | None = None

    def first_ms(self) -> int | None:
        return min((*self.said, *self.missing), default=None)


class Judge:
    """Judges one reader. Synchronous; calls `on_breach` with one line for everything that is wrong."""

    def __init__(
        self,
        truth: Truth,
        now_ms: Callable[[], int],
        weather: Weather,
        on_breach: Callable[[str], None],
        natives: Callable[[Stream], bool],
    ) -> None:
        self.candles = 0
        """Closed candles and revisions checked."""
        self._truth = truth
        self._now_ms = now_ms
        self._weather = weather
        self._on_breach = on_breach
        self._is_native = natives
        self._ledgers: dict[Stream, _Ledger] = {}
        self._resumed = False  # then what comes from the store may have been revised before

    @property
    def streams(self) -> list[Stream]:
        """What something was said of."""
        return list(self._ledgers)

    def take(self, event: Event) -> None:
        """Judge what the reader was given next."""
        if isinstance(event, Candle):
            if event.closed:
                self._close(event)
            else:
                self._form(event)
        elif isinstance(event, Gap):
            self._pass_over(event)
        else:
            self._revise(event)

    def resume(self, cursor: Cursor) -> None:
        """Expect what comes after `cursor`, which a reader takes up again."""
        self._resumed = True
        for ledger in self._ledgers.values():
            ledger.forming = None
            if ledger.first_ms() is None and not ledger.kept_from_ms:
                ledger.next_ms = None  # only forming candles: where such a stream goes on is open
        for stream, last_ms in cursor.after.items():
            expected = self._ledger(stream)
            next_ms = stream.timeframe.next_open(last_ms)
            if expected.next_ms is not None and next_ms != expected.next_ms:
                self._breach(f"the cursor of {stream} stands at {next_ms}, the reader at {expected.next_ms}")
            expected.next_ms = next_ms

    # -- at once ----------------------------------------------------------------------------------------------------

    def _close(self, candle: Candle) -> None:
        stream, open_ms = candle.stream, candle.open_time_ms
        ledger = self._expect(stream, open_ms, "candle")
        if candle.close_time_ms >= self._now_ms():
            self._breach(f"{stream} {open_ms} is told as closed before it is over")
        if candle.revision != 0 and not self._resumed:
            self._breach(f"{stream} {open_ms} comes for the first time as revision {candle.revision}")
        self._check_flags(candle)
        self._check_values(candle)
        ledger.said[open_ms] = candle
        ledger.next_ms = candle.next_open_time_ms
        ledger.forming = None
        self.candles += 1

    def _pass_over(self, gap: Gap) -> None:
        stream = gap.stream
        ledger = self._expect(stream, gap.first_open_ms, "gap")
        ledger.next_ms = stream.timeframe.next_open(gap.last_open_ms)
        ledger.missing.update(dict.fromkeys(stream.timeframe.opens(gap.first_open_ms, ledger.next_ms), gap))
        # What was forming and then got lost takes its volume with it, out of all that are derived from it.
        for other, each in self._ledgers.items():
            if (other.venue, other.symbol) == (stream.venue, stream.symbol):
                each.forming = None

    def _revise(self, revision: Revision) -> None:
        candle = revision.candle
        stream, open_ms = candle.stream, candle.open_time_ms
        ledger = self._ledger(stream)
        if ledger.next_ms is None or open_ms >= ledger.next_ms:
            self._breach(f"the revision of {stream} {open_ms} comes before anything else about it")
        if not candle.closed or candle.revision < 1:
            self._breach(f"the revision of {stream} {open_ms} is closed={candle.closed} number {candle.revision}")
        before, was_missing = ledger.said.get(open_ms), ledger.missing.pop(open_ms, None) is not None
        if before is not None and not self._weather.killed and not self._resumed:
            if candle.revision <= before.revision:
                self._breach(f"{stream} {open_ms} is revision {candle.revision} after {before.revision}")
            if (before.values(), before.missing) == (candle.values(), candle.missing):
                self._breach(f"the revision of {stream} {open_ms} says nothing new")
        if before is None and not was_missing and open_ms >= ledger.kept_from_ms and not self._resumed:
            self._breach(f"the revision of {stream} {open_ms} revises nothing")
        self._check_flags(candle)
        self._check_values(candle)
        if open_ms >= ledger.kept_from_ms:
            ledger.said[open_ms] = candle
        self.candles += 1

    def _form(self, candle: Candle) -> None:
        stream = candle.stream
        ledger = self._expect(stream, candle.open_time_ms, "forming candle")
        before = ledger.forming
        if not self._is_native(stream) and Stream(stream.venue, stream.symbol, MINUTE) not in self._ledgers:
            before = None  # whether a constituent got lost is not told to this reader
        if self._now_ms() < self._weather.lossy_until_ms.get(stream.venue, 0):
            before = None  # what was told as seen is revised
        if before is not None and before.open_time_ms == candle.open_time_ms and before.volume > candle.volume:
            self._breach(f"forming candle of {stream} {candle.open_time_ms} goes back in time")
        ledger.forming = candle

    def _check_flags(self, candle: Candle) -> None:
        stream, is_derived = candle.stream, candle.source is Source.DERIVED
        if candle.complete != (candle.missing == 0) or not (candle.complete or is_derived):
            self._breach(f"{stream} {candle.open_time_ms} lacks {candle.missing}, complete={candle.complete}")
        if is_derived == self._is_native(stream):
            self._breach(f"{stream} {candle.open_time_ms} comes from {candle.source}")
        if candle.close_time_ms != stream.timeframe.close_ms(candle.open_time_ms):
            self._breach(f"{stream} {candle.open_time_ms} closes at {candle.close_time_ms}")

    def _check_values(self, candle: Candle) -> None:
        """Complain of a candle that nothing excuses."""
        if not candle.complete or candle.close_time_ms >= self._now_ms():
            return
        stream, open_ms, now_ms = candle.stream, candle.open_time_ms, self._now_ms()
        is_derived = candle.source is Source.DERIVED
        expected = self._expected(stream, open_ms, 0)
        if expected is not None and candle.values() == expected.values:
            return
        if self._truth.was(stream, open_ms, candle.values()):
            return
        if candle.source is not Source.WS and now_ms < self._weather.stale_until_ms:
            return
        if now_ms < self._weather.lossy_until_ms.get(stream.venue, 0):
            return
        corrected_ms = self._weather.corrected_ms.get(self._truth.symbol(stream), -_FORGIVEN_MS)
        if is_derived and now_ms < corrected_ms + _FORGIVEN_MS:
            return
        real = expected.values if expected else "nothing"
        self._breach(f"{stream} {open_ms} from {candle.source} is told as {_plain(candle.values())}, is {_plain(real)}")

    # -- in peace ---------------------------------------------------------------------------------------------------

    def compare(self, watched: Iterable[Stream], over_ms: int, sources: Mapping[Stream, int]) -> list[str]:
        """Compare what was said with the truth and return what is not right: it may become so yet.

        Of `watched`, all that was over at `over_ms` has to be there. `sources` has, for each of them, from when on the
        feed has what it is made of.
        """
        problems: list[str] = []
        due = dict.fromkeys(watched)
        for stream, ledger in self._ledgers.items():
            found = list(self._wrong(stream, ledger, over_ms if stream in due else 0, sources.get(stream, 0)))
            if not found and ledger.next_ms is not None:
                ledger.right_until_ms = ledger.next_ms
            problems += [f"{stream} {problem}" for problem in found]
        for stream in due:
            since_ms = over_ms - stream.timeframe.nominal_ms
            if stream not in self._ledgers and self._truth.native(stream, since_ms, over_ms):
                problems.append(f"{stream}: nothing was ever told")
        return problems

    def said(self, stream: Stream) -> tuple[dict[int, Candle], set[int]]:
        """Return what is remembered of a stream: candles by open time, and what was passed over."""
        ledger = self._ledger(stream)
        return ledger.said, set(ledger.missing)

    def kept_from_ms(self, stream: Stream) -> int:
        """Return from when on everything said is remembered."""
        ledger = self._ledger(stream)
        return max(ledger.kept_from_ms, ledger.first_ms() or 0)

    def forget(self) -> None:
        """Forget what is long past, in peace, when nobody is still reading what was stored."""
        self._resumed = False
        for stream, ledger in self._ledgers.items():
            before_ms = min(stream.timeframe.floor(self._now_ms() - _KEPT_MS), ledger.right_until_ms)
            ledger.said = {open_ms: each for open_ms, each in ledger.said.items() if open_ms >= before_ms}
            ledger.missing = {open_ms: each for open_ms, each in ledger.missing.items() if open_ms >= before_ms}
            ledger.kept_from_ms = max(before_ms, ledger.kept_from_ms)

    def _wrong(self, stream: Stream, ledger: _Ledger, over_ms: int, since_ms: int) -> Iterator[str]:
        first_ms = ledger.first_ms()
        if first_ms is None or ledger.next_ms is None:
            return
        if over_ms and (due := self._due(stream, ledger.next_ms, over_ms)):
            yield f"{due[0]} and {len(due) - 1} later ones never came"
        again_ms = stream.timeframe.floor(max(0, ledger.right_until_ms - _AGAIN_MS))
        for open_ms in stream.timeframe.opens(max(first_ms, again_ms), ledger.next_ms):
            candle = ledger.said.get(open_ms)
            expected = self._expected(stream, open_ms, since_ms)
            if candle is None:
                if open_ms not in ledger.missing:
                    yield f"{open_ms} was lost"
                elif expected is not None and over_ms:
                    yield f"{open_ms} is still missing, and the venue has it"
            elif candle.missing and not over_ms:
                continue  # nobody watches it any more, so it stays incomplete
            elif expected is None:
                yield f"{open_ms} was told, and the venue has nothing"
            elif (candle.values(), candle.missing) != (expected.values, expected.missing):
                told = f"{_plain(candle.values())} without {candle.missing}"
                real = f"{_plain(expected.values)} without {expected.missing}"
                yield f"{open_ms} from {candle.source}: told is {told}, real is {real}"

    def _due(self, stream: Stream, next_ms: int, over_ms: int) -> list[int]:
        """Return the open times of what had to be told by now, from `next_ms` on."""
        due = [row.open_time_ms for row in self._truth.native(stream, next_ms, over_ms)]
        if due and not self._is_native(stream):
            # Where minutes stop coming, as at a delisting, nobody knows that the last interval is over.
            minutes = self._truth.native(Stream(stream.venue, stream.symbol, MINUTE), due[-1], over_ms)
            if not minutes or minutes[-1].close_time_ms < stream.timeframe.close_ms(due[-1]):
                del due[-1]
        return due

    def _expected(self, stream: Stream, open_ms: int, since_ms: int) -> Expected | None:
        if self._is_native(stream):
            return self._truth.candle(stream, open_ms)
        return self._truth.derived(stream, open_ms, since_ms)

    # -- everywhere -------------------------------------------------------------------------------------------------

    def _ledger(self, stream: Stream) -> _Ledger:
        ledger = self._ledgers.get(stream)
        if ledger is None:
            ledger = self._ledgers[stream] = _Ledger()
        return ledger

    def _expect(self, stream: Stream, open_ms: int, what: str) -> _Ledger:
        ledger = self._ledger(stream)
        if ledger.next_ms is None:
            ledger.next_ms = open_ms
        elif open_ms != ledger.next_ms:
            problem = "is repeated or out of order" if open_ms < ledger.next_ms else "leaves a hole"
            self._breach(f"{what} {stream} {open_ms} {problem}, expected {ledger.next_ms}")
        return ledger

    def _breach(self, text: str) -> None:
        self._on_breach(text)


def _plain(values: object) -> str:
    return " ".join(map(str, values)) if isinstance(values, tuple) else str(values)
