"""Outcomes: what became of a simulation."""

from __future__ import annotations

from collections import Counter

from attrs import define, field, frozen


@frozen
class Breach:
    """Something that must never be. `position` is its place in the trace."""

    at_s: float
    where: str
    problem: str
    position: int

    def __str__(self) -> str:
        return f"{self.where} at {self.at_s:.3f} s, event {self.position}: {self.problem}"


@define
class Outcome:
    """What was seen, and how much there was to see."""

    seed: int
    breaches: list[Breach] = field(factory=list)
    """What was wrong, the first one first; a simulation ends soon after."""
    digest: str = ""
    """Of the trace; equal for equal runs."""
    events: int = 0
    """In the trace."""
    seconds: float = 0.0
    """Simulated."""
    stream_hours: float = 0.0
    """Simulated hours times streams watched."""
    candles: int = 0
    """Closed candles and revisions compared with the truth, once for each reader."""
    messages: int = 0
    """WebSocket messages that the venues sent."""
    lives: int = 0
    """Of the feed."""
    converged_s: list[float] = field(factory=list)
    """How long it took, after each time of trouble, until everything was right again."""
    faults: Counter[str] = field(factory=Counter)
    """What went wrong, by kind, counted where it took effect."""
    failure: str = ""
    """The traceback, where the feed gave up."""
    lines: tuple[str, ...] = ()
    """The trace: all of it if it was kept, or else its end."""

    @property
    def ok(self) -> bool:
        """Whether nothing was wrong."""
        return not self.breaches
