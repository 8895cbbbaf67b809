"""Whatever the API's description allows is answered as it says, and whatever it forbids is refused."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from feed_process import running_feed, running_simulator

pytestmark = pytest.mark.api

ENDLESS = "/api/candles/stream"
"""An answer without an end is nothing to wait for: its parameters are tested in tests/web/test_live.py."""

CONFIG = """
[checks.negative_data_rejection]
expected-statuses = ["400", "401", "403", "404", "405", "406", "413", "415", "422"]

[checks.positive_data_acceptance]
expected-statuses = ["2xx", "401", "403", "404", "413"]
"""
"""What is longer than the server takes is refused for that, whatever it says."""


def ask_everything(folder: Path, origin: str, *more: str) -> None:
    pytest.importorskip("schemathesis", reason="run with nox -s api")
    (folder / "schemathesis.toml").write_text(CONFIG)
    examples = os.environ.get("CANDLEACTORS_API_EXAMPLES", "40")
    command = [
        *(sys.executable, "-m", "schemathesis.cli", "run", f"{origin}/openapi.json"),
        *("--checks", "all", "--max-examples", examples, "--exclude-path", ENDLESS, "--no-color", *more),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=110, check=False, cwd=folder)
    assert done.returncode == 0, f"{done.stdout[-6_000:]}{done.stderr[-2_000:]}"


def test_everything_that_the_description_allows(tmp_path: Path) -> None:
    with running_simulator() as simulator, running_feed(tmp_path, simulator) as feed:
        ask_everything(tmp_path, feed.origin)
        assert feed.get("healthz")["status"] == "ok"


def test_with_a_token(tmp_path: Path) -> None:
    token = "0123456789abcdef"
    with running_simulator() as simulator, running_feed(tmp_path, simulator, token=token) as feed:
        ask_everything(tmp_path, feed.origin, "--header", f"Authorization: Bearer {token}")
