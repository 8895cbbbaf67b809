"""What a simulator counts about itself and about the manners of its clients, and tells whoever observes it."""

from __future__ import annotations

from collections.abc import Callable

from attrs import asdict, define, field, fields

Observer = Callable[[str, str], None]
"""Takes the kind of what happened and a line about it. Must neither block nor raise."""


@define
class Counters:
    """Totals since the simulator was made. `violations` and `faults` count by kind.

    Everything that is counted here is told to `observe` as well, except pushes.
    """

    connections: int = 0
    """WebSocket connections opened."""
    live: int = 0
    """WebSocket connections open now."""
    refused: int = 0
    """Connection attempts that got no WebSocket: refused, rejected, broken off, or left hanging."""
    requests: int = 0
    """REST requests."""
    pushed: int = 0
    """Messages pushed, once per connection."""
    closes_pushed: int = 0
    """Closing kline messages among them."""
    slow_clients: int = 0
    """Clients dropped because they did not read."""
    violations: dict[str, int] = field(factory=dict)
    """Rules that clients broke: `message_rate`, `connect_rate`, `streams`, `pong_timeout`, `idle`, `told_to_wait`.

    Dialects count their own besides, such as `weight`.
    """
    faults: dict[str, int] = field(factory=dict)
    """Faults that took effect, by kind."""
    observe: Observer | None = field(default=None, kw_only=True, repr=False, eq=False)

    def accept(self, number: int, names: int) -> None:
        """Count connection `number`, which came with so many stream names in its URL."""
        self.connections += 1
        self.live += 1
        self.tell("accepted", f"connection {number}", "names", names)

    def end(self, number: int, how: str) -> None:
        """Count the end of a live connection."""
        self.live -= 1
        self.tell("ended", f"connection {number}", how)

    def refuse(self, why: object) -> None:
        """Count a connection attempt that got no WebSocket."""
        self.refused += 1
        self.tell("refused", why)

    def request(self, target: str, outcome: object) -> None:
        """Count a REST request; `outcome` is the status it gets."""
        self.requests += 1
        self.tell("rest", target, outcome)

    def violation(self, kind: str, whose: str = "") -> None:
        """Count a rule that a client broke."""
        self.violations[kind] = self.violations.get(kind, 0) + 1
        self.tell("violation", kind, whose)

    def fault(self, kind: str, victim: str) -> None:
        """Count a fault that takes effect on `victim` now."""
        self.push_hit(kind)
        self.tell("fault", kind, victim)

    def push_hit(self, kind: str) -> None:
        """Count a push that a fault affects; only the beginning of such a fault is told."""
        self.faults[kind] = self.faults.get(kind, 0) + 1

    def tell(self, kind: str, *parts: object) -> None:
        """Tell the observer, if there is one, of something that is not counted."""
        if self.observe is not None:
            self.observe(kind, " ".join(text for text in map(str, parts) if text))

    def as_dict(self) -> dict[str, object]:
        """Return all totals, ready for JSON."""
        return asdict(self, filter=lambda attribute, _: attribute != fields(Counters).observe)
