"""A shard as seen from outside: what its connection and its health monitor share, and tell the rest."""

from __future__ import annotations

from typing import Protocol

from attrs import define, field, frozen

from candleactors.actors.mailbox import Mailbox
from candleactors.actors.messages import Reading
from candleactors.actors.traffic import Reason
from candleactors.core.subscriptions import SubscriptionStatus

READINGS_CAPACITY = 64
"""Readings on their way to one monitor: it asks for fewer at a time."""


@frozen
class ConnectionReport:
    """A live connection at one moment. Times are monotonic seconds."""

    connected_at_s: float
    last_message_s: float | None
    messages: int
    bytes: int
    rejected: int
    subscriptions: SubscriptionStatus


@frozen
class HealthReport:
    """What a health monitor thinks of its silent streams, by wire name; one field for each `StreamState`."""

    suspect: tuple[str, ...] = ()
    quiet: tuple[str, ...] = ()
    sick: tuple[str, ...] = ()


class LiveConnection(Protocol):
    """What others may ask of an open connection. Nothing here blocks."""

    @property
    def connected_at_s(self) -> float:
        """Monotonic seconds."""
        ...

    @property
    def settled(self) -> bool:
        """Whether the venue acknowledged everything that is wanted and was not refused."""
        ...

    @property
    def flowing(self) -> bool:
        """Whether all of that has spoken, too."""
        ...

    def report(self) -> ConnectionReport:
        """Return how the connection fares."""
        ...

    def heard(self) -> dict[str, float | None]:
        """Return the wire names of the confirmed streams, with the time of their last word, if there was one."""
        ...

    def silent(self) -> dict[str, float]:
        """Return the wire names of the silent streams, with the time of their last word."""
        ...

    def unheard(self) -> tuple[str, ...]:
        """Return the wire names that have not spoken since they were last subscribed."""
        ...

    def resubscribe(self, names: tuple[str, ...]) -> None:
        """Have streams that are silent on a live socket subscribed anew."""
        ...


@define
class Shard:
    """One connection's place in the pool, across reconnects. Owned by the pool; `id` is never used again."""

    id: int
    generation: int = 0
    """Counts the connections opened for this shard."""
    last_disconnect: str | None = None
    reason: Reason = Reason.START
    """Why its next connection is opened."""
    connection: LiveConnection | None = None
    """``None`` while there is none."""
    health: HealthReport = field(factory=HealthReport)
    readings: Mailbox[Reading] = field(factory=lambda: Mailbox(READINGS_CAPACITY))
