"""The pytest plugin, in pytest runs of a user's own; and the examples of docs/testing.md, which are such."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "docs" / "examples"


class Project:
    """A user's project in an empty folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "pytest.ini").write_text("[pytest]\ntrio_mode = true\nfilterwarnings = error\n")

    def pytest(self, *arguments: str, file: str | None = None) -> str:
        """Run pytest, on a test file of this text if there is one, and return its output."""
        if file is not None:
            (self.root / "test_mine.py").write_text(file)
        # A development install that is older than the plugin does not know of it yet.
        plugin = [] if entry_points(group="pytest11", name="candleactors") else ["-p", "candleactors.testing.plugin"]
        command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *plugin, *arguments]
        return subprocess.run(command, cwd=self.root, capture_output=True, text=True, check=False).stdout


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


@pytest.mark.parametrize("name", ["test_my_aggregation.py", "test_my_strategy.py"])
def test_the_examples_run(project: Project, name: str) -> None:
    shutil.copy(EXAMPLES / name, project.root)
    output = project.pytest("-q", name)
    assert re.search(r"^\d+ passed in", output, re.MULTILINE), output


def test_the_example_finds_the_usual_mistake(project: Project) -> None:
    """A constituent without trades must not touch open, high and low."""
    text = (EXAMPLES / "test_my_aggregation.py").read_text()
    mistaken = text.replace(" if candle.trades or candle.volume]", "]")
    assert mistaken != text
    # That it is found counts here, not how small the example is.
    profile = "import hypothesis as h; h.settings.register_profile('quick', phases=[h.Phase.generate])"
    (project.root / "conftest.py").write_text(profile)
    output = project.pytest("-q", "-k", "equal_the_reference", "--hypothesis-profile=quick", file=mistaken)
    assert "1 failed" in output
    assert "assert my_bars(candles, timeframe) == expected" in output


FAILING = """
import trio

async def test_async(simulated_feed, autojump_clock):
    async with simulated_feed() as world:
        await trio.sleep(60)
        assert world.seed == "async"

def test_sync(simulated_feed):
    async def body(world):
        await trio.sleep(60)
        return world.seed
    assert simulated_feed.run(body) == "sync"

def test_chosen(simulated_feed):
    async def body(world):
        return world.seed
    assert simulated_feed.run(body, seed=5) == "chosen"
"""


def test_a_failure_names_its_seed_and_how_to_replay_it(project: Project) -> None:
    output = project.pytest(file=FAILING)
    replays = re.findall(r'^replay: pytest "(test_mine.py::\w+)" (--candleactors-seed=(\d+))$', output, re.MULTILINE)
    assert [test for test, _, _ in replays] == ["test_mine.py::test_async", "test_mine.py::test_sync"]
    assert len({seed for _, _, seed in replays}) == 2
    assert "simulated feed: seed 5\n" in output
    again = project.pytest(replays[1][0], "--candleactors-seed=123")
    assert "assert 123 == 'sync'" in again
    assert project.pytest(*replays[0][:2]).count(f"simulated feed: seed {replays[0][2]}") == 2  # section and note


def test_who_does_not_use_it_does_not_pay_for_it(project: Project) -> None:
    seen = """
import sys

def test_nothing_large_was_imported():
    ours = [name for name in sys.modules if name.startswith("candleactors")]
    assert sorted(ours) == ["candleactors", "candleactors.testing", "candleactors.testing.plugin"]
    assert not {"httpx", "structlog", "msgspec", "wsproto", "sqlite3"} & set(sys.modules)
"""
    output = project.pytest("-q", "-W", "error", file=seen)
    assert "1 passed" in output, output


def test_the_option_explains_itself(project: Project) -> None:
    assert re.search(r"--candleactors-seed=SEED\s+Seed of simulated feeds", project.pytest("--help"), re.IGNORECASE)
