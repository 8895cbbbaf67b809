"""Cases: what one command line names, a seed or a part of what a seed comes to."""

from __future__ import annotations

from collections.abc import Iterable

from attrs import Factory, evolve, fields, frozen

from candleactors.simulation.plan import Plan, Scale, draw

PROGRAM = "python -m candleactors.simulation"


@frozen
class Case:
    """A seed at some scale, whole or in part."""

    seed: int
    scale: Scale = Factory(Scale)
    acts: tuple[int, ...] | None = None
    """Numbers of the acts that happen, counted from 1 in the whole plan of the seed; ``None``: all."""
    cycles: tuple[int, int] | None = None
    """Of the times of trouble, those from the first number on, counted from 0, up to before the second."""

    def plan(self) -> Plan:
        """Return what happens."""
        whole = self.whole()
        first, until = self.cycles or (0, len(whole.troubles))
        return part(whole, self.numbers(), first, until)

    def whole(self) -> Plan:
        """Return all that the seed comes to."""
        return draw(self.seed, self.scale)

    def numbers(self) -> tuple[int, ...]:
        """Return the numbers of the acts that happen, ascending."""
        whole = self.whole()
        since_s, until_s = _span(whole, *(self.cycles or (0, len(whole.troubles))))
        chosen = range(1, len(whole.acts) + 1) if self.acts is None else sorted(set(self.acts))
        return tuple(number for number in chosen if since_s <= whole.acts[number - 1].at_s < until_s)

    def narrowed(self, acts: Iterable[int], cycles: tuple[int, int]) -> Case:
        """Return a part of this one, its acts and times of trouble counted in `plan`."""
        numbers = self.numbers()
        if self.cycles is None and cycles == (0, len(self.whole().troubles)):
            return evolve(self, acts=tuple(acts))
        before = self.cycles[0] if self.cycles else 0
        chosen = tuple(numbers[number - 1] for number in acts)
        return evolve(self, acts=chosen, cycles=(before + cycles[0], before + cycles[1]))

    def command(self) -> str:
        """Return the command that runs it, without what should be seen of it."""
        words = [PROGRAM, f"--seeds {self.seed}"]
        options = {"days": "--days", "streams": "--streams", "faults_per_hour": "--faults-per-hour"}
        for each in fields(Scale):
            value = getattr(self.scale, each.name)
            if each.name in options and value != each.default:
                words.append(f"{options[each.name]} {value:.10g}")
        words += [f"--venue {name}" for name in self.scale.venues]
        words += [f"--calm {name}" for name in sorted(self.scale.calm)]
        if self.cycles is not None:
            words.append(f"--cycles {self.cycles[0]}:{self.cycles[1]}")
        if self.acts is not None:
            words.append(f"--acts {written(self.acts)}")
        return " ".join(words)


def written(numbers: Iterable[int]) -> str:
    """Return ascending numbers as ``3,17-20``, no numbers as ``none``."""
    runs: list[tuple[int, int]] = []
    for number in numbers:
        if runs and runs[-1][1] == number - 1:
            runs[-1] = runs[-1][0], number
        else:
            runs.append((number, number))
    return ",".join(f"{first}-{last}" if last > first else f"{first}" for first, last in runs) or "none"


def parsed(text: str) -> tuple[int, ...]:
    """Return the numbers that `written` writes so; raises `ValueError`."""
    numbers: list[int] = []
    for each in text.split(",") if text != "none" else ():
        first, dash, last = each.partition("-")
        numbers += range(int(first), (int(last) if dash else int(first)) + 1)
    return tuple(numbers)


def part(plan: Plan, acts: tuple[int, ...], first: int, until: int) -> Plan:
    """Return `plan` with only the `acts` of these numbers, from 1 on, and the times of trouble ``[first, until)``.

    It begins where the first of them does, with a market and a store that know nothing of what was before.
    """
    start_s, end_s = _span(plan, first, until)
    chosen = [plan.acts[number - 1] for number in sorted(set(acts))]
    return evolve(
        plan,
        start_ms=plan.start_ms + round(start_s * 1000),
        acts=tuple(evolve(act, at_s=act.at_s - start_s) for act in chosen if start_s <= act.at_s < end_s),
        troubles=tuple((since_s - start_s, until_s - start_s) for since_s, until_s in plan.troubles[first:until]),
    )


def _span(plan: Plan, first: int, until: int) -> tuple[float, float]:
    """Return when these times of trouble begin and when the peace after them is over."""
    start_s = plan.troubles[first - 1][1] + plan.peace_s if first else 0.0
    return start_s, plan.troubles[until - 1][1] + plan.peace_s
