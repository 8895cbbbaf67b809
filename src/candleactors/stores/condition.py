"""How a store is: what it is kept by, and the version of its tables."""

from __future__ import annotations

from attrs import frozen


@frozen
class Condition:
    """The `version` of a store's tables, 0 where there are none, and the one that is `needed`."""

    kind: str
    """What keeps it, for people."""
    version: int
    needed: int

    @property
    def is_current(self) -> bool:
        """Whether a feed can use it as it is."""
        return self.version == self.needed
