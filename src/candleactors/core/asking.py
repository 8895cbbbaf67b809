"""Asking: when a stream may ask REST for rows: one question at a time, and ever less often where that is in vain."""

from __future__ import annotations

from candleactors.core.continuity_rules import ContinuityRules
from candleactors.core.fetch import Fetch, Urgency

_ASK_AGAIN_S = 90.0  # an answer that never came, because its fetcher was restarted
_LONGEST_POLL_S = 300.0


class Asking:
    """The questions of one stream whose intervals last `duration_s`. Synchronous."""

    __slots__ = ("_asked", "_asked_at_s", "_duration_s", "_failures", "_polls", "_rules", "poll_at_s", "retry_at_s")

    def __init__(self, rules: ContinuityRules, duration_s: float, now_s: float) -> None:
        self.poll_at_s = now_s
        """From when on it may be asked again for what no answer had."""
        self.retry_at_s = now_s
        """From when on anything may be asked again, after failures."""
        self._rules = rules
        self._duration_s = duration_s
        self._asked: Fetch | None = None
        self._asked_at_s = 0.0
        self._failures = 0
        self._polls = 0

    @property
    def waits(self) -> bool:
        """Whether an answer is awaited that nothing else is asked before; one that merely compares may take long."""
        return self._asked is not None and self._asked.urgency is not Urgency.VERIFY

    def asked(self, fetch: Fetch, now_s: float) -> None:
        """Take notice that `fetch` is on its way."""
        self._asked, self._asked_at_s = fetch, now_s

    def tick(self, now_s: float) -> None:
        """Await no longer what has not come for so long that nobody is left to answer."""
        if self._asked is not None and now_s >= self._asked_at_s + _ASK_AGAIN_S:
            self._asked = None

    def answered(self, fetch: Fetch) -> None:
        """Take notice of an answer to `fetch`."""
        self._done(fetch)
        self._failures = 0

    def failed(self, fetch: Fetch, now_s: float) -> None:
        """Take notice that `fetch` got no answer; one that merely compares comes again in its time."""
        self._done(fetch)
        if fetch.urgency is Urgency.VERIFY:
            return
        self._failures += 1
        rules = self._rules
        # However often it failed, a hole gets another try or several before its deadline.
        longest_s = min(rules.max_retry_s, rules.deadline_s / 6)
        self.retry_at_s = now_s + min(rules.retry_s * 2 ** min(self._failures - 1, 10), longest_s)

    def news(self, now_s: float) -> None:
        """Let it be asked at once for what is missing, however often there was nothing: there is something now."""
        self._polls, self.poll_at_s = 0, now_s

    def in_vain(self, now_s: float) -> None:
        """Take notice of an answer that brought nothing: soon again at first, then no more often than candles close."""
        self._polls += 1
        rules = self._rules
        longest_s = max(rules.max_retry_s, min(self._duration_s, _LONGEST_POLL_S))
        self.poll_at_s = now_s + min(rules.retry_s * 2 ** min(self._polls, 10), longest_s)

    def _done(self, fetch: Fetch) -> None:
        if self._asked is fetch:
            self._asked = None
