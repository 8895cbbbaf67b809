"""``python -m candleactors.simulation``: run seeds, replay one, shrink what fails."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path

import click

from candleactors.sim import RULES
from candleactors.simulation.case import PROGRAM, Case, parsed
from candleactors.simulation.outcome import Outcome
from candleactors.simulation.plan import Plan, Scale
from candleactors.simulation.shrink import MOST_RUNS, Shrinking
from candleactors.simulation.tally import Tally, progress
from candleactors.simulation.timeline import clock, described, readable, spelled, utc
from candleactors.simulation.workers import Workers

_CYCLE_DAYS = Scale().days


def _as_range(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[int, int] | None:
    """Return what ``A:B`` means, or ``A`` alone; a callback of click."""
    if value is None:
        return None
    first, colon, until = value.partition(":")
    try:
        numbers = int(first), int(until) if colon else int(first) + 1
    except ValueError:
        numbers = (0, 0)
    if not 0 <= numbers[0] < numbers[1]:
        raise click.BadParameter(f'"{value}" is no range; write 7, or 0:100 for 0 to 99', ctx, param)
    return numbers


def _as_numbers(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[int, ...] | None:
    """Return the numbers in ``3,17-20``; a callback of click."""
    if value is None:
        return None
    try:
        numbers = parsed(value)
    except ValueError:
        numbers = (0,)
    if min(numbers, default=1) < 1:
        raise click.BadParameter(f'"{value}" are no numbers of acts; write 3,17-20 or none', ctx, param)
    return numbers


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option("--seeds", callback=_as_range, help="A:B, without B, or a single seed. [default: 0, unless --fresh]")
@click.option("--fresh", type=click.IntRange(0), default=0, help="So many seeds more that nobody has tried.")
@click.option(
    "--days", type=click.FloatRange(0, min_open=True), default=_CYCLE_DAYS, help="Of each seed. [default: one cycle]"
)
@click.option("--streams", type=click.IntRange(1), default=Scale().streams, show_default=True, help="Symbols watched.")
@click.option(
    "--faults-per-hour",
    type=click.FloatRange(0),
    default=Scale().faults_per_hour,
    show_default=True,
    help="While there is trouble.",
)
@click.option(
    "--venue", "venues", multiple=True, type=click.Choice(sorted(RULES)), help="Simulate this venue; may be repeated."
)
@click.option("--calm", multiple=True, help="Leave out the acts of this name, such as kill; may be repeated.")
@click.option("--cycles", callback=_as_range, help="Only these times of trouble, from 0 on: A:B, or one.")
@click.option("--acts", callback=_as_numbers, help="Only these acts, by their numbers: 3,17-20, or none.")
@click.option("--jobs", type=click.IntRange(1), default=os.cpu_count(), help="Processes. [default: one a core]")
@click.option("--minutes", type=click.FloatRange(0, min_open=True), help="Start no seed after so long in real time.")
@click.option("--timeline", is_flag=True, help="Print everything that happens with a single seed.")
@click.option("--shrink", is_flag=True, help="Look for the fewest acts with which a failing seed still fails.")
@click.option(
    "--most-runs", type=click.IntRange(1), default=MOST_RUNS, show_default=True, help="With --shrink, for each seed."
)
@click.option(
    "--json", "json_file", type=click.Path(path_type=Path, dir_okay=False), help="Write the figures here too."
)
def command(
    seeds: tuple[int, int] | None,
    fresh: int,
    days: float,
    streams: int,
    faults_per_hour: float,
    venues: tuple[str, ...],
    calm: tuple[str, ...],
    cycles: tuple[int, int] | None,
    acts: tuple[int, ...] | None,
    jobs: int,
    minutes: float | None,
    timeline: bool,
    shrink: bool,
    most_runs: int,
    json_file: Path | None,
) -> None:
    """Run whole feeds through seeded trouble in virtual time, and judge all they say by the truth.

    \b
      --seeds 0:100 --days 1                  a hundred days
      --fresh 20 --minutes 10                 seeds that nobody has tried
      --seeds 7 --days 1 --timeline           everything that happens with seed 7
      --seeds 7 --days 1 --shrink             as little as possible with which it fails
      --seeds 0:9 --venue okx --venue bitfinex  these venues instead of those that the seeds draw

    Equal options give equal runs, event for event. Ctrl-C ends it with the report so far.

    Exit status: 0 nothing was wrong, 1 a seed failed, 2 wrong arguments, 130 interrupted.
    """
    scale = Scale(days=days, streams=streams, faults_per_hour=faults_per_hour, calm=frozenset(calm), venues=venues)
    unheard_of = [int.from_bytes(os.urandom(4), "big") for _ in range(fresh)]
    given = range(*(seeds or ((0, 0) if fresh else (0, 1))))
    # By turns: time may be up before all were run.
    tried = [seed for pair in zip_longest(unheard_of, given) for seed in pair if seed is not None]
    if (timeline or acts is not None) and len(tried) != 1:
        raise click.UsageError("--timeline and --acts are for a single seed")
    cases = {seed: Case(seed, scale, acts, cycles) for seed in tried}
    _check(cases[tried[0]])
    if fresh:
        click.echo(f"fresh seeds: {' '.join(map(str, unheard_of))}")
    tally = Tally()
    status = 0
    try:
        with Workers(jobs) as workers:
            for trial in workers.attempts(_plans(cases, minutes), keep=timeline):
                outcome = trial.outcome
                outcome.replay = f"{cases[outcome.seed].command()} --timeline"
                tally.add(trial)
                if timeline:
                    _print_timeline(cases[outcome.seed], outcome)
                click.echo(progress(trial))
                if not outcome.ok:
                    click.echo(outcome.report())
            if shrink:
                for outcome in tally.failed:
                    _shrink(workers, cases[outcome.seed], outcome, most_runs)
    except KeyboardInterrupt:
        click.echo("interrupted")
        status = 130
    if len(tally.trials) < len(cases):
        click.echo(f"{len(cases) - len(tally.trials)} seeds were not run")
    for line in tally.summary():
        click.echo(line)
    if json_file is not None:
        json_file.write_text(json.dumps(tally.record(), indent=1), "utf-8")
    raise SystemExit(1 if tally.failed else status)


def _check(case: Case) -> None:
    """Complain of numbers that the plan does not have."""
    whole = case.whole()
    if max(case.acts or (0,)) > len(whole.acts):
        raise click.UsageError(f"the plan has no more than {len(whole.acts)} acts")
    if case.cycles is not None and case.cycles[1] > len(whole.troubles):
        raise click.UsageError(f"the plan has no more than {len(whole.troubles)} cycles")


def _plans(cases: dict[int, Case], minutes: float | None) -> Iterator[Plan]:
    until_s = None if minutes is None else time.monotonic() + minutes * 60
    for case in cases.values():
        if until_s is not None and time.monotonic() > until_s:
            return
        yield case.plan()


def _print_timeline(case: Case, outcome: Outcome) -> None:
    plan = case.plan()
    click.echo(f"seed {case.seed} begins at {utc(plan.start_ms)}, ends after {clock(plan.span_s)}")
    for line in outcome.lines:
        click.echo(readable(line, plan.start_ms))


def _shrink(workers: Workers, case: Case, outcome: Outcome, most_runs: int) -> None:
    """Shrink one failing seed and print what is left, also when interrupted."""

    def run(plan: Plan) -> Outcome:
        click.echo(f"seed {case.seed}: run {shrinking.runs} of at most {most_runs}, {len(plan.acts)} acts")
        (trial,) = workers.attempts([plan], explain=False)
        return trial.outcome

    plan = case.plan()
    shrinking = Shrinking(plan, outcome, run, most_runs)
    try:
        shrinking.shrink()
    finally:
        smallest = case.narrowed(shrinking.acts, shrinking.cycles)
        click.echo(f"seed {case.seed} still fails with {len(shrinking.acts)} acts:")
        for number, act in zip(smallest.numbers(), shrinking.plan.acts, strict=True):
            click.echo(f"  {number:>5}  {clock(act.at_s)}  {described(act)}")
        click.echo("in this way: " + spelled(str(shrinking.outcome.breaches[0])))
        click.echo(f"replay: {smallest.command()} --timeline")


def main() -> None:
    """Run the command and exit."""
    command.main(prog_name=PROGRAM)
