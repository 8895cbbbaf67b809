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
    orderly: bool
    """Whether it stopped by itself, before the deadline at which what remains is cancelled."""
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

    def summary(self) -> list[tuple[str, str]]:
        """Return the report in words: pairs of what it is about and what there is to say, the verdict first."""
        verdict = self.verdict
        received = verdict.closed_candles - self.history
        waited = f", then waited {self.settle_s:.1f} s for repairs" if self.settle_s >= 0.05 else ""
        pairs = [
            ("verdict", self._verdict()),
            ("run", f"{self.seconds:.1f} s, seed {self.seed}{', chaos' if self.chaos else ''}{waited}"),
            (
                "received",
                f"{verdict.closed_candles:,} closed candles on {verdict.streams} streams:"
                f" {self.history:,} of history, {received:,} since the start",
            ),
            ("repaired", f"{self.rest_repairs:,} over REST; {verdict.gaps:,} gaps, {verdict.revisions:,} revisions"),
            ("connections", f"{self.connections}, reconnected {self.reconnects} times; {self.messages:,} messages"),
        ]
        if self.faults:
            counted = (f"{count} {kind}" for kind, count in sorted(self.faults.items(), key=lambda item: -item[1]))
            pairs.append(("faults", ", ".join(counted)))
        pairs.append(("shutdown", f"{'in order' if self.orderly else 'cut short'}, in {self.stop_s:.2f} s"))
        return pairs + [("example", example) for example in verdict.examples]

    def _verdict(self) -> str:
        verdict = self.verdict
        scope = "up to the last candle of each stream, " if self.hurried else ""
        if verdict.ok:
            return f"right: {scope}every closed candle once, in order, equal to the market's own"
        counts = {
            "lost": verdict.lost,
            "duplicated": verdict.duplicated,
            "out of order": verdict.out_of_order,
            "wrong": verdict.wrong,
        }
        return f"broken: {scope}{', '.join(f'{count:,} {name}' for name, count in counts.items() if count)}"
