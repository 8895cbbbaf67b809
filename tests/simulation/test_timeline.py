"""Timelines: what a person needs to see of a trace."""

from __future__ import annotations

import pytest

from candleactors.sim import Fault, FaultKind
from candleactors.simulation.acts import Kill, Strike
from candleactors.simulation.case import Case, parsed, part, written
from candleactors.simulation.plan import CYCLE_S, Scale, draw
from candleactors.simulation.timeline import clock, course, described, readable, spelled

START_MS = 1_709_163_030_000
STREAM = "binance-spot:S01USDT:1m"
OTHER = "binance-spot:S02USDT:1m"


def line(at_s: float, kind: str, text: str) -> str:
    return f"{at_s:12.3f} {kind:<10} {text}"


def test_a_line_says_when_in_both_ways() -> None:
    text = readable(line(3_725.5, "reader-0", f"candle {STREAM} 1709164800000 1.0"), START_MS)
    assert text == f"01:02:05.500  02-29 00:32:35Z  reader-0   candle {STREAM} 2024-02-29T00:00Z 1.0"


def test_a_line_without_text_is_one() -> None:
    assert readable(line(7_200, "peace", ""), START_MS) == "02:00:00.000  02-29 01:30:30Z  peace"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("gap 1709164800000..1709164859999 late", "gap 2024-02-29T00:00Z..2024-02-29T00:00:59.999Z late"),
        ("1709164830000", "2024-02-29T00:00:30Z"),
        (
            "volume 1709164800000.5 17091648000001 1.1709164800000",
            "volume 1709164800000.5 17091648000001 1.1709164800000",
        ),
    ],
)
def test_only_instants_become_dates(text: str, expected: str) -> None:
    assert spelled(text) == expected


def test_seconds_become_hours() -> None:
    assert clock(360_000.0004) == "100:00:00.000"
    assert clock(59.9996) == "00:01:00.000"


def test_the_course_of_a_breach_is_about_its_candle() -> None:
    lines = [
        line(1, "act", "a kill"),
        line(2, "reader-0", f"candle {OTHER} 1709164800000 1"),
        line(3, "reader-0", f"gap {STREAM} 1709164740000..1709164860000 late"),
        line(4, "reader-1", f"gap {STREAM} 1709164740000..1709164860000 late"),
        *(line(5 + n, "reader-0", f"candle {STREAM} {1709164920000 + n * 60_000} 1") for n in range(20)),
        line(30, "BREACH", f"peace: reader-0: {STREAM} 1709164800000 is still missing"),
        line(31, "log", "debug child stopped"),
    ]
    chosen = course(lines, len(lines) - 2)
    assert chosen == (lines[0], lines[2], *lines[-8:-1])


def test_the_course_of_another_breach_is_what_was_last() -> None:
    lines = [line(n, "log", f"line {n}") for n in range(20)]
    assert course(lines, 10) == tuple(lines[4:11])
    assert course(lines, 2) == tuple(lines[:3])


def test_acts_are_described_by_what_is_not_usual() -> None:
    strike = Strike(17.0, "binance-spot", Fault(FaultKind.HALT, duration_s=3.14159, symbol="S01USDT"))
    assert described(strike) == "halt binance-spot duration_s=3.142 symbol=S01USDT"
    assert described(Kill(1.0, 2.5)) == "kill down_s=2.5"


@pytest.mark.parametrize("numbers", [(), (1,), (3, 4, 5, 7), (1, 3, 5, 6)])
def test_numbers_are_read_as_they_are_written(numbers: tuple[int, ...]) -> None:
    assert parsed(written(numbers)) == numbers


def test_numbers_are_written_in_runs() -> None:
    assert written((3, 4, 5, 7)) == "3-5,7"
    assert written(()) == "none"


def test_a_part_begins_with_its_first_trouble() -> None:
    whole = draw(3, Scale(days=3 * CYCLE_S / 86_400, streams=2))
    middle = part(whole, tuple(range(1, len(whole.acts) + 1)), 1, 2)
    assert middle.start_ms == whole.start_ms + round(CYCLE_S * 1000)
    assert middle.troubles == (whole.troubles[0],)
    assert middle.span_s == CYCLE_S
    told = [act for act in whole.acts if CYCLE_S <= act.at_s < 2 * CYCLE_S]
    assert [act.at_s for act in middle.acts] == [pytest.approx(act.at_s - CYCLE_S) for act in told]


def test_a_case_narrowed_is_the_part_that_was_found() -> None:
    case = Case(3, Scale(days=3 * CYCLE_S / 86_400, streams=2), cycles=(1, 3))
    plan = case.plan()
    narrowed = case.narrowed((2, 5), (1, 2) if plan.acts[1].at_s >= CYCLE_S else (0, 1))
    assert narrowed.plan().acts == (plan.acts[1], plan.acts[4])
    assert narrowed.command().endswith(f"--streams 2 --cycles 1:2 --acts {written(narrowed.numbers())}")
    assert Case(9).command() == "python -m candleactors.simulation --seeds 9"
