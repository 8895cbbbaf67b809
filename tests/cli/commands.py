"""Runs the command line in this process, or in one of its own."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import threading
from contextlib import suppress

import pytest
from attrs import frozen

from candleactors import cli


@frozen
class Outcome:
    """What a command left behind."""

    status: int
    out: str
    err: str


class Shell:
    """Calls ``candleactors`` with arguments, its output captured."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch = monkeypatch
        self._capsys = capsys

    def __call__(self, *arguments: object) -> Outcome:
        self._monkeypatch.setattr("sys.argv", ["candleactors", *map(str, arguments)])
        with pytest.raises(SystemExit) as caught:
            cli.main()
        captured = self._capsys.readouterr()
        assert isinstance(caught.value.code, int)
        return Outcome(caught.value.code, captured.out, captured.err)


def with_stderr_on_a_terminal(*arguments: object) -> Outcome:
    """Return what ``candleactors`` with `arguments` leaves behind if its stderr is a terminal, and its stdout none."""
    ours, theirs = pty.openpty()
    shown = bytearray()

    def watch() -> None:
        with open(ours, "rb", buffering=0) as terminal, suppress(OSError):  # an error is how Linux ends a terminal
            while read := terminal.read(1 << 16):
                shown.extend(read)

    watcher = threading.Thread(target=watch)
    watcher.start()
    done = subprocess.run(
        [sys.executable, "-c", "from candleactors.cli import main; main()", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=theirs,
        text=True,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "120"},
        check=False,
    )
    os.close(theirs)
    watcher.join()
    return Outcome(done.returncode, done.stdout, shown.decode())
