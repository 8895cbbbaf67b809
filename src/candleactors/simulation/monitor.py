"""The monitor: looks at the feed and its venues all the time, for what must not be at any moment."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import trio

from candleactors.feed import Feed
from candleactors.sim import Simulator

LOOK_EVERY_S: Final = 7.3
"""In no step with anything else."""
_MOST_TASKS: Final = 80
_TASKS_PER_SHARD: Final = 30
_EXCUSED: Final = frozenset(
    (
        "told_to_wait",  # what was under way when the venue told us
        "message_rate",  # pongs that nobody could foresee; only in ping storms, see below
    )
)


class Monitor:
    """Complains of what the venues count as a breach of their rules, and of what grows without bound."""

    def __init__(self, simulators: Mapping[str, Simulator], on_breach: Callable[[str, str], None]) -> None:
        self._simulators = simulators
        self._on_breach = on_breach
        self._known: dict[tuple[str, str], int] = {}

    async def watch(self, feed: Feed) -> None:
        """Look on during one life of the feed, until cancelled."""
        while True:
            await trio.sleep(LOOK_EVERY_S)
            self._budgets()
            self._tasks(feed)
            if self._surplus(feed):
                # One socket may be on its way out while the next one opens.
                await trio.sleep(1.0)
                for problem in self._surplus(feed):
                    self._on_breach("connections", problem)

    def _budgets(self) -> None:
        for name, simulator in self._simulators.items():
            storms = simulator.counters.faults.get("ping-storm", 0)
            for rule, count in simulator.counters.violations.items():
                excused = rule in _EXCUSED and (rule != "message_rate" or storms)
                if count > self._known.get((name, rule), 0) and not excused:
                    self._on_breach("budget", f"{name} counts {count} times: {rule}")
                self._known[name, rule] = count

    def _surplus(self, feed: Feed) -> list[str]:
        """Return which venues see more connections than there are shards."""
        found = []
        for status in feed.status().venues:
            live = [each for each in self._simulators[status.venue].connections if each.passes]
            if len(live) > len(status.connections):
                found.append(f"{status.venue} has {len(live)} connections for {len(status.connections)} shards")
        return found

    def _tasks(self, feed: Feed) -> None:
        shards = sum(len(status.connections) for status in feed.status().venues)
        most = _MOST_TASKS + _TASKS_PER_SHARD * shards
        tasks = trio.lowlevel.current_statistics().tasks_living
        if tasks > most:
            self._on_breach("tasks", f"{tasks} tasks live, for {shards} shards; at most {most} are expected")
