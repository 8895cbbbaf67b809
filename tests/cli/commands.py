"""Runs the command line in this process."""

from __future__ import annotations

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
