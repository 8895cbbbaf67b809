"""Outcomes: what became of a simulation."""

from __future__ import annotations

from collections import Counter

from attrs import define, field, frozen

from candleactors.simulation.timeline import clock, course, readable, spelled


class SimulationFailed(AssertionError):
    """A simulation saw something that must never be. Its text is `Outcome.report`."""


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
    """Simulated hours times streams watched, derived ones included."""
    native_stream_hours: float = 0.0
    """Those of streams that a venue carries."""
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
    uses: Counter[str] = field(factory=Counter)
    """What the host and the readers did, by kind."""
    failure: str = ""
    """The traceback, where the feed gave up."""
    lines: tuple[str, ...] = ()
    """The trace: all of it if it was kept, or else its end."""
    start_ms: int = 0
    """When it began, UTC milliseconds."""
    course: tuple[str, ...] = ()
    """Lines of the trace that tell how the first breach came about, where they are known."""
    replay: str = ""
    """The command that runs it again and prints its timeline, where there is one."""

    @property
    def ok(self) -> bool:
        """Whether nothing was wrong."""
        return not self.breaches

    def check(self) -> None:
        """Raise `SimulationFailed`, an `AssertionError`, unless nothing was wrong."""
        if not self.ok:
            raise SimulationFailed(self.report())

    def how(self) -> tuple[str, ...]:
        """Return lines of the trace that tell how the first breach came about; nothing if it is no longer there."""
        place = len(self.lines) - 1 - (self.events - self.breaches[0].position) if self.breaches else -1
        return self.course or (course(self.lines, place) if place >= 0 else ())

    def report(self) -> str:
        """Return what was wrong, how it came about and how to replay it, in several lines."""
        if self.ok:
            return f"seed {self.seed}: nothing was wrong"
        text = [f"seed {self.seed} failed after {clock(self.seconds)}:"]
        text += [f"  {each.where}, event {each.position}: {spelled(each.problem)}" for each in self.breaches]
        if how := self.how():
            text += ["how it came about:", *(f"  {readable(line, self.start_ms)}" for line in how)]
        if self.failure:
            text += ["how it ended:", *(f"  {line}" for line in self.failure.splitlines())]
        if self.replay:
            text.append(f"replay: {self.replay}")
        return "\n".join(text)
