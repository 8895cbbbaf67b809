"""What a simulator counts about itself and about the manners of its clients."""

from __future__ import annotations

from attrs import asdict, define, field


@define
class Counters:
    """Totals since the simulator was made. `violations` and `faults` count by kind."""

    connections: int = 0
    """WebSocket connections opened."""
    live: int = 0
    """WebSocket connections open now."""
    refused: int = 0
    """Connection attempts that got no WebSocket: refused, rejected, or left hanging."""
    requests: int = 0
    """REST requests."""
    pushed: int = 0
    """Messages pushed, once per connection."""
    closes_pushed: int = 0
    """Closing kline messages among them."""
    slow_clients: int = 0
    """Clients dropped because they did not read."""
    violations: dict[str, int] = field(factory=dict)
    """Rules that clients broke: `message_rate`, `connect_rate`, `streams`, `weight`, `told_to_wait`, `pong_timeout`."""
    faults: dict[str, int] = field(factory=dict)
    """Faults that took effect, by kind."""

    def violation(self, kind: str) -> None:
        self.violations[kind] = self.violations.get(kind, 0) + 1

    def fault(self, kind: str) -> None:
        self.faults[kind] = self.faults.get(kind, 0) + 1

    def as_dict(self) -> dict[str, object]:
        """Return all totals, ready for JSON."""
        return asdict(self)
