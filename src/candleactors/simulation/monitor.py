"""The monitor: looks at the feed and its venues all the time, for what must not be at any moment."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Final

import trio

from candleactors.feed import Feed
from candleactors.sim import Simulator

LOOK_EVERY_S: Final = 7.3
"""In no step with anything else."""
AUDITED_S: Final = 360.0
"""What an unanswered SUBSCRIBE left behind is found by the audit, every five minutes."""
_LOOKS: Final = 4
_FIRST_ANSWERS_S: Final = 60.0
_MOST_TASKS: Final = 80
_TASKS_PER_SHARD: Final = 30
_TASKS_PER_CONNECTION: Final = 12
"""On the venue's side, where one that is half-open goes on for minutes."""
_EXCUSED: Final = frozenset(
    (
        "told_to_wait",  # what was under way when the venue told us
        "pong_timeout",  # of a connection that is half-open, or while nothing of us runs
    )
)


class Monitor:
    """Complains of what the venues count as a breach of their rules, and of what grows without bound."""

    def __init__(self, simulators: Mapping[str, Simulator], on_breach: Callable[[str, str], None]) -> None:
        self._simulators = simulators
        self._on_breach = on_breach
        self._known: dict[tuple[str, str], int] = {}
        self._unknown_since_s: dict[str, float] = {}
        self._lives = 0
        self._born_s = 0.0
        self._stalled_s = -math.inf

    async def watch(self, feed: Feed) -> None:
        """Look on during one life of the feed, until cancelled."""
        self._unknown_since_s = {}
        self._lives += 1
        self._born_s = trio.current_time()
        while True:
            await trio.sleep(LOOK_EVERY_S)
            self._budgets()
            self._tasks(feed)
            looks = 1
            while looks < _LOOKS and (self._surplus(feed) or self._mistaken(feed)):
                # One socket may be on its way out while the next one opens. In a stall nothing moves at all.
                await trio.sleep(1.0)
                looks += 1
            if looks == _LOOKS:
                for problem in self._surplus(feed):
                    self._on_breach("connections", problem)
                for problem in self._mistaken(feed):
                    self._on_breach("subscriptions", problem)

    def stalled(self) -> None:
        """Take notice that nothing ran for a while, neither the feed nor a venue."""
        self._stalled_s = trio.current_time()

    def _budgets(self) -> None:
        for name, simulator in self._simulators.items():
            for rule, count in simulator.counters.violations.items():
                if count > self._known.get((name, rule), 0) and not self._excused(simulator, rule):
                    self._on_breach("budget", f"{name} counts {count} times: {rule}")
                self._known[name, rule] = count

    def _excused(self, simulator: Simulator, rule: str) -> bool:
        if rule == "message_rate":
            return simulator.counters.faults.get("ping-storm", 0) > 0
        if rule == "idle":  # the venue's time ran on, and we could not speak
            return trio.current_time() <= self._stalled_s + 2 * LOOK_EVERY_S
        if rule in ("connect_rate", "weight", "rest_rate", "request_rate"):
            # A new process does not know what the one before had spent, until the venue says so.
            window_s = simulator.rules.connects_window_s if rule == "connect_rate" else _FIRST_ANSWERS_S
            return self._lives > 1 and trio.current_time() <= self._born_s + window_s + LOOK_EVERY_S
        return rule in _EXCUSED

    def _surplus(self, feed: Feed) -> list[str]:
        """Return which venues see more connections than there are shards."""
        found = []
        for status in feed.status().venues:
            live = [each for each in self._simulators[status.venue].connections if each.passes]
            if len(live) > len(status.connections):
                found.append(f"{status.venue} has {len(live)} connections for {len(status.connections)} shards")
        return found

    def _mistaken(self, feed: Feed) -> list[str]:
        """Return which venues carry fewer streams than the feed believes, or more than it knows of, and for long."""
        found = []
        for status in feed.status().venues:
            books = [each.subscriptions for each in status.connections if each.subscriptions is not None]
            confirmed = sum(book.confirmed for book in books)
            known = confirmed + sum(book.joining + book.leaving + book.refused for book in books)
            connections = self._simulators[status.venue].connections
            most = sum(len(each.names) for each in connections)
            least = sum(len(each.names) for each in connections if each.passes)
            if confirmed > most:
                found.append(f"{status.venue} carries {most} streams, the feed takes {confirmed} for confirmed")
            if least <= known:
                self._unknown_since_s.pop(status.venue, None)
            elif trio.current_time() >= self._unknown_since_s.setdefault(status.venue, trio.current_time()) + AUDITED_S:
                found.append(f"{status.venue} carries {least} streams, the feed knows of {known}")
        return found

    def _tasks(self, feed: Feed) -> None:
        shards = sum(len(status.connections) for status in feed.status().venues)
        connections = sum(simulator.counters.live for simulator in self._simulators.values())
        most = _MOST_TASKS + _TASKS_PER_SHARD * shards + _TASKS_PER_CONNECTION * connections
        tasks = trio.lowlevel.current_statistics().tasks_living
        if tasks > most:
            self._on_breach("tasks", f"{tasks} tasks live, for {shards} shards; at most {most} are expected")
