"""Crashes: one actor of a running feed fails, as if it had raised something that nobody foresaw."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from candleactors.actors.incarnation import Incarnation
from candleactors.actors.supervisor import Supervisor
from candleactors.feed import Feed

ACTORS: Final = (
    *("store-writer", "hub", "registry", "aggregator", "sequencer"),
    *("backfill", "pool", "connection", "health"),
)
"""Who can be let crash."""


def crash(feed: Feed, actor: str) -> bool:
    """Let every actor of this name fail now; say whether there was one. Their supervisors restart them.

    Takes hold of what is private to supervisors: a feed has no way to be told to fail.
    """
    found = [incarnation for name, incarnation in _alive(feed.tree) if name == actor]
    for incarnation in found:
        incarnation._scope.cancel()  # without `stopping`, that is a failure of the counted sort
    return bool(found)


def _alive(supervisor: Supervisor) -> Iterator[tuple[str, Incarnation]]:
    if supervisor._table is None:
        return
    for name, incarnation in list(supervisor._table._alive.items()):
        owner = getattr(incarnation.spec.run, "__self__", None)
        if isinstance(owner, Supervisor):
            yield from _alive(owner)
        elif incarnation._has_started and not incarnation.stopping.is_set():
            yield name, incarnation
