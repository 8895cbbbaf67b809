"""Tallies: what many simulations come to together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any, Final

from attrs import asdict, define, field

from candleactors.simulation.outcome import Outcome
from candleactors.simulation.trial import Trial

_HOURS_A_YEAR: Final = 8_766


@define
class Tally:
    """Adds up trials."""

    trials: list[Trial] = field(factory=list)
    faults: Counter[str] = field(factory=Counter)
    uses: Counter[str] = field(factory=Counter)
    hours: float = 0.0
    stream_hours: float = 0.0
    native_stream_hours: float = 0.0
    candles: int = 0
    messages: int = 0
    lives: int = 0
    cpu_s: float = 0.0
    slowest: tuple[float, int] = (0.0, 0)
    """The longest that anything took to come right again, in seconds, and the seed."""

    def add(self, trial: Trial) -> None:
        outcome = trial.outcome
        self.trials.append(trial)
        self.faults.update(outcome.faults)
        self.uses.update(outcome.uses)
        self.hours += outcome.seconds / 3600
        self.stream_hours += outcome.stream_hours
        self.native_stream_hours += outcome.native_stream_hours
        self.candles += outcome.candles
        self.messages += outcome.messages
        self.lives += outcome.lives
        self.cpu_s += trial.cpu_s
        self.slowest = max(self.slowest, (max(outcome.converged_s, default=0.0), outcome.seed))

    @property
    def failed(self) -> list[Outcome]:
        return [trial.outcome for trial in self.trials if not trial.outcome.ok]

    def summary(self) -> Iterator[str]:
        """Yield it all, line by line."""
        yield _line("seeds", f"{len(self.trials)} run, {len(self.failed)} failed")
        yield _line("simulated", f"{self.hours:,.1f} h, {_long(self.stream_hours)}")
        yield _line("", f"of these native {_long(self.native_stream_hours)}")
        yield _line("speed", f"{_speed(self.hours * 3600, self.cpu_s)} real time on one core")
        yield _line("candles", f"{self.candles:,} compared, from {self.messages:,} messages")
        yield _line("lives", f"{self.lives:,}")
        yield _line("faults", _counted(self.faults))
        yield _line("besides", _counted(self.uses))
        if self.slowest[0]:
            yield _line("convergence", f"{self.slowest[0]:g} s at most (seed {self.slowest[1]})")
        if self.failed:
            yield _line("failed", ", ".join(str(outcome.seed) for outcome in self.failed))

    def record(self) -> dict[str, Any]:
        """Return it all for JSON."""
        return {
            "runs": [_record(trial) for trial in self.trials],
            "failed": [outcome.seed for outcome in self.failed],
            "hours": self.hours,
            "stream_hours": self.stream_hours,
            "native_stream_hours": self.native_stream_hours,
            "candles": self.candles,
            "messages": self.messages,
            "lives": self.lives,
            "faults": dict(sorted(self.faults.items())),
            "uses": dict(sorted(self.uses.items())),
            "cpu_s": self.cpu_s,
            "slowest_convergence_s": self.slowest[0],
        }


def progress(trial: Trial) -> str:
    """Return one trial as one line."""
    outcome = trial.outcome
    verdict = "ok" if outcome.ok else "FAILED"
    text = (
        f"seed {outcome.seed:<10} {verdict:<6} {outcome.seconds / 3600:7.1f} h"
        f" {_speed(outcome.seconds, trial.cpu_s):>7} {outcome.candles:>9,} candles {outcome.faults.total():>6,} faults"
    )
    return text if outcome.ok else f"{text}  {outcome.breaches[0]}"


def _record(trial: Trial) -> dict[str, Any]:
    outcome = trial.outcome
    kept = asdict(outcome, filter=lambda attribute, _: attribute.name not in ("lines", "faults", "uses"))
    counted = {"faults": dict(sorted(outcome.faults.items())), "uses": dict(sorted(outcome.uses.items()))}
    return {**kept, **counted, "cpu_s": trial.cpu_s}


def _speed(seconds: float, cpu_s: float) -> str:
    return f"{seconds / cpu_s:,.0f}x" if cpu_s else "-"


def _counted(what: Counter[str]) -> str:
    kinds = ", ".join(f"{kind} {count:,}" for kind, count in sorted(what.items()))
    return f"{what.total():,}" + (f": {kinds}" if kinds else "")


def _long(stream_hours: float) -> str:
    return f"{stream_hours:,.0f} stream-hours ({stream_hours / _HOURS_A_YEAR:.3f} years)"


def _line(about: str, text: str) -> str:
    return f"{about:<12} {text}"
