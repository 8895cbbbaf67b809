from __future__ import annotations

from pathlib import Path

import pytest
from commands import Shell


@pytest.fixture
def candleactors(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Shell:
    """The command line, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return Shell(monkeypatch, capsys)
