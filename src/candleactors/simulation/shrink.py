"""Shrinking: the fewest acts of a plan with which it still fails in the same way."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final, TypeAlias

from candleactors.simulation.case import part
from candleactors.simulation.outcome import Breach, Outcome
from candleactors.simulation.plan import Plan
from candleactors.simulation.run import run as run_plan

Run: TypeAlias = Callable[[Plan], Outcome]

MOST_RUNS: Final = 200
_STREAM: Final = re.compile(r"[\w-]+:[^\s:]+:[^\s:,]+")
_NUMBERS: Final = re.compile(r"[-+]?\d[\d.E+-]*( [-+]?\d[\d.E+-]*)*")


def kind_of(breach: Breach) -> str:
    """Return what is the same of all breaches of one kind: digits and names of streams are not."""
    return f"{breach.where}: {_NUMBERS.sub('#', _STREAM.sub('~', breach.problem))}"


class Shrinking:
    """Makes a failing plan smaller, run by run. What is here between two runs is the smallest one so far."""

    def __init__(self, plan: Plan, outcome: Outcome, run: Run = run_plan, most_runs: int = MOST_RUNS) -> None:
        """`outcome` is that of `plan`; raises `ValueError` unless it failed."""
        if outcome.ok:
            raise ValueError(f"seed {plan.seed} did not fail")
        self.plan = plan
        self.outcome = outcome
        self.acts: tuple[int, ...] = tuple(range(1, len(plan.acts) + 1))
        """Numbers of the acts that are left, counted from 1 in the whole plan."""
        self.cycles = (0, len(plan.troubles))
        """Those of its times of trouble that are left."""
        self.runs = 0
        self._whole = plan
        self._kind = kind_of(outcome.breaches[0])
        self._run = run
        self._most_runs = most_runs

    def shrink(self) -> None:
        """Shrink until no act can be spared, or nothing more may be run. Blocks."""
        self._end_at_breach()
        self._begin_late()
        self._without_kinds()
        # Large pieces first; then whatever can be spared alone, until nothing can.
        size = max(1, len(self.acts) // 2)
        while True:
            smaller = self._without_pieces(size)
            if self.runs >= self._most_runs or (size == 1 and not smaller):
                return
            size = max(1, size // 2)

    def _end_at_breach(self) -> None:
        """Spare what was still to come, which nobody can have felt."""
        at_s = self.outcome.breaches[0].at_s
        acts = [number for number in self.acts if self._whole.acts[number - 1].at_s <= at_s]
        troubles = self._whole.troubles
        ends_s = [until_s + self._whole.peace_s for _, until_s in troubles]
        until = next((number for number, end_s in enumerate(ends_s, 1) if at_s <= end_s), len(troubles))
        if len(acts) < len(self.acts) or until < len(troubles):
            self._try(acts, (0, until))

    def _begin_late(self) -> None:
        """Spare earlier times of trouble, all of them or all but one."""
        _, until = self.cycles
        for first in (until - 1, until - 2):
            if first > 0 and self._try(self._within(first), (first, until)):
                return

    def _within(self, first: int) -> list[int]:
        since_s = self._whole.troubles[first - 1][1] + self._whole.peace_s
        return [number for number in self.acts if self._whole.acts[number - 1].at_s >= since_s]

    def _without_kinds(self) -> None:
        """Try without all acts of each name, the most frequent ones first."""
        names = Counter(self._whole.acts[number - 1].name for number in self.acts)
        for name, _ in names.most_common():
            self._try([number for number in self.acts if self._whole.acts[number - 1].name != name], self.cycles)

    def _without_pieces(self, size: int) -> bool:
        """Try without each piece of `size` acts, the last one first; say whether any could be spared."""
        spared = False
        end = len(self.acts)
        while end > 0:
            start = max(0, end - size)
            spared |= self._try([*self.acts[:start], *self.acts[end:]], self.cycles)
            end = start
        return spared

    def _try(self, acts: Sequence[int], cycles: tuple[int, int]) -> bool:
        """Go on with these if it fails in the same way with them."""
        if self.runs >= self._most_runs:
            return False
        self.runs += 1
        plan = part(self._whole, tuple(acts), *cycles)
        outcome = self._run(plan)
        fails = self._kind in map(kind_of, outcome.breaches)
        if fails:
            self.plan, self.outcome, self.acts, self.cycles = plan, outcome, tuple(acts), cycles
        return fails


def shrink(plan: Plan, outcome: Outcome, run: Run = run_plan, most_runs: int = MOST_RUNS) -> Shrinking:
    """Return what is left of `plan`, which came to `outcome`, once no act can be spared. Blocks.

    The failure has to stay of the same kind, in the same place. At most `most_runs` plans are run. Raises `ValueError`
    where nothing failed.
    """
    shrinking = Shrinking(plan, outcome, run, most_runs)
    shrinking.shrink()
    return shrinking
