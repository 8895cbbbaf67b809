"""What the daemon asks of its process before it runs a feed."""

from __future__ import annotations

import resource
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import trio

from candleactors import daemon
from candleactors.errors import ConfigError

ENDLESS = resource.RLIM_INFINITY


@pytest.mark.parametrize(
    ("soft", "hard", "after"),
    [
        (1_024, 20_000, 20_000),
        (1_024, 524_288, 65_536),
        (1_024, ENDLESS, 65_536),
        (1_024, 1_024, None),
        (100_000, 524_288, None),
        (ENDLESS, ENDLESS, None),
    ],
)
def test_the_limit_of_open_files_is_raised_as_far_as_it_may_be_and_never_lowered(
    monkeypatch: pytest.MonkeyPatch, soft: int, hard: int, after: int | None
) -> None:
    asked: list[tuple[int, tuple[int, int]]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: (soft, hard))
    monkeypatch.setattr(resource, "setrlimit", lambda which, limits: asked.append((which, limits)))
    daemon.allow_open_files()
    assert asked == ([] if after is None else [(resource.RLIMIT_NOFILE, (after, hard))])


@pytest.mark.parametrize("refusal", [ValueError("current limit exceeds maximum limit"), PermissionError(1, "no")])
def test_a_system_that_refuses_more_open_files_is_no_error(monkeypatch: pytest.MonkeyPatch, refusal: Exception) -> None:
    def refuse(*_: object) -> None:
        raise refusal

    monkeypatch.setattr(resource, "getrlimit", lambda _: (256, ENDLESS))
    monkeypatch.setattr(resource, "setrlimit", refuse)
    daemon.allow_open_files()


def test_a_process_that_is_allowed_more_open_files_takes_them() -> None:
    code = (
        "import resource\n"
        "from candleactors.daemon import allow_open_files\n"
        "_, hard = resource.getrlimit(resource.RLIMIT_NOFILE)\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))\n"
        "allow_open_files()\n"
        "print(*resource.getrlimit(resource.RLIMIT_NOFILE), hard)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    soft, hard, before = map(int, done.stdout.split())
    assert hard == before
    assert soft == (65_536 if hard == ENDLESS else min(65_536, hard))


async def test_the_socket_of_a_feed_that_answers_is_not_taken_and_a_dead_one_is(tmp_path: Path) -> None:
    path = tmp_path / "candles.sock"
    async with daemon._listening(path):
        with pytest.raises(ConfigError, match="another feed answers at"):
            async with daemon._listening(path):
                pytest.fail("two feeds at one socket")
        assert path.is_socket(), "it is the first one's still"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    async with daemon._listening(path), await trio.open_unix_socket(str(path)):
        pass
    assert not path.exists()
