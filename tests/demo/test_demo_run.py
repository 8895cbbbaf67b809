"""Whole runs of the demo: what the report says, and whether it can say anything else."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
from demo_runs import run

from candleactors.demo.judge import Judge, Verdict
from candleactors.demo.plan import Options
from candleactors.demo.report import Report
from candleactors.demo.run import SETTLE_S, Demo
from candleactors.model import Candle, Event
from candleactors.sim import RULES

TIMEFRAMES = 5 + 4  # spot has 1s as well


def test_a_calm_run_receives_everything(tmp_path: Path) -> None:
    report = run(Options(seconds=20, symbols=3), tmp_path)
    verdict = report.verdict
    assert verdict == Verdict(streams=3 * TIMEFRAMES, closed_candles=verdict.closed_candles)
    # All timeframes close once, at the full hour, 1s candles every second.
    assert verdict.closed_candles - report.history >= 3 * TIMEFRAMES + 3 * 18
    assert report.history > 3 * TIMEFRAMES * 12
    assert (report.ok, report.orderly, report.reconnects, report.faults) == (True, True, 0, {})
    assert report.connections == 2
    assert report.messages > 0


def test_every_venue_at_once(tmp_path: Path) -> None:
    report = run(Options(seconds=75, symbols=2, venues=tuple(RULES)), tmp_path)
    assert report.ok, report
    assert (report.orderly, report.reconnects, report.faults) == (True, 0, {})
    assert report.connections >= len(RULES)
    assert report.verdict.gaps == 0


@pytest.mark.parametrize("seed", range(4))
def test_chaos_costs_nothing(tmp_path: Path, seed: int) -> None:
    report = run(Options(seconds=20, symbols=3, chaos=True, seed=seed), tmp_path)
    assert report.ok, report
    assert report.orderly
    assert report.reconnects > 2
    assert report.rest_repairs > 3
    assert report.faults.keys() >= {"drop", "silence", "close", "delay"}


def test_ten_minutes_of_chaos_cost_nothing(tmp_path: Path) -> None:
    report = run(Options(seconds=600, symbols=1, chaos=True, seed=11), tmp_path)
    assert report.ok, report
    assert report.verdict.closed_candles > 600


def test_a_run_without_an_end_goes_on_until_it_is_stopped(tmp_path: Path) -> None:
    report = run(Options(symbols=1), tmp_path, stop_after_s=12.5)
    assert report.seconds == pytest.approx(12.5)
    assert report.ok
    assert not report.hurried


def test_what_a_subscriber_never_got_is_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    take = Judge.take
    swallowed: list[Event] = []

    def forgetful(judge: Judge, event: Event) -> None:
        if isinstance(event, Candle) and event.source == "ws" and not swallowed:
            swallowed.append(event)
        else:
            take(judge, event)

    monkeypatch.setattr(Judge, "take", forgetful)
    report = run(Options(seconds=12, symbols=1), tmp_path)
    assert (report.verdict.lost, report.ok) == (1, False)
    assert report.settle_s == pytest.approx(SETTLE_S)  # it might still have come
    assert report.record()["lost"] == 1


def test_whoever_is_in_a_hurry_does_not_wait_for_repairs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Verdict, "settled", property(lambda verdict: False))

    async def impatient(demo: Demo) -> None:
        await trio.sleep(12)  # ten until it waits for repairs, two more until it is told not to
        hurry.set()
        await trio.sleep_forever()

    hurry = trio.Event()
    report = run(Options(seconds=10, symbols=1), tmp_path, show=impatient, hurry=hurry)
    assert report.hurried
    assert report.settle_s == pytest.approx(2)
    assert report.ok
    assert "up to the last candle of each stream" in report.summary()[0][1]


def test_the_record_has_the_documented_keys(tmp_path: Path) -> None:
    record = run(Options(seconds=5, symbols=1, seed=42), tmp_path).record()
    assert record.keys() >= {
        *("ok", "closed_candles", "lost", "duplicated", "out_of_order", "wrong", "gaps", "revisions", "streams"),
        *("reconnects", "rest_repairs", "seconds", "seed", "faults", "messages", "examples"),
    }
    assert (record["ok"], record["seed"], record["examples"]) == (True, 42, [])


def test_the_summary_says_what_is_broken() -> None:
    verdict = Verdict(streams=2, closed_candles=10, lost=3, wrong=1, examples=("lost: a:b:1m 2026-01-01 00:00:00",))
    report = Report(
        verdict=verdict, seed=7, chaos=True, seconds=20, settle_s=15, stop_s=10, orderly=False, messages=1_000,
        connections=2, reconnects=1, history=4, rest_repairs=0, faults={"drop": 2, "silence": 3},
    )  # fmt: skip
    summary = dict(report.summary())
    assert summary["verdict"] == "broken: 3 lost, 1 wrong"
    assert summary["run"] == "20.0 s, seed 7, chaos, then waited 15.0 s for repairs"
    assert summary["received"].endswith("4 of history, 6 since the start")
    assert summary["faults"] == "3 silence, 2 drop"
    assert summary["shutdown"] == "cut short, in 10.00 s"
    assert summary["example"] == verdict.examples[0]
