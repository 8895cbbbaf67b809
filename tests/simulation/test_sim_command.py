"""The command: seeds in processes of their own, one line each, and a status that tells."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from attrs import evolve
from click.testing import CliRunner, Result

from candleactors.simulation import Breach, Outcome, Plan, Scale
from candleactors.simulation import command as command_module
from candleactors.simulation.acts import Dawdle
from candleactors.simulation.case import Case
from candleactors.simulation.command import command
from candleactors.simulation.trial import Trial
from candleactors.simulation.workers import Workers

PROGRAM = (sys.executable, "-m", "candleactors.simulation")
LINE = "       1.000 reader-0   candle binance-spot:S01USDT:1m 1709164800000 1.0"


class FakeWorkers:
    """Stand in for the processes: seeds above 100 fail as long as their first act is there."""

    def __init__(self, jobs: int) -> None:
        self.jobs = jobs

    def __enter__(self) -> FakeWorkers:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def attempts(self, plans: Iterator[Plan], *, keep: bool = False, explain: bool = True) -> Iterator[Trial]:
        for plan in plans:
            if plan.seed == 66:
                raise KeyboardInterrupt
            outcome = Outcome(plan.seed, seconds=3600, stream_hours=20, candles=5, lives=2, start_ms=plan.start_ms)
            outcome.faults.update({"kill": 1, "drop": 2})
            outcome.converged_s.append(plan.seed)
            if plan.seed > 100 and plan.acts:
                outcome.breaches.append(Breach(8_000.0, "reader-0", "S01USDT is wrong", 1))
                outcome.course = (LINE,)
            yield Trial(evolve(outcome, lines=(LINE, LINE) if keep else ()), 2.0)


@pytest.fixture
def faked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command_module, "Workers", FakeWorkers)


def call(*arguments: object) -> Result:
    return CliRunner().invoke(command, [str(each) for each in arguments])


@pytest.mark.usefixtures("faked")
def test_every_seed_gets_a_line_and_all_a_summary(tmp_path: Path) -> None:
    result = call("--seeds", "3:6", "--json", tmp_path / "figures.json")
    assert result.exit_code == 0
    lines = result.output.splitlines()
    assert [each.split()[1:3] for each in lines[:3]] == [["3", "ok"], ["4", "ok"], ["5", "ok"]]
    summary = {about: text for about, _, text in (each.partition(" ") for each in lines[3:])}
    assert summary["seeds"].strip() == "3 run, 0 failed"
    assert "60 stream-hours (0.007 years)" in summary["simulated"]
    assert summary["faults"].strip() == "9: drop 6, kill 3"
    assert "5 s at most (seed 5)" in summary["convergence"]
    assert "1,800x" in summary["speed"]
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert [each["seed"] for each in figures["runs"]] == [3, 4, 5]
    assert figures["faults"] == {"drop": 6, "kill": 3}


@pytest.mark.usefixtures("faked")
def test_a_failure_says_how_to_replay_it() -> None:
    result = call("--seeds", "100:102", "--days", "1", "--faults-per-hour", "10", "--calm", "kill")
    assert result.exit_code == 1
    assert "S01USDT:1m 2024-02-29T00:00Z" in result.output
    replay = "--seeds 101 --days 1 --faults-per-hour 10 --calm kill --timeline"
    assert f"replay: python -m candleactors.simulation {replay}" in result.output
    assert result.output.splitlines()[-1].split() == ["failed", "101"]


@pytest.mark.usefixtures("faked")
def test_shrinking_ends_with_the_smallest() -> None:
    result = call("--seeds", "101", "--streams", "1", "--shrink")
    assert result.exit_code == 1
    assert "still fails with 1 acts:" in result.output
    assert re.search(r"^replay: .* --seeds 101 --streams 1 --acts \d+ --timeline$", result.output, re.MULTILINE)


@pytest.mark.usefixtures("faked")
def test_ctrl_c_ends_with_the_report_so_far() -> None:
    result = call("--seeds", "64:70")
    assert result.exit_code == 130
    assert "interrupted\n4 seeds were not run\nseeds        2 run, 0 failed" in result.output


@pytest.mark.usefixtures("faked")
def test_the_timeline_is_printed() -> None:
    result = call("--seeds", "4", "--acts", "none", "--timeline")
    assert result.exit_code == 0
    assert result.output.count("reader-0   candle binance-spot:S01USDT:1m 2024-02-29T00:00Z 1.0") == 2


@pytest.mark.usefixtures("faked")
def test_fresh_seeds_are_named() -> None:
    result = call("--seeds", "1:3", "--fresh", "2")
    first, *_ = result.output.splitlines()
    fresh = first.removeprefix("fresh seeds: ").split()
    assert len(fresh) == 2
    assert all(f"seed {seed}" in result.output for seed in ("1", "2", *fresh))


@pytest.mark.usefixtures("faked")
def test_time_can_be_up_before_all_seeds_were_run() -> None:
    result = call("--seeds", "0:50", "--minutes", "0.0000001")
    assert result.exit_code == 0
    assert re.search(r"^(49|50) seeds were not run$", result.output, re.MULTILINE)


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("--seeds", "9:3"), '"9:3" is no range'),
        (("--seeds", "x"), '"x" is no range'),
        (("--seeds", "1:3", "--timeline"), "for a single seed"),
        (("--seeds", "1:3", "--acts", "1"), "for a single seed"),
        (("--acts", "0"), "no numbers of acts"),
        (("--acts", "1,b"), "no numbers of acts"),
        (("--acts", "100000"), "has no more than"),
        (("--cycles", "1:2"), "has no more than 1 cycles"),
    ],
)
def test_what_makes_no_sense_is_refused(arguments: tuple[str, ...], problem: str) -> None:
    result = call(*arguments)
    assert result.exit_code == 2
    assert problem in result.output


def test_real_processes_simulate_a_seed(tmp_path: Path) -> None:
    figures = tmp_path / "figures.json"
    done = subprocess.run(
        [*PROGRAM, "--seeds", "29", "--streams", "1", "--acts", "1-5", "--json", figures],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    (run,) = json.loads(figures.read_text())["runs"]
    assert run["seconds"] == 9600
    assert run["candles"] > 500
    assert run["breaches"] == []
    assert len(run["digest"]) == 32


def test_an_interrupt_leaves_no_files(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [*PROGRAM, "--seeds", "0:100", "--jobs", "2", "--streams", "40"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        start_new_session=True,
    )
    while not list(tmp_path.glob("candleactors-*/candleactors-*/candles.sqlite")):
        assert process.poll() is None
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does, to every process at once
    out, err = process.communicate()
    assert (process.returncode, err) == (130, "")
    assert "interrupted\n100 seeds were not run" in out
    assert list(tmp_path.iterdir()) == []


def test_a_process_that_dies_fails_its_seed_and_is_replaced() -> None:
    nothing = evolve(Case(5, Scale(streams=1)).plan(), acts=(), troubles=((10.0, 20.0),), peace_s=60.0)

    def plans() -> Iterator[Plan]:
        yield nothing
        workers.processes[0].kill()  # while the second process is still to be started
        yield evolve(nothing, seed=6)

    with Workers(2) as workers:
        found = {trial.outcome.seed: trial.outcome for trial in workers.attempts(plans())}
        processes = workers.processes
    assert str(found[5].breaches[0]) == "process at 0.000 s, event 0: the process died with status -9"
    assert found[6].ok
    assert found[6].seconds == 80
    assert not any(process.is_alive() for process in processes)


def test_a_failure_in_a_process_is_explained() -> None:
    wrong = evolve(Case(5, Scale(streams=1)).plan(), troubles=((10.0, 20.0),), peace_s=60.0)
    with Workers(1) as workers:
        (trial,) = workers.attempts([evolve(wrong, acts=(Dawdle(5.0, 7, 1.0),))])  # there is no seventh reader
    (breach,) = trial.outcome.breaches
    assert (breach.where, breach.position) == ("simulation", 0)
    assert "IndexError" in trial.outcome.failure
