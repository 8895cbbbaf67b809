"""``candleactors demo`` as a process: its output, its exit status, and what it leaves behind."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
import trio
from attrs import evolve

from candleactors import cli
from candleactors.demo.judge import Verdict
from candleactors.demo.plan import Options
from candleactors.demo.report import Report

COMMAND = (sys.executable, "-c", "from candleactors.cli import main; main()", "demo")
REPORT = Report(
    verdict=Verdict(), seed=7, chaos=False, seconds=3, settle_s=0, stop_s=0, orderly=True, messages=0, connections=4,
    reconnects=0, history=0, rest_repairs=0, faults={},
)  # fmt: skip


def test_json_is_one_object_and_nothing_is_left(tmp_path: Path) -> None:
    done = subprocess.run(
        [*COMMAND, "--seconds", "3", "--symbols", "2", "--json"],
        env=os.environ | {"TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    record = json.loads(done.stdout)
    assert record["closed_candles"] > 18
    assert [record[name] for name in ("lost", "duplicated", "out_of_order", "wrong")] == [0, 0, 0, 0]
    assert record["seconds"] >= 3
    assert list(tmp_path.iterdir()) == []


def test_a_store_is_kept_and_never_mixed_with_another(tmp_path: Path) -> None:
    path = tmp_path / "demo.sqlite"
    arguments = [*COMMAND, "--seconds", "1", "--symbols", "1", "--store", str(path)]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert "\nverdict      right: every closed candle once, in order, equal to the market's own\n" in done.stdout
    assert path.stat().st_size > 0
    again = subprocess.run(arguments, capture_output=True, text=True, timeout=60, check=False)
    assert (again.returncode, again.stdout) == (2, "")
    assert again.stderr == f'candleactors: --store: "{path}" exists; simulated candles go into a new file only\n'


def test_the_view_ends_in_order_on_ctrl_c() -> None:
    ours, theirs = pty.openpty()
    env = os.environ | {"TERM": "xterm-256color", "COLUMNS": "120", "LINES": "30"}
    env.pop("NO_COLOR", None)
    process = subprocess.Popen([*COMMAND, "--symbols", "1"], stdin=theirs, stdout=theirs, stderr=theirs, env=env)
    os.close(theirs)
    shown = b""
    interrupted = False
    while chunk := _read(ours):
        shown += chunk
        if not interrupted and b"9/9 streams confirmed" in shown:
            process.send_signal(signal.SIGINT)
            interrupted = True
    os.close(ours)
    assert process.wait(30) == 0
    text = shown.decode()
    assert text.startswith("\x1b[?1049h")
    before, _, after = text.partition("\x1b[?1049l")
    assert "BTCUSDT" in before
    assert "every closed candle once, in order" in after
    assert "shutdown" in after
    assert "Traceback" not in text


def _read(terminal: int) -> bytes:
    """Return what the process has written; nothing once it has closed the terminal."""
    if not select.select([terminal], [], [], 60)[0]:
        raise AssertionError("the demo says nothing for a minute")
    try:
        return os.read(terminal, 1 << 16)
    except OSError:  # Linux: all writers are gone
        return b""


def test_sigterm_ends_it_like_ctrl_c() -> None:
    command = [*COMMAND, "--symbols", "1", "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    address = process.stdout.readline().removeprefix("dashboard at ").strip()
    assert process.stdout.readline().startswith("00:0")
    assert len(httpx.get(f"{address}api/streams").json()["streams"]) == 9, "the dashboard's server answers"
    process.terminate()
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "")
    assert out.splitlines()[-1].startswith("shutdown     in order, in ")


@pytest.mark.parametrize("problem", ["lost", "duplicated", "out_of_order", "wrong"])
def test_whatever_is_broken_fails(
    problem: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    verdict = Verdict(**{problem: 1})  # type: ignore[arg-type]  # all four are counts
    report = evolve(REPORT, verdict=verdict)
    asked: list[Options] = []

    async def run_demo(options: Options, *_: object) -> Report:
        asked.append(options)
        await trio.lowlevel.checkpoint()
        return report

    monkeypatch.setattr("candleactors.demo.run.run_demo", run_demo)
    monkeypatch.setattr("candleactors.logs.set_up", lambda *_: None)
    monkeypatch.setattr("sys.argv", ["candleactors", "demo", "--json", "--chaos", "--seed", "5"])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert caught.value.code == 1
    assert json.loads(capsys.readouterr().out)[problem] == 1
    assert asked == [Options(seconds=20, seed=5, chaos=True)]
