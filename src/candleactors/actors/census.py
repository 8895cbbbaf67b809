"""The census: how often each kind of actor failed and came up again."""

from __future__ import annotations

from collections.abc import Container, Iterable
from typing import NamedTuple

from candleactors.core.failure import FailureClass
from candleactors.core.lifecycle import ChildEnded, ChildFailed, ChildStarted, SupervisorEvent

VENUES = "venues"
"""Name of the supervisor whose children are called as the venues are."""
VENUE = "venue"
SHARD = "shard"
"""What every shard is called, whatever its number: there is no end to numbers."""


class Actor(NamedTuple):
    """A kind of actor; `venue` is empty for those that there is one of in a feed."""

    venue: str
    name: str


class Census:
    """Counts over the whole tree, for the life of the feed, whoever is replaced meanwhile. Synchronous.

    What begins anew because its supervisor does is not counted besides.
    """

    def __init__(self, venues: Container[str]) -> None:
        """`venues` are the names with which the names of their supervisors begin."""
        self._venues = venues
        self.restarts: dict[Actor, int] = {}
        """How often an actor came up again, its own failure or a sibling's being the cause."""
        self.failures: dict[tuple[Actor, FailureClass], int] = {}
        """How often an actor raised, or returned unasked, which is a `FailureClass.COUNTED` one."""

    def expect(self, supervisor: str, children: Iterable[str]) -> None:
        """Take in which children a supervisor has, so that those that never fail are counted too."""
        for child in children:
            actor = self._actor(supervisor, child)
            self.restarts.setdefault(actor, 0)
            for failure in FailureClass:
                self.failures.setdefault((actor, failure), 0)

    def note(self, event: SupervisorEvent) -> None:
        """Take in a fact about a child."""
        match event:
            case ChildStarted(supervisor=supervisor, child=child, incarnation=incarnation) if incarnation > 1:
                self._restarted(self._actor(supervisor, child))
            case ChildFailed(supervisor=supervisor, child=child, failure=failure):
                self._failed(self._actor(supervisor, child), failure)
            case ChildEnded(supervisor=supervisor, child=child, wait_s=wait_s) if wait_s is not None:
                self._failed(self._actor(supervisor, child), FailureClass.COUNTED)
            case _:
                pass

    def _restarted(self, actor: Actor) -> None:
        self.restarts[actor] = self.restarts.get(actor, 0) + 1

    def _failed(self, actor: Actor, failure: FailureClass) -> None:
        self.failures[actor, failure] = self.failures.get((actor, failure), 0) + 1

    def _actor(self, supervisor: str, child: str) -> Actor:
        if supervisor == VENUES:
            return Actor(child, VENUE)
        venue = supervisor.partition("/")[0]
        name = SHARD if child.startswith(f"{SHARD}-") else child
        return Actor(venue if venue in self._venues else "", name)
