"""The candle contract of one stream: once, in order, without holes, corrected when the venue corrects itself.

A `Continuity` is told what arrived and what time it is; it answers with what to deliver and, on `tick`, with what to
fetch over REST. It never waits: a fetch that it asked for comes back through `on_rows` or `on_fetch_failed`.

- Closed candles are delivered in open-time order. One that opens later than the next expected is held until the
  hole before it is filled, found to be the venue's own (a later row exists, this one does not), or past its deadline.
- A closed candle that contradicts one already delivered is not believed on sight, since messages are re-sent and
  REST replicas lag: it becomes a *doubt*, and the correction goes out once REST has confirmed it.
- A candle that is overdue is asked for over REST, so a mute socket delays candles but does not lose them.
- Where a venue has no candle for an interval without trades, one is filled in, flat at the last close, as soon as a
  later row, or the time that has passed, proves that there is none. What was filled or inferred is compared with REST
  soon after.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from decimal import Decimal

from attrs import define, frozen

from candleactors.core.fetch import Fetch, Urgency
from candleactors.core.filling import flat_candle
from candleactors.core.passed_over import PassedOver
from candleactors.model import HOUR_MS, Candle, Event, Gap, GapReason, Revision, Stream, Timeframe

_MAX_HELD = 256  # a cache: what is not held is fetched
_ASK_AGAIN_S = 90.0  # an answer that never came, because its fetcher was restarted
_REMEMBERED_MS = HOUR_MS
_MIN_REMEMBERED = 4
_MAX_REMEMBERED = 180
_FIRST_VERIFY_S = 60.0
_CONFIRM_S = 15.0
_CONFIRM_EVERY_S = 120.0
_MAX_FILLED = 10_000
_LONGEST_SLEEP_S = 60.0


@frozen
class ContinuityRules:
    """The settings of a `Continuity`; see `candleactors.settings` for their meaning."""

    history: int = 200
    close_grace_s: float = 3.0
    deadline_s: float = 30.0
    retry_s: float = 1.0
    max_retry_s: float = 30.0
    confirm_s: float = 5.0
    settle_s: float = 1.0
    """A row is final once its interval has been over for so long: until then replicas may still lack trades."""
    replica_lag_s: float = 10.0
    """Absence, or another content, of a row means something once its interval has been over for so long."""
    verify_interval_s: float | None = 600.0
    max_rows: int = 1_000
    windowed: bool = False
    """Whether an answer covers only so many intervals from its start on as rows were asked for."""
    fills: bool = False
    """Whether intervals without a row had no trades, and are filled."""
    confirms: bool = False
    """Whether closed candles from the socket were inferred, and are confirmed over REST."""


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

    candles: Mapping[int, tuple[int, int]]
    """Fingerprints and revisions, by open time."""
    gaps: tuple[Gap, ...]
    close: Decimal | None = None
    """Of the last candle."""


class Continuity:
    """See the module's description. Not safe for use by several tasks; never blocks.

    `resume_after_ms` is the open time of the last closed candle that is already stored, ``None`` if there is none: then
    the last `ContinuityRules.history` candles come first. `gaps` are stored gaps worth another try. `recent` are the
    last stored candles, ascending, `remembered` of them being enough: what the venue corrected meanwhile is found.
    `memory` is of whoever followed the stream before, in the same process: it knows of what has not come to the store.
    """

    __slots__ = (
        "_asked",
        "_asked_at_s",
        "_catching_up",
        "_close",
        "_compared_s",
        "_doubt_at_s",
        "_doubts",
        "_failures",
        "_gaps",
        "_held",
        "_known_ms",
        "_newest",
        "_poll_at_s",
        "_polls",
        "_progress_s",
        "_remember",
        "_remembered",
        "_retry_at_s",
        "_rules",
        "_started",
        "_verify_at_s",
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
        self._progress_s = now_s  # when the hole was noticed or last shrank
        self._asked: Fetch | None = None
        self._asked_at_s = 0.0
        self._retry_at_s = now_s
        self._failures = 0
        self._newest = (0, 0.0)  # of the updates of the forming candle
        self._poll_at_s = now_s
        self._polls = 0
        self._doubts: dict[int, int] = {}  # open time: fingerprint that contradicts what was delivered
        self._remember = remembered(stream.timeframe)
        known = {candle.open_time_ms: (_fingerprint(candle), candle.revision) for candle in recent}
        if memory is not None:
            known |= memory.candles
        # Open time: fingerprint and revision of what was delivered.
        self._remembered: dict[int, tuple[int, int]] = dict(sorted(known.items())[-self._remember :])
        self._doubt_at_s = 0.0
        self._close = recent[-1].close if recent else None
        if memory is not None and memory.close is not None:
            self._close = memory.close
        self._gaps = PassedOver(stream.timeframe, gaps if memory is None else memory.gaps, now_s)
        self._catching_up = bool(
            known
        )  # nothing was compared with REST yet: a process may live too short for the timer
        self._compared_s = -math.inf
        self._verify_at_s: float | None = None
        if rules.verify_interval_s is not None:
            # What changed while nobody looked is looked for early: frequent restarts must not put it off for ever.
            first_s = _FIRST_VERIFY_S if known else float("inf")
            self._verify_at_s = now_s + min(self._verify_every_s(rules.verify_interval_s), first_s)

    @property
    def repairing(self) -> bool:
        """Whether later candles wait for missing ones, or the stream for its beginning."""
        return self.expected_ms is None or self._known_ms is not None

    @property
    def memory(self) -> Memory:
        """What to give to whoever follows the stream after this."""
        return Memory(dict(self._remembered), self._gaps.gaps(self.stream), self._close)

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
        if events and self._rules.confirms:
            self._confirm_soon(now_s)
        return events

    def on_rows(self, fetch: Fetch, rows: list[Candle], now_s: float, venue_now_ms: int) -> list[Event]:
        """Return what the answer to `fetch` makes deliverable.

        `rows` ascend; those whose interval was over by the venue's clock are marked closed. An answer holds every row
        the venue has from its start on, up to the limit, without a start from its first row on: what it skips, the
        venue does not have. The last row of a replica that lags may be unfinished although its time is over, so a row
        is final once another follows it, or its interval has been over for long.
        """
        self._answered(fetch)
        self._failures = 0
        if fetch.start_ms is not None and fetch.start_ms <= min(self._remembered, default=0):
            self._catching_up = False
        events: list[Event] = []
        final_ms = venue_now_ms - round(self._rules.settle_s * 1000)
        lagging_ms = venue_now_ms - round(self._rules.replica_lag_s * 1000)
        closed = [row for row in rows if row.closed and row.close_time_ms < final_ms]
        if closed and closed[-1] is rows[-1] and closed[-1].close_time_ms >= lagging_ms:
            closed.pop()
        before = self.expected_ms
        if before is None:
            closed = self._start(rows, closed)
        expected = self.expected_ms
        first_ms = fetch.start_ms if fetch.start_ms is not None else rows[0].open_time_ms if rows else None
        covered = expected is not None and first_ms is not None and first_ms <= expected
        for row in closed:
            open_ms = row.open_time_ms
            if open_ms < self._expected():
                self._reconsider(row, now_s, events, lagging_ms)
            elif covered:
                if open_ms > self._expected() and open_ms > lagging_ms:
                    break
                self._skip_venue_gap(open_ms, row.received_ms, now_s, events)
                self._deliver(self._held.pop(open_ms, row), events)
                if events[-1] is not row:
                    self._reconsider(row, now_s, events, lagging_ms)
        if covered and rows and not rows[-1].closed and self._expected() < rows[-1].open_time_ms <= lagging_ms:
            self._skip_venue_gap(rows[-1].open_time_ms, rows[-1].received_ms, now_s, events)
        if covered:
            self._skip_tail(fetch, rows, lagging_ms, venue_now_ms, now_s, events)
        if fetch.urgency is Urgency.GAP and fetch.start_ms is not None:
            self._gaps.looked(fetch.start_ms, rows, now_s)
        if fetch.urgency is Urgency.DOUBT:
            self._doubt_at_s = now_s + self._rules.max_retry_s
        self._flush(now_s, events)
        progress = self.expected_ms != before
        self._polls = 0 if progress else self._polls + 1
        if fetch.urgency <= Urgency.OVERDUE or progress:
            self._poll_at_s = now_s if progress else now_s + self._poll_s()
        self._progress_s = now_s if progress else self._progress_s
        self.next_check_s = now_s
        return events

    def on_fetch_failed(self, fetch: Fetch, now_s: float) -> None:
        """Take notice that `fetch` got no answer; it is asked again after a growing wait."""
        self._answered(fetch)
        self._failures += 1
        rules = self._rules
        # However often it failed, a hole gets another try or several before its deadline.
        longest_s = min(rules.max_retry_s, rules.deadline_s / 6)
        self._retry_at_s = now_s + min(rules.retry_s * 2 ** min(self._failures - 1, 10), longest_s)
        self.next_check_s = now_s

    def tick(self, now_s: float, venue_now_ms: int | None) -> tuple[list[Event], Fetch | None]:
        """Return what became deliverable by the passing of time, and the rows wanted now.

        Call it when `next_check_s` has come and report with `asked` whether the fetch was taken on.
        """
        events: list[Event] = []
        if self._known_ms is not None and now_s >= self._progress_s + self._rules.deadline_s:
            self._give_up(now_s, events)
        if self._asked is not None and now_s >= self._asked_at_s + _ASK_AGAIN_S:
            self._asked = None
        fetch = None if self._waiting else self._wish(now_s, venue_now_ms)
        if fetch is None:
            self.next_check_s = now_s + self._sleep_s(now_s, venue_now_ms)
        return events, fetch

    def asked(self, fetch: Fetch, now_s: float) -> None:
        """Take notice that `fetch` is on its way."""
        self._asked = fetch
        self._asked_at_s = now_s
        self.next_check_s = now_s + 1.0

    # -- what is wanted ---------------------------------------------------------------------------------------------

    def _wish(self, now_s: float, venue_now_ms: int | None) -> Fetch | None:
        rules, timeframe = self._rules, self.stream.timeframe
        expected = self.expected_ms
        if now_s < self._retry_at_s:
            return None
        polling = now_s >= self._poll_at_s
        if expected is None:
            if not polling:
                return None
            rows = 2 if self._started else min(rules.history + 1, rules.max_rows)
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
        if self._doubts and now_s >= self._doubt_at_s:
            return self._since(min(self._doubts), Urgency.DOUBT)
        if (gap := self._gaps.due(now_s)) is not None:
            return self._from(gap.first_ms, timeframe.count_between(gap.first_ms, gap.until_ms) + 2, Urgency.GAP)
        if self._verify_at_s is not None and now_s >= self._verify_at_s and self._rules.verify_interval_s:
            self._verify_at_s = now_s + self._verify_every_s(self._rules.verify_interval_s)
            self._compared_s = now_s
            if self._remembered:
                return self._since(min(self._remembered), Urgency.VERIFY)
        return None

    def _next(self, expected: int, rows: int, urgency: Urgency) -> Fetch:
        """Return the fetch of what comes next; the first one compares what was stored too, if one answer holds both."""
        if self._catching_up and self._rules.verify_interval_s is not None:
            first = min(self._remembered)
            more = self.stream.timeframe.count_between(first, expected)
            if rows + more <= self._rules.max_rows:
                return self._from(first, rows + more, urgency)
        return self._from(expected, rows, urgency)

    def _confirm_soon(self, now_s: float) -> None:
        """Compare with REST before long, several candles at once, since each comparison is a request."""
        if self._verify_at_s is not None:
            soon_s = max(now_s + _CONFIRM_S, self._compared_s + _CONFIRM_EVERY_S)
            self._verify_at_s = min(self._verify_at_s, soon_s)

    def _since(self, start_ms: int, urgency: Urgency) -> Fetch:
        return self._from(start_ms, self.stream.timeframe.count_between(start_ms, self._expected()) + 1, urgency)

    def _from(self, start_ms: int, rows: int, urgency: Urgency) -> Fetch:
        return Fetch(self.stream, start_ms, max(1, min(rows, self._rules.max_rows)), urgency)

    def _poll_s(self) -> float:
        """The wait after an answer that brought nothing new: short at first, then no more often than candles close."""
        rules = self._rules
        duration_s = self.stream.timeframe.nominal_ms / 1000
        return float(min(rules.retry_s * 2 ** min(self._polls, 10), max(rules.max_retry_s, min(duration_s, 300.0))))

    def _sleep_s(self, now_s: float, venue_now_ms: int | None) -> float:
        """How long nothing can be wanted, unless something arrives; bounded, since the venue's clock is adjusted."""
        if self._waiting or venue_now_ms is None or self.repairing or self.expected_ms is None:
            return 0.5
        due_ms = self.stream.timeframe.next_open(self.expected_ms) - venue_now_ms
        waits = [_LONGEST_SLEEP_S, max(due_ms / 1000 + self._rules.close_grace_s, self._poll_at_s - now_s)]
        waits.append(self._gaps.next_due_s() - now_s)
        if self._doubts:
            waits.append(self._doubt_at_s - now_s)
        if self._verify_at_s is not None:
            waits.append(self._verify_at_s - now_s)
        return max(min(waits), self._retry_at_s - now_s, 0.05)

    def _verify_every_s(self, interval_s: float) -> float:
        """The wait between two comparisons: short candles are compared before they are forgotten."""
        return min(interval_s, 0.8 * self._remember * self.stream.timeframe.nominal_ms / 1000)

    @property
    def _waiting(self) -> bool:
        """Whether an answer is awaited that nothing else is asked before; one that merely compares may take long."""
        return self._asked is not None and self._asked.urgency is not Urgency.VERIFY

    def _answered(self, fetch: Fetch) -> None:
        if self._asked is fetch:
            self._asked = None

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
        if self._known_ms is None:
            self._progress_s = now_s
            self.counters.holes += self._started
            self.next_check_s = now_s
        if self._known_ms is None or open_ms > self._known_ms:
            self._known_ms = open_ms

    def _start(self, rows: list[Candle], closed: list[Candle]) -> list[Candle]:
        """Find the first candle to deliver in the answer to the very first fetch; return the history to deliver."""
        history = closed[-self._rules.history :] if self._rules.history and not self._started else []
        self._started = True
        if history:
            self.expected_ms = history[0].open_time_ms
        elif closed:
            self.expected_ms = closed[-1].next_open_time_ms
        elif rows:
            self.expected_ms = rows[0].open_time_ms
        elif self._known_ms is not None:
            self.expected_ms = min(self._held, default=self._known_ms)
        return history

    # -- what is delivered ------------------------------------------------------------------------------------------

    def _deliver(self, candle: Candle, events: list[Event]) -> None:
        open_ms = candle.open_time_ms
        self.expected_ms = candle.next_open_time_ms
        self._close = candle.close
        self._newest = (0, 0.0)
        self._note(open_ms, _fingerprint(candle), candle.revision)
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
            if self._rules.fills and few and self._close is not None:
                self._fill(until, self._close, received_ms, events)
            else:
                self._gap(until, GapReason.VENUE, now_s, events)

    def _skip_tail(
        self, fetch: Fetch, rows: list[Candle], lagging_ms: int, venue_now_ms: int, now_s: float, events: list[Event]
    ) -> None:
        """Pass over what an answer that covers it lacks behind its last row, where that proves that it does not exist.

        It does where the venue leaves out what had no trades, and where the answer covers a stretch that has long
        passed: asking for the same again would bring nothing, for ever.
        """
        rules, timeframe = self._rules, self.stream.timeframe
        expected = self._expected()
        if (rows and rows[-1].open_time_ms >= expected) or len(rows) >= fetch.limit:
            return
        if rules.fills and self._close is not None:
            until = expected
            while timeframe.close_ms(until) < lagging_ms:
                until = timeframe.next_open(until)
            self._skip_venue_gap(until, rows[-1].received_ms if rows else venue_now_ms, now_s, events)
        elif rules.windowed and fetch.start_ms is not None:
            until = timeframe.advance(fetch.start_ms, fetch.limit)
            if expected < until <= lagging_ms:
                self._skip_venue_gap(until, venue_now_ms, now_s, events)

    def _fill(self, until_ms: int, close: Decimal, received_ms: int, events: list[Event]) -> None:
        """Deliver flat candles for intervals without trades."""
        stream = self.stream
        for open_ms in stream.timeframe.opens(self._expected(), until_ms):
            self.counters.filled += 1
            self._deliver(flat_candle(stream, open_ms, close, received_ms), events)

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
        self._gaps.add(first, until_ms, now_s)
        self.expected_ms = until_ms
        events.append(Gap(self.stream, first, self.stream.timeframe.previous_open(until_ms), reason))

    def _reconsider(self, candle: Candle, now_s: float, events: list[Event], lagging_ms: int | None = None) -> None:
        """Compare a closed candle with what was delivered for its interval.

        `lagging_ms` is given for a row from REST: what is not older may still be an outdated copy.
        """
        open_ms = candle.open_time_ms
        from_rest = lagging_ms is not None
        if self._gaps.fill(open_ms):
            self._revise(candle.replace(revision=1), events)
            return
        remembered = self._remembered.get(open_ms)
        if remembered is None:
            self.counters.late += not from_rest
            return
        fingerprint, revision = remembered
        said = _fingerprint(candle)
        if said == fingerprint:
            self.counters.duplicates += not from_rest
            if from_rest:
                self._doubts.pop(open_ms, None)
        elif from_rest and self._doubts.get(open_ms) == said:
            del self._doubts[open_ms]
            self._revise(candle.replace(revision=revision + 1), events)
        elif lagging_ms is None or open_ms in self._doubts or candle.close_time_ms < lagging_ms:
            self._doubts[open_ms] = said
            self._doubt_at_s = now_s + self._rules.confirm_s
            self.next_check_s = min(self.next_check_s, self._doubt_at_s)

    def _revise(self, candle: Candle, events: list[Event]) -> None:
        self._note(candle.open_time_ms, _fingerprint(candle), candle.revision)
        self.counters.revisions += 1
        events.append(Revision(candle))

    def _note(self, open_ms: int, fingerprint: int, revision: int) -> None:
        remembered, doubts = self._remembered, self._doubts
        remembered[open_ms] = (fingerprint, revision)
        while len(remembered) > self._remember + len(doubts):
            # What is in doubt is kept, for REST to confirm.
            del remembered[next(known_ms for known_ms in remembered if known_ms not in doubts)]
        if len(remembered) > 2 * self._remember:
            forgotten = next(iter(remembered))
            del remembered[forgotten]
            doubts.pop(forgotten, None)


def remembered(timeframe: Timeframe) -> int:
    """Return how many of the last candles are compared with what the venue says of them later."""
    return min(max(_MIN_REMEMBERED, _REMEMBERED_MS // timeframe.nominal_ms), _MAX_REMEMBERED)


def _fingerprint(candle: Candle) -> int:
    """A number that differs, in practice, whenever two candles say different things about the market."""
    return hash(candle.values())
