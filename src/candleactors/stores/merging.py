"""Merging candles of files into a store: what a stored candle and another of the same interval come to."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from attrs import define

from candleactors.model import Candle


class Outcome(StrEnum):
    """What became of a candle that was to be merged."""

    NEW = "new"
    """Nothing was stored for its interval."""
    CHANGED = "changed"
    """It replaced, corrected or completed what was stored."""
    UNCHANGED = "unchanged"
    """It says what is stored already."""
    KEPT = "kept"
    """It says otherwise, but what is stored has precedence."""


@define
class Tally:
    """How many candles had which outcome."""

    new: int = 0
    changed: int = 0
    unchanged: int = 0
    kept: int = 0

    def count(self, outcome: Outcome) -> None:
        """Add one candle."""
        setattr(self, outcome.value, getattr(self, outcome.value) + 1)

    def add(self, other: Tally) -> None:
        """Add those of another tally."""
        self.new += other.new
        self.changed += other.changed
        self.unchanged += other.unchanged
        self.kept += other.kept


_SUPPLIED: Final = ("quote_volume", "trades", "taker_buy_volume", "taker_buy_quote_volume")


def merged(stored: Candle | None, candle: Candle, *, corrects: bool) -> tuple[Outcome, Candle | None]:
    """Return what happens to the closed `candle`, and what to write in place of `stored`, ``None`` for nothing.

    A candle of a lower revision never replaces one of a higher. Between equal revisions a complete one replaces an
    incomplete one, and what the stored one does not know is supplied. A contradiction is a correction, one revision
    higher, if `corrects`, that is, if the candle is the venue's own word; otherwise the stored one is kept.
    """
    if stored is None:
        return Outcome.NEW, candle
    if (candle.closed, candle.revision) > (stored.closed, stored.revision):
        return Outcome.CHANGED, candle
    if candle.revision == stored.revision and candle.complete > stored.complete:
        return Outcome.CHANGED, candle
    if _agree(stored, candle):
        supplied = {
            name: getattr(candle, name)
            for name in _SUPPLIED
            if getattr(stored, name) is None and getattr(candle, name) is not None
        }
        return (Outcome.CHANGED, stored.replace(**supplied)) if supplied else (Outcome.UNCHANGED, None)
    if corrects and candle.revision == stored.revision and candle.complete >= stored.complete:
        return Outcome.CHANGED, candle.replace(revision=stored.revision + 1)
    return Outcome.KEPT, None


def _agree(stored: Candle, candle: Candle) -> bool:
    """Whether both say the same wherever both say something."""
    ours, theirs = stored.values(), candle.values()
    return ours == theirs or all(
        one is None or other is None or one == other for one, other in zip(ours, theirs, strict=True)
    )
