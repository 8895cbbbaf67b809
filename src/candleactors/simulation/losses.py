"""Losses: what a life of the feed told and took with it, because it could not store it any more."""

from __future__ import annotations

from collections.abc import Iterable

from candleactors.model import Stream


class Losses:
    """Knows of which streams something may be missing for good.

    What was lost is fetched again for whoever watches its stream, and by nobody else.
    """

    def __init__(self) -> None:
        self.any = False
        """Whether there ever were losses: the store may then begin later than what was told."""
        self.abandoned: set[Stream] = set()
        """Streams that nobody watched between a loss and the next time when everything was right again."""
        self._unsettled: set[Stream] = set()

    def add(self, told: Iterable[Stream], watched: Iterable[Stream]) -> None:
        """Note that a life ended before all that it had told of `told` was stored."""
        self.any = True
        self._unsettled.update(told)
        self.watch(watched)

    def watch(self, watched: Iterable[Stream]) -> None:
        """Note that nothing but `watched` is watched any more."""
        self.abandoned.update(self._unsettled.difference(watched))

    def settle(self) -> None:
        """Note that everything was found to be right."""
        self._unsettled.clear()
