"""The report: what a finished run amounts to, as JSON and in words."""

from __future__ import annotations

from attrs import asdict, frozen

from candleactors.demo.judge import Verdict


@frozen
class Report:
    """A finished run. Durations are seconds."""

    verdict: Verdict
    seed: int
    chaos: bool
    seconds: float
    """From the feed's start until the faults ended."""
    settle_s: float
    """How long what was under repair then was waited for."""
    stop_s: float
    """How long the feed took to stop."""
    messages: int
    """WebSocket messages that the simulators pushed."""
    connections: int
    """Connections that the feed needs."""
    reconnects: int
    """Connections that the simulators accepted beyond those."""
    history: int
    rest_repairs: int
    faults: dict[str, int]
    """By kind."""
    hurried: bool = False
    """The user did not let it wait: of each stream, only what precedes its last candle was judged."""

    @property
    def ok(self) -> bool:
        """Whether every promise was kept: what the exit status tells."""
        return self.verdict.ok

    def record(self) -> dict[str, object]:
        """Return the report as plain values for JSON."""
        verdict = asdict(self.verdict)
        examples = verdict.pop("examples")
        rest = asdict(self, filter=lambda attribute, _: attribute.name != "verdict")
        return {"ok": self.ok, **verdict, **rest, "examples": list(examples)}
