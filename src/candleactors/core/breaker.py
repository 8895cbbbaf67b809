"""Circuit breaker: when to stop trying for a while."""

from __future__ import annotations


class Breaker:
    """Opens after `limit` failures in a row.

    An open breaker asks for a rest. After the rest comes one trial: if that fails too, the breaker asks for the next
    rest at once; only `reset` closes it.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.failures = 0
        """Failures in a row."""

    @property
    def is_open(self) -> bool:
        return self.failures >= self._limit

    def failed(self) -> bool:
        """Note a failure and return whether a rest is due before the next attempt."""
        self.failures += 1
        return self.is_open

    def reset(self) -> None:
        """Close the breaker: the last attempt proved stable."""
        self.failures = 0
