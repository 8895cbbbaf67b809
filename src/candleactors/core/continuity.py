"""The candle contract of one stream: once, in order, without holes, corrected when the venue corrects itself.

A `Continuity` is told what arrived and what time it is; it answers with what to deliver and, on `tick`, with what to
fetch over REST. It never waits: a fetch that it asked for comes back through `on_rows` or `on_fetch_failed`.

- Closed candles are delivered in open-time order. One that opens later than the next expected is held until the
  hole before it is filled, found to be the venue's own (a later row exists, this one does not), or past its deadline.
- A closed candle that contradicts one already delivered goes out as a correction once REST has confirmed it, see
  `candleactors.core.delivered`.
- A candle that is overdue is asked for over REST, so a mute socket delays candles but does not lose them.
- Where a venue has no candle for an interval without trades, one is filled in, flat at the last close, as soon as REST
  shows that there is none and something later, on REST or the socket, that the market goes on. What was filled or
  inferred is compared with REST soon after.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal

from attrs import define, frozen

from candleactors.core.answer import Answer
from candleactors.core.asking import Asking
from candleactors.core.comparisons import Comparisons
from candleactors.core.continuity_rules import ContinuityRules
from candleactors.core.delivered import Delivered, Told, Verdict, remembered
from candleactors.core.fetch import Fetch, Urgency
from candleactors.core.filling import flat_candle
from candleactors.core.passed_over import PassedOver
from candleactors.model import Candle, Event, Gap, GapReason, Revision, Source, Stream

_MAX_HELD = 256  # a cache: what is not held is fetched
_BEFORE_GAP = 1_440  # intervals, of which those without trades have no row
_MAX_FILLED = 10_000  # at one answer; a longer stretch without trades is a gap
_LONGEST_SLEEP_S = 60.0


@define
class ContinuityCounters:
    """What happened on a stream since it was opened."""

    delivered: int = 0
    from_rest: int = 0
    duplicates: int = 0
    late: int = 0
    implausible: int = 0
    holes: int = 0
    filled: int = 0
    gaps: int = 0
    revisions: int = 0


@frozen
class Memory:
    """What a `Continuity` knows of what it delivered, for the one that follows the stream after it."""

    candles: Mapping[int, Told]
    """By open time."""
    gaps: tuple[Gap, ...]
    close: Decimal | None = None
    """Of the last interval, where it is known."""
    forming: tuple[int | None, tuple[int, float]] = (None, (0, 0.0))
    """Open time of the forming candle, and when its newest update was sent and how much was traded by then."""


class Continuity:
    """See the module's description. Not safe for use by several tasks; never blocks.

    `resume_after_ms` is the open time of the last closed candle that is already stored, ``None`` if there is none: then
    the last `ContinuityRules.history` candles come first. `gaps` are stored gaps worth another try. `recent` are the
    last stored candles, ascending, `remembered` of them being enough: what the venue corrected meanwhile is found.
    `memory` is of whoever followed the stream before, in the same process: it knows of what has not come to the store.
    """

    __slots__ = (
        "_alive_ms",
        "_asking",
        "_catching_up",
        "_comparisons",
        "_delivered",
        "_doubt_at_s",
        "_gaps",
        "_held",
        "_known_ms",
        "_newest",
        "_progress_s",
        "_rules",
        "_started",
        "counters",
        "expected_ms",
        "next_check_s",
        "stream",
    )

    def __init__(
        self,
        stream: Stream,
        rules: ContinuityRules,
        now_s: float,
        *,
        resume_after_ms: int | None = None,
        gaps: tuple[Gap, ...] = (),
        recent: tuple[Candle, ...] = (),
        memory: Memory | None = None,
    ) -> None:
        self.stream = stream
        self.counters = ContinuityCounters()
        self.expected_ms: int | None = None
        """Open time of the next closed candle to deliver, which is also the forming one while nothing is missing."""
        self.next_check_s = now_s
        """When `tick` has something to do at the earliest."""
        self._rules = rules
        self._started = resume_after_ms is not None
        if resume_after_ms is not None:
            self.expected_ms = stream.timeframe.next_open(resume_after_ms)
        self._held: dict[int, Candle] = {}
        self._known_ms: int | None = None  # something opens here, so everything before it is closed
        self._alive_ms = 0  # when the market was last seen to go on
        self._progress_s = now_s  # when the hole was noticed or last shrank
        self._asking = Asking(rules, stream.timeframe.nominal_ms / 1000, now_s)
        self._newest = (0, 0.0)  # of the updates of the forming candle
        self._delivered = Delivered(stream, recent, None if memory is None else memory.candles)
        self._doubt_at_s = 0.0
        if memory is not None:
            self._delivered.close = memory.close
            if memory.forming[0] == self.expected_ms:
                self._newest = memory.forming[1]
        elif recent and not any(_hides(gap, recent[-1]) for gap in gaps):
            self._delivered.close = recent[-1].close
        self._gaps = PassedOver(stream.timeframe, gaps if memory is None else memory.gaps, now_s)
        # Nothing was compared with REST yet, and a process may live too short for the timer: what changed while nobody
        # looked is looked for early, so that frequent restarts do not put it off for ever.
        known = len(self._delivered) > 0
        self._catching_up = known
        every_s = rules.verify_interval_s or None
        if every_s is not None:
            # Short candles are compared before they are forgotten.
            every_s = min(every_s, 0.8 * remembered(stream.timeframe) * stream.timeframe.nominal_ms / 1000)
        self._comparisons = Comparisons(every_s, now_s, early=known)

    @property
    def repairing(self) -> bool:
        """Whether later candles wait for missing ones, or the stream for its beginning."""
        return self.expected_ms is None or self._known_ms is not None

    @property
    def memory(self) -> Memory:
        """What to give to whoever follows the stream after this."""
        forming = (self.expected_ms, self._newest)
        return Memory(self._delivered.told, self._gaps.gaps(self.stream), self._delivered.close, forming)

    def on_alive(self, at_ms: int) -> None:
        """Take notice that the socket showed at `at_ms`, by the venue's clock, that the market goes on."""
        self._alive_ms = max(self._alive_ms, at_ms)

    def on_open(self, open_ms: int, event_ms: int, now_s: float, horizon_ms: int, traded: float = 0.0) -> bool:
        """Take notice of a forming candle; return whether to deliver it: nothing before it is missing, and it is not
        older than the last one.

        `event_ms`, the venue's clock when it sent the candle, and then `traded` tell old from new where two connections
        carry the stream. `horizon_ms` is the latest instant that the venue's clock can be at: what speaks of a later
        one is wrong.
        """
        expected = self.expected_ms
        if open_ms == expected:
            if self._known_ms is not None or event_ms > horizon_ms or self._newest > (event_ms, traded):
                return False
            self._newest = event_ms, traded
            return True
        if self._implausible(open_ms, open_ms, horizon_ms):
            return False
        if expected is None:
            if self._started:
                self.expected_ms = open_ms
                return True
            self._notice(open_ms, now_s)
            return False
        if open_ms > expected:
            self._notice(open_ms, now_s)
        return False

    def on_closed(self, candle: Candle, now_s: float, horizon_ms: int) -> list[Event]:
        """Return what a closed candle from the socket makes deliverable."""
        open_ms = candle.open_time_ms
        if self._implausible(open_ms, candle.close_time_ms, horizon_ms):
            return []
        if self.expected_ms is None and self._started:
            self.expected_ms = open_ms
        expected = self.expected_ms
        events: list[Event] = []
        if expected is None or open_ms > expected:
            if len(self._held) < _MAX_HELD:
                self._held[open_ms] = candle
            self._notice(open_ms, now_s)
        elif open_ms < expected:
            self._reconsider(candle, now_s, events)
        else:
            self._deliver(candle, events)
            self._flush(now_s, events)
            self._asking.news(now_s)
        if events and self._rules.confirms:
            self._comparisons.inferred(now_s)
        return events

    def on_rows(self, fetch: Fetch, rows: list[Candle], now_s: float, venue_now_ms: int) -> list[Event]:
        """Return what the answer to `fetch` makes deliverable.

        `rows` ascend; those whose interval was over by the venue's clock are marked closed. What they prove is said by
        `candleactors.core.answer`.
        """
        self._asking.answered(fetch)
        if fetch.start_ms is not None and fetch.start_ms <= (self._delivered.first_ms or 0):
            self._catching_up = False
        events: list[Event] = []
        rules = self._rules
        answer = Answer.read(
            fetch, rows, venue_now_ms, settle_s=rules.settle_s, lag_s=rules.replica_lag_s, windowed=rules.windowed
        )
        before = self.expected_ms
        wanted = answer.final if before is not None else self._start(answer)
        if self.expected_ms is not None:
            self._take(answer, wanted, now_s, events)
        if fetch.urgency is Urgency.GAP and fetch.start_ms is not None:
            if rules.fills:
                self._fill_gaps(answer, events)
            self._gaps.looked(fetch.start_ms, rows, now_s)
        if fetch.urgency is Urgency.DOUBT and fetch.start_ms is not None:
            self._doubt_at_s = now_s + rules.max_retry_s
        self._flush(now_s, events)
        progress = self.expected_ms != before
        if progress:
            self._asking.news(now_s)
        elif fetch.urgency <= Urgency.OVERDUE:
            self._asking.in_vain(now_s)
        self._progress_s = now_s if progress else self._progress_s
        self.next_check_s = now_s
        return events

    def on_compared(self, candles: Iterable[Candle]) -> list[Event]:
        """Return the revisions that `candles` are, which REST has shown twice and the store does not have like that.

        Each bears the revision that it is by what is stored; what is remembered here counts for more.
        """
        events: list[Event] = []
        for candle in candles:
            open_ms = candle.open_time_ms
            if self.expected_ms is None or open_ms >= self.expected_ms:
                continue
            passed_over = self._gaps.fill(open_ms)
            if (verdict := self._delivered.compare(candle)) is Verdict.SAME:
                continue
            if verdict is Verdict.FORGOTTEN and not (passed_over and open_ms > (self._delivered.first_ms or 0)):
                self.counters.revisions += 1
                events.append(Revision(candle))
            else:
                self._revise(candle, events)
        return events

    def on_fetch_failed(self, fetch: Fetch, now_s: float) -> None:
        """Take notice that `fetch` got no answer; it is asked again after a growing wait."""
        self._asking.failed(fetch, now_s)
        if fetch.urgency is not Urgency.VERIFY:
            self.next_check_s = now_s
        elif self._rules.confirms:
            self._comparisons.inferred(now_s)

    def tick(self, now_s: float, venue_now_ms: int | None) -> tuple[list[Event], Fetch | None]:
        """Return what became deliverable by the passing of time, and the rows wanted now.

        Call it when `next_check_s` has come and report with `asked` whether the fetch was taken on.
        """
        events: list[Event] = []
        if self._known_ms is not None and now_s >= self._progress_s + self._rules.deadline_s:
            self._give_up(now_s, events)
        self._asking.tick(now_s)
        fetch = None if self._asking.waits else self._wish(now_s, venue_now_ms)
        if fetch is None:
            self.next_check_s = now_s + self._sleep_s(now_s, venue_now_ms)
        return events, fetch

    def asked(self, fetch: Fetch, now_s: float) -> None:
        """Take notice that `fetch` is on its way."""
        self._asking.asked(fetch, now_s)
        self.next_check_s = now_s + 1.0

    # -- what is wanted ---------------------------------------------------------------------------------------------

    def _wish(self, now_s: float, venue_now_ms: int | None) -> Fetch | None:
        rules, timeframe = self._rules, self.stream.timeframe
        expected = self.expected_ms
        if now_s < self._asking.retry_at_s:
            return None
        polling = now_s >= self._asking.poll_at_s
        if expected is None:
            if not polling:
                return None
            rows = 2 if self._started else min(rules.history + 1, rules.max_first_rows)
            return Fetch(self.stream, None, rows, Urgency.START)
        if self._known_ms is not None and polling:
            missing = timeframe.count_between(expected, self._known_ms)
            # A single candle at the boundary is usually just behind the first update of the next one.
            if missing > 1 or now_s >= self._progress_s + min(1.0, rules.close_grace_s):
                return self._next(expected, missing + 2, Urgency.HOLE)
        if venue_now_ms is None:
            return None
        overdue_ms = venue_now_ms - timeframe.next_open(expected)
        if overdue_ms >= rules.close_grace_s * 1000 and polling:
            return self._next(expected, overdue_ms // timeframe.nominal_ms + 3, Urgency.OVERDUE)
        if (doubted_ms := self._delivered.doubted_ms) is not None and now_s >= self._doubt_at_s:
            return self._since(doubted_ms, Urgency.DOUBT)
        if (gap := self._gaps.due(now_s)) is not None:
            # Where what has no row is filled, the price before it is asked for too.
            start_ms = timeframe.advance(gap.first_ms, -_BEFORE_GAP) if rules.fills else gap.first_ms
            return self._from(start_ms, timeframe.count_between(start_ms, gap.until_ms) + 2, Urgency.GAP)
        if now_s >= self._comparisons.due_s:
            self._comparisons.made(now_s)
            if (first_ms := self._delivered.first_ms) is not None:
                return self._since(first_ms, Urgency.VERIFY)
        return None

    def _next(self, expected: int, rows: int, urgency: Urgency) -> Fetch:
        """Return the fetch of what comes next; the first one compares what was stored too, if one answer holds both."""
        first = self._delivered.first_ms
        if self._catching_up and first is not None and self._rules.verify_interval_s:
            more = self.stream.timeframe.count_between(first, expected)
            if rows + more <= self._rules.max_rows:
                return self._from(first, rows + more, urgency)
        return self._from(expected, rows, urgency)

    def _since(self, start_ms: int, urgency: Urgency) -> Fetch:
        return self._from(start_ms, self.stream.timeframe.count_between(start_ms, self._expected()) + 1, urgency)

    def _from(self, start_ms: int, rows: int, urgency: Urgency) -> Fetch:
        return Fetch(self.stream, start_ms, max(1, min(rows, self._rules.max_rows)), urgency)

    def _sleep_s(self, now_s: float, venue_now_ms: int | None) -> float:
        """How long nothing can be wanted, unless something arrives; bounded, since the venue's clock is adjusted."""
        if self._asking.waits or venue_now_ms is None or self.repairing or self.expected_ms is None:
            return 0.5
        due_ms = self.stream.timeframe.next_open(self.expected_ms) - venue_now_ms
        waits = [_LONGEST_SLEEP_S, max(due_ms / 1000 + self._rules.close_grace_s, self._asking.poll_at_s - now_s)]
        waits.append(self._gaps.next_due_s() - now_s)
        waits.append(self._comparisons.due_s - now_s)
        if self._delivered.doubted_ms is not None:
            waits.append(self._doubt_at_s - now_s)
        return max(min(waits), self._asking.retry_at_s - now_s, 0.05)

    # -- what is known ----------------------------------------------------------------------------------------------

    def _expected(self) -> int:
        assert self.expected_ms is not None, "asked for the next candle before the first was known"
        return self.expected_ms

    def _implausible(self, open_ms: int, over_ms: int, horizon_ms: int) -> bool:
        """Whether a message speaks of a time that has not come, or of an interval this stream does not have."""
        timeframe, expected = self.stream.timeframe, self.expected_ms
        astray = (
            expected is not None
            and timeframe.duration_ms is not None
            and open_ms - timeframe.floor(open_ms) != expected - timeframe.floor(expected)
        )
        if astray or over_ms > horizon_ms:
            self.counters.implausible += 1
            return True
        return False

    def _notice(self, open_ms: int, now_s: float) -> None:
        self.on_alive(open_ms)
        if self._known_ms is None:
            self._progress_s = now_s
            self._asking.news(now_s)
            self.counters.holes += self._started
            self.next_check_s = now_s
        if self._known_ms is None or open_ms > self._known_ms:
            self._known_ms = open_ms

    def _start(self, answer: Answer) -> list[Candle]:
        """Find the first candle to deliver in the answer to the very first fetch; return the history to deliver."""
        rows, closed, lagging_ms = answer.rows, answer.final, answer.lagging_ms
        rules, timeframe = self._rules, self.stream.timeframe
        wanted = 0 if self._started else rules.history
        self._started = True
        history = closed[-wanted:] if wanted else []
        if closed and rules.fills:
            # There it is a number of intervals: as many rows of a quiet market may reach back for years.
            history = [row for row in history if timeframe.count_between(row.open_time_ms, lagging_ms) <= wanted]
            if len(history) < len(closed):
                before = closed[len(closed) - len(history) - 1]
                silent = timeframe.count_between(before.next_open_time_ms, lagging_ms)
                self.expected_ms = timeframe.advance(before.next_open_time_ms, max(0, silent - wanted))
                self._delivered.close = before.close
                return history
        if history:
            self.expected_ms = history[0].open_time_ms
        elif closed:
            self.expected_ms = closed[-1].next_open_time_ms
        elif rows:
            self.expected_ms = rows[0].open_time_ms
        elif self._known_ms is not None:
            self.expected_ms = min(self._held, default=self._known_ms)
        return history

    # -- what an answer says ----------------------------------------------------------------------------------------

    def _take(self, answer: Answer, rows: list[Candle], now_s: float, events: list[Event]) -> None:
        """Compare final `rows` of an answer with what was delivered; deliver those that are next, and fill between.

        What is left when one answer has filled much is asked for again.
        """
        first_ms, lagging_ms, received_ms = answer.first_ms, answer.lagging_ms, answer.received_ms
        if first_ms is None:
            return
        covered = answer.covers(self._expected())
        silent_ms = answer.silent_until_ms(self._expected(), fills=self._rules.fills)
        if self._rules.fills and self._delivered.close is None:
            before = answer.row_before(self._expected(), silent_ms)
            self._delivered.close = before.close if before is not None else None
        room = self.counters.filled + _MAX_FILLED
        for row in rows:
            open_ms = row.open_time_ms
            if open_ms < self._expected():
                self._reconsider(row, now_s, events, lagging_ms)
            elif covered:
                if open_ms > self._expected() and (open_ms > lagging_ms or self._fills_too_much(open_ms, room)):
                    return
                self._skip_venue_gap(open_ms, received_ms, now_s, events)
                self._deliver(self._held.pop(open_ms, row), events)
                if events[-1] is not row:
                    self._reconsider(row, now_s, events, lagging_ms)
        last_ms = answer.last_ms
        shown_ms = first_ms if last_ms is None else min(last_ms, lagging_ms)
        shown_ms = shown_ms if silent_ms is None else max(shown_ms, silent_ms)
        self._delivered.dismiss(first_ms, shown_ms, (row.open_time_ms for row in answer.rows))
        if not covered:
            return
        until_ms = silent_ms
        if last_ms is not None and self._expected() <= last_ms:
            until_ms = last_ms if not answer.rows[-1].closed and last_ms <= lagging_ms else None
        elif not self._knows_what_to_fill:
            until_ms = None
        elif self._rules.heartbeats and until_ms is not None:
            # That nothing follows may also mean that the market has ended: only what was over when it lived counts.
            lived = self.stream.timeframe.count_between(self._expected(), self._alive_ms)
            until_ms = min(until_ms, self.stream.timeframe.advance(self._expected(), lived))
        if until_ms is not None and not self._fills_too_much(until_ms, room):
            self._skip_venue_gap(until_ms, received_ms, now_s, events)

    @property
    def _knows_what_to_fill(self) -> bool:
        return not self._rules.fills or self._delivered.close is not None

    def _fills_too_much(self, until_ms: int, room: int) -> bool:
        """Whether filling up to `until_ms` would fill more than `room`, although this answer filled some already."""
        if not self._rules.fills or self.counters.filled == room - _MAX_FILLED:
            return False
        return self.counters.filled + self.stream.timeframe.count_between(self._expected(), until_ms) > room

    # -- what is delivered ------------------------------------------------------------------------------------------

    def _deliver(self, candle: Candle, events: list[Event]) -> None:
        close = self._delivered.close
        if self._rules.fills and candle.source is Source.FILLED and close is not None and candle.close != close:
            # Filled in by a session that had not seen what REST said since of the interval before.
            candle = flat_candle(self.stream, candle.open_time_ms, close, candle.received_ms)
        self.expected_ms = candle.next_open_time_ms
        self._newest = (0, 0.0)
        self._delivered.add(candle)
        self.counters.delivered += 1
        self.counters.from_rest += candle.source == "rest"
        events.append(candle)

    def _flush(self, now_s: float, events: list[Event]) -> None:
        """Deliver held candles that have become next; the hole is closed once nothing known is missing."""
        if self.expected_ms is None:
            return
        while self._held and (candle := self._held.pop(self._expected(), None)) is not None:
            self._deliver(candle, events)
            self._progress_s = now_s
        if self._held:
            self._held = {open_ms: c for open_ms, c in self._held.items() if open_ms > self._expected()}
        if self._known_ms is not None and self._known_ms <= self._expected():
            self._known_ms = None

    def _skip_venue_gap(self, until_ms: int, received_ms: int, now_s: float, events: list[Event]) -> None:
        """Pass over what the venue does not have before `until_ms`, delivering what was held from the socket.

        `received_ms` is when the answer came that proves it.
        """
        while (first := self._expected()) < until_ms:
            if (held := self._held.pop(first, None)) is not None:
                self._deliver(held, events)
                continue
            until = min([open_ms for open_ms in self._held if first < open_ms < until_ms], default=until_ms)
            few = self.stream.timeframe.count_between(first, until) <= _MAX_FILLED
            if self._rules.fills and few and (close := self._delivered.close) is not None:
                self._fill(until, close, received_ms, events)
            else:
                self._gap(until, GapReason.VENUE, now_s, events)

    def _fill(self, until_ms: int, close: Decimal, received_ms: int, events: list[Event]) -> None:
        """Deliver flat candles for intervals without trades."""
        stream = self.stream
        for open_ms in stream.timeframe.opens(self._expected(), until_ms):
            self.counters.filled += 1
            self._deliver(flat_candle(stream, open_ms, close, received_ms), events)

    def _fill_gaps(self, answer: Answer, events: list[Event]) -> None:
        """Fill in gaps what `answer` shows to have had no trades."""
        rows, timeframe = answer.rows, self.stream.timeframe
        ends = [min(row.open_time_ms, answer.lagging_ms) for row in rows[1:]]
        if rows and len(rows) < answer.fetch.limit:
            lived_ms = min(answer.lagging_ms, self._alive_ms) if self._rules.heartbeats else answer.lagging_ms
            first_ms = rows[-1].next_open_time_ms
            ends.append(timeframe.advance(first_ms, timeframe.count_between(first_ms, lived_ms)))
        for before, until_ms in zip(rows, ends, strict=False):
            for open_ms in self._gaps.opens(before.next_open_time_ms, until_ms)[:_MAX_FILLED]:
                self._gaps.fill(open_ms)
                self.counters.filled += 1
                self._revise(flat_candle(self.stream, open_ms, before.close, answer.received_ms), events)

    def _give_up(self, now_s: float, events: list[Event]) -> None:
        """Stop waiting for what is missing: the rest goes on, and what is repaired later arrives as revisions."""
        until = min(self._held, default=self._known_ms)
        assert until is not None, "gave up waiting for nothing"
        if self.expected_ms is not None and self.expected_ms < until:
            self._gap(until, GapReason.UNREPAIRED, now_s, events)
        self._started = True
        self.expected_ms = until
        self._progress_s = now_s
        self._flush(now_s, events)

    def _gap(self, until_ms: int, reason: GapReason, now_s: float, events: list[Event]) -> None:
        first = self._expected()
        self.counters.gaps += 1
        if reason is GapReason.UNREPAIRED:
            self._delivered.lose_track()
        self._gaps.add(first, until_ms, now_s)
        self.expected_ms = until_ms
        events.append(Gap(self.stream, first, self.stream.timeframe.previous_open(until_ms), reason))

    def _reconsider(self, candle: Candle, now_s: float, events: list[Event], lagging_ms: int | None = None) -> None:
        """Compare a closed candle with what was delivered for its interval.

        `lagging_ms` is given for a row from REST: what is not older may still be an outdated copy.
        """
        from_rest = lagging_ms is not None
        if self._gaps.fill(candle.open_time_ms):
            self._revise(candle, events)
            return
        verdict = self._delivered.compare(candle, lagging_ms)
        if verdict is Verdict.FORGOTTEN:
            self.counters.late += not from_rest
        elif verdict is Verdict.SAME:
            self.counters.duplicates += not from_rest
        elif verdict is Verdict.REFUTED:
            self._revise(candle, events)
        elif verdict is Verdict.DOUBT:
            self._doubt_at_s = now_s + self._rules.confirm_s
            self.next_check_s = min(self.next_check_s, self._doubt_at_s)

    def _revise(self, candle: Candle, events: list[Event]) -> None:
        for correction in self._delivered.correct(candle):
            self.counters.revisions += 1
            events.append(Revision(correction))


def _hides(gap: Gap, last: Candle) -> bool:
    """Whether `gap` lies behind the `last` stored candle and may hide trades."""
    return gap.reason is GapReason.UNREPAIRED and gap.last_open_ms > last.open_time_ms
