"""The screen at every size: nothing sticks out, and what matters is there."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest
import trio
from attrs import evolve
from demo_runs import run
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console, Group

from candleactors.demo.plan import Options
from candleactors.demo.run import Demo
from candleactors.demo.screen import age, aligned, amount, draw, elapsed, sparkline
from candleactors.demo.snapshot import Camera, Snapshot
from candleactors.demo.view import line


@pytest.fixture(scope="module")
def shots(tmp_path_factory: pytest.TempPathFactory) -> list[Snapshot]:
    """Snapshots of a run with chaos, one each second, from the start into the stop."""
    taken: list[Snapshot] = []

    async def show(demo: Demo) -> None:
        camera = Camera(demo)
        while True:
            taken.append(camera.take())
            await trio.sleep(1)

    run(Options(seconds=12, symbols=2, chaos=True, seed=1), Path(tmp_path_factory.mktemp("demo")), show=show)
    return taken


def screen(shot: Snapshot, width: int, height: int, *, ascii_only: bool = False) -> list[str]:
    return [text.plain for text in draw(shot, width, height, ascii_only=ascii_only)]


@pytest.mark.parametrize(("width", "height"), [(20, 5), (40, 10), (80, 24), (100, 30), (140, 40), (300, 90)])
@pytest.mark.parametrize("ascii_only", [False, True])
def test_nothing_sticks_out(shots: list[Snapshot], width: int, height: int, ascii_only: bool) -> None:
    for shot in shots:
        lines = draw(shot, width, height, ascii_only=ascii_only)
        assert len(lines) <= height
        assert all(text.cell_len <= width for text in lines)
        assert not any("\n" in text.plain for text in lines)
        if ascii_only:
            assert all(text.plain.isascii() for text in lines)


def test_the_first_closed_candles_are_there_within_ten_seconds(shots: list[Snapshot]) -> None:
    shot = next(shot for shot in shots if shot.elapsed_s >= 9)
    assert all(each.last is not None and len(each.closes) > 1 for each in shot.lines)
    rows = [row for row in screen(shot, 140, 40) if "BTCUSDT" in row]
    assert [row.split()[:3] for row in rows] == [
        *(["spot", "BTCUSDT", timeframe] for timeframe in ("1s", "1m", "5m", "15m", "1h")),
        *(["usdm", "BTCUSDT", timeframe] for timeframe in ("1m", "5m", "15m", "1h")),
    ]
    assert all("█" in row and "▁" in row for row in rows)


def test_a_small_terminal_leaves_out_columns_and_pages(shots: list[Snapshot]) -> None:
    shot = shots[-1]
    wide, narrow = screen(shot, 140, 40), screen(shot, 80, 24)
    titles = ["venue", "symbol", "tf", "open", "high", "low", "close", "volume", "closes", "age", "from", "state"]
    assert titles in [row.split() for row in wide]
    assert [title for title in titles if title not in ("open", "volume")] in [row.split() for row in narrow]
    assert any(row.startswith("streams 1") or " of 18" in row for row in narrow)
    pages = {next(row for row in screen(evolve(shot, elapsed_s=6.0 * n), 80, 24) if " of 18" in row) for n in range(3)}
    assert pages >= {"streams 1 to 9 of 18", "streams 10 to 18 of 18"}


def test_the_head_says_how_it_goes(shots: list[Snapshot]) -> None:
    first, last = shots[0], shots[-1]
    assert screen(first, 140, 40)[0].startswith("candleactors demo · running 00:00 of 00:12 · chaos · 23:59:5")
    healthy = next(shot for shot in shots if shot.status.healthy)
    assert screen(healthy, 140, 40)[1].startswith("healthy · 18/18 streams confirmed · 2/2 connected · ")
    assert " 0 wrong · 0 duplicated · 0 out of order · " in screen(last, 140, 40)[2]
    wrong = evolve(last, verdict=evolve(last.verdict, wrong=2))
    assert " 2 wrong · " in screen(wrong, 140, 40)[2]
    waiting = evolve(last, phase="settling")
    assert "waiting for repairs" in screen(waiting, 140, 40)[0]


def test_faults_and_failures_are_told(shots: list[Snapshot]) -> None:
    assert any(shot.reconnects for shot in shots)
    text = "\n".join(screen(shots[-1], 140, 40))
    assert "binance-" in text.rpartition("\n\n")[2]
    assert "nothing has gone wrong yet" in "\n".join(screen(shots[0], 140, 40))


def test_without_colour_nothing_is_coloured(shots: list[Snapshot]) -> None:
    def printed(no_color: bool) -> str:
        console = Console(width=140, force_terminal=True, color_system="standard", no_color=no_color)
        with console.capture() as capture:
            console.print(Group(*draw(shots[-1], 140, 40)))
        return capture.get()

    assert "\x1b[32m" in printed(no_color=False)
    assert "\x1b[32m" not in printed(no_color=True)


def test_a_line_says_the_same_in_short(shots: list[Snapshot]) -> None:
    text = line(shots[-1])
    assert "18/18 streams confirmed" in text
    assert " 0 wrong, 0 duplicated, 0 out of order, " in text


def test_a_sparkline_spans_its_values() -> None:
    assert sparkline([1, 2, 3, 4, 5, 6, 7, 8], 8) == "▁▂▃▄▅▆▇█"
    assert sparkline([100, 1, 2], 2) == "▁█"
    assert sparkline([3, 3], 5) == "▁▁"
    assert sparkline([], 5) == ""
    assert sparkline([0, 1], 5, ascii_only=True) == "_@"


@given(st.lists(st.floats(-1e12, 1e12), max_size=50), st.integers(1, 60))
def test_a_sparkline_is_as_long_as_there_is_room_and_values(values: list[float], width: int) -> None:
    assert len(sparkline(values, width)) == min(len(values), width)


@given(st.decimals(0, 10**12, places=8), st.integers(6, 12))
def test_an_amount_fits_and_is_near(value: Decimal, width: int) -> None:
    text = amount(value, width)
    assert len(text) <= width
    scale = {"k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}.get(text[-1], 1)
    shown = Decimal(text.rstrip("kMGT")) * scale
    assert abs(shown - value) <= max(Decimal("0.06") * scale, value / 10, Decimal(10) ** (3 - width))


def test_prices_of_a_row_have_the_same_decimals() -> None:
    prices = [Decimal("67250.10000000"), Decimal("67251.00000000"), Decimal("67249.99000000")]
    assert aligned(prices, 9) == ["67250.10", "67251.00", "67249.99"]
    assert aligned([Decimal("100.00000000")], 9) == ["100"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "-"), (0, "0.0s"), (9.94, "9.9s"), (9.96, "10s"), (99, "99s"), (100, "1m"), (6000, "1h"), (3.6e6, "41d")],
)
def test_ages_are_short(seconds: float | None, text: str) -> None:
    assert age(seconds) == text


def test_elapsed_time_has_hours_where_there_are_any() -> None:
    assert [elapsed(s) for s in (0, 59.9, 61, 3661)] == ["00:00", "00:59", "01:01", "1:01:01"]
