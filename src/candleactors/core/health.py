"""The health of one connection's streams: quiet is not sick.

Silence alone proves nothing, since markets rest. A silent stream is therefore read over REST, and is *sick* only if
REST shows trades that the socket should have told of: in an interval that opened after the silence began, or new ones
between two readings of the same silence.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from enum import StrEnum

from attrs import define, frozen

from candleactors.model import Candle

_LONGEST_REST_S = 600.0
_MAX_RENEWALS = 2
_LOST_AFTER_S = 120.0  # an answer that never came, because whoever owed it was restarted


class StreamState(StrEnum):
    """What is known about a silent stream."""

    SUSPECT = "suspect"
    """Not yet read, or read once."""
    QUIET = "quiet"
    """REST shows no trades either."""
    SICK = "sick"
    """REST shows trades that the socket kept to itself."""


@frozen
class HealthRules:
    """See `candleactors.settings.HealthSettings`."""

    interval_s: float = 30.0
    sick_share: float = 0.5
    heartbeats: bool = False
    """Whether every stream says at least that it lives: then silence is a sickness, whatever REST shows."""
    readings_per_look: int = 20
    """Most streams read over REST at one look, so that a quiet market does not eat the venue's budget."""


@frozen
class Remedy:
    """What to do now: subscribe `resubscribe` anew; give the connection up where `restart` says why."""

    resubscribe: tuple[str, ...] = ()
    restart: str | None = None


@define
class _Suspect:
    since_s: float
    next_reading_s: float
    state: StreamState = StreamState.SUSPECT
    reading: tuple[int, int] | None = None  # newest interval with trades, and what REST said of it
    readings: int = 0
    answer_due_s: float | None = None  # while a reading is on its way


class ShardHealth:
    """Judges the streams of one connection, named by wire name, for the life of that connection.

    All times are monotonic seconds. Synchronous.
    """

    def __init__(self, rules: HealthRules) -> None:
        self._rules = rules
        self._suspects: dict[str, _Suspect] = {}
        self._renewals: dict[str, int] = {}

    def look(self, silent: Mapping[str, float], now_s: float, *, unheard: Container[str] = ()) -> list[str]:
        """Take in which streams are silent and since when; return those to read over REST now, longest silence first.

        Streams that are in neither `silent` nor `unheard` (not a word since they were last subscribed, and no time yet
        to wonder why) have spoken and are forgotten. What is returned is not returned again before the answer, or
        before it must have been lost.
        """
        self._suspects = {name: suspect for name, suspect in self._suspects.items() if name in silent}
        self._renewals = {name: n for name, n in self._renewals.items() if name in silent or name in unheard}
        for name, since_s in silent.items():
            suspect = self._suspects.get(name)
            if suspect is None or since_s > suspect.since_s:
                self._suspects[name] = _Suspect(since_s, now_s)
        due = [name for name, suspect in self._suspects.items() if suspect.next_reading_s <= now_s]
        due.sort(key=lambda name: self._suspects[name].next_reading_s)
        chosen = due[: self._rules.readings_per_look]
        for name in chosen:
            self._suspects[name].next_reading_s = now_s + _LOST_AFTER_S
            self._suspects[name].answer_due_s = now_s + self._rules.interval_s
        return chosen

    def on_rows(self, name: str, rows: Iterable[Candle], silent_since_venue_ms: int, now_s: float) -> None:
        """Take in the newest rows of a silent stream; `silent_since_venue_ms` is the venue's time of its last word."""
        suspect = self._suspects.get(name)
        if suspect is None:
            return
        traded = [row for row in rows if row.volume > 0]
        reading = (traded[-1].open_time_ms, hash(traded[-1].values())) if traded else None
        told_too_little = reading is not None and reading[0] > silent_since_venue_ms
        moved = suspect.readings > 0 and reading is not None and reading != suspect.reading
        suspect.answer_due_s = None
        suspect.readings += 1
        suspect.reading = reading
        if told_too_little or moved or self._rules.heartbeats:
            suspect.state = StreamState.SICK
            suspect.next_reading_s = now_s + self._rules.interval_s
        elif suspect.readings > 1:
            suspect.state = StreamState.QUIET
            rest_s = self._rules.interval_s * 2 ** min(suspect.readings, 10)
            suspect.next_reading_s = now_s + min(rest_s, _LONGEST_REST_S)
        else:
            suspect.next_reading_s = now_s + self._rules.interval_s

    def on_unread(self, name: str, now_s: float) -> None:
        """Take in that REST did not answer: nothing is known, ask again at the next look."""
        if (suspect := self._suspects.get(name)) is not None:
            suspect.next_reading_s = now_s + self._rules.interval_s
            suspect.answer_due_s = None

    def remedy(self, streams: int, now_s: float) -> Remedy:
        """Return what to do about a connection of `streams` streams, once the readings of the last look are in.

        A sick stream is subscribed anew, twice at most: after that REST goes on delivering its candles. The connection
        goes where every stream is silent and one of them sick, or where the share of sick streams, the silent ones not
        read yet counted in proportion, reaches the limit.
        """
        sick = self.named(StreamState.SICK)
        suspects = self._suspects.values()
        if not sick or any(s.answer_due_s is not None and s.answer_due_s > now_s for s in suspects):
            return Remedy()
        read = sum(suspect.readings > 0 for suspect in suspects)
        share = len(sick) / read * len(suspects) / streams
        if share >= self._rules.sick_share or len(suspects) >= streams:
            return Remedy(restart=f"{len(sick)} of {read} silent streams have trades that the socket did not tell of")
        renew = tuple(name for name in sick if self._renewals.get(name, 0) < _MAX_RENEWALS)
        for name in renew:
            self._renewals[name] = self._renewals.get(name, 0) + 1
            self._suspects[name].state = StreamState.SUSPECT
        return Remedy(resubscribe=renew)

    def named(self, state: StreamState) -> tuple[str, ...]:
        """Return the names of the silent streams in `state`."""
        return tuple(name for name, suspect in self._suspects.items() if suspect.state is state)
