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

    def summary(self) -> list[str]:
        """Return the report in words, line by line; the first says how it went."""
        verdict = self.verdict
        received = verdict.closed_candles - self.history
        waited = f", then waited {self.settle_s:.1f} s for repairs" if self.settle_s >= 0.05 else ""
        lines = [
            self._verdict(),
            f"run          {self.seconds:.1f} s with seed {self.seed}{' and chaos' if self.chaos else ''}{waited}",
            f"received     {verdict.closed_candles:,} closed candles on {verdict.streams} streams:"
            f" {self.history:,} of history, {received:,} as they closed",
            f"repaired     {self.rest_repairs:,} over REST; {verdict.gaps:,} gaps, {verdict.revisions:,} revisions",
            f"connections  {self.connections}, reconnected {self.reconnects} times; {self.messages:,} messages",
        ]
        if self.faults:
            counted = (f"{count} {kind}" for kind, count in sorted(self.faults.items(), key=lambda item: -item[1]))
            lines.append(f"faults       {', '.join(counted)}")
        lines.append(f"shutdown     in order, in {self.stop_s:.2f} s")
        return lines + [f"             {example}" for example in verdict.examples]

    def _verdict(self) -> str:
        verdict = self.verdict
        scope = "up to the last one of each stream, " if self.hurried else ""
        if verdict.ok:
            return f"verdict      right: {scope}every closed candle exactly once, in order, equal to the market's own"
        counts = {
            "lost": verdict.lost,
            "duplicated": verdict.duplicated,
            "out of order": verdict.out_of_order,
            "wrong": verdict.wrong,
        }
        return (
            f"verdict      broken: {scope}{', '.join(f'{count:,} {name}' for name, count in counts.items() if count)}"
        )
