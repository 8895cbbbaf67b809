"""Runs one contestant against one blaster, each in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.klines import stream_names
from benchmarks.task import Task

ROOT = Path(__file__).resolve().parent.parent
TIMEOUT_S = 180


@dataclass(frozen=True)
class Setup:
    """What the blaster sends, and over what."""

    streams: int
    messages: int
    tls: bool = False
    pace: float = 0
    """Messages a second over all streams; 0 for as fast as the socket takes them."""
    boundary: bool = False
    """Send the close of a minute on every stream instead of a minute's course."""
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Certificates:
    authority: str
    server: str


@contextmanager
def certificates() -> Iterator[Certificates | None]:
    """Yield throwaway certificates for 127.0.0.1, or ``None`` where trustme is not installed."""
    try:
        import trustme
    except ImportError:
        yield None
        return
    with TemporaryDirectory() as directory:
        authority = trustme.CA()
        authority_file, server_file = Path(directory, "authority.pem"), Path(directory, "server.pem")
        authority.cert_pem.write_to_path(str(authority_file))
        authority.issue_cert("127.0.0.1", "localhost").private_key_and_cert_chain_pem.write_to_path(str(server_file))
        yield Certificates(str(authority_file), str(server_file))


def run_contestant(
    name: str, setup: Setup, certificates: Certificates | None, python: str = sys.executable
) -> dict[str, Any]:
    """Return the contestant's own figures, or ``{"skipped": reason}``."""
    if setup.tls and certificates is None:
        return {"skipped": "no TLS: trustme is not installed"}
    environment = dict(os.environ, PYTHONPATH=str(ROOT))
    blast = {
        "streams": setup.streams,
        "messages": setup.messages,
        "pace": setup.pace,
        "boundary": setup.boundary,
        "certificate": certificates.server if setup.tls and certificates else None,
    }
    blaster = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.blaster", json.dumps(blast)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=ROOT,
        env=environment,
        text=True,
    )
    try:
        assert blaster.stdout is not None
        port = json.loads(blaster.stdout.readline())["port"]
        task = Task(
            url=f"{'wss' if setup.tls else 'ws'}://127.0.0.1:{port}/stream",
            streams=stream_names(setup.streams),
            messages=-(-setup.messages // setup.streams) * setup.streams,
            authority=certificates.authority if setup.tls and certificates else None,
            options=setup.options,
        )
        if task.authority:
            environment["SSL_CERT_FILE"] = task.authority  # for peers that take no context
        contest = subprocess.run(
            [python, "-m", "benchmarks.contest", name, "-"],
            input=task.to_json(),
            capture_output=True,
            cwd=ROOT,
            env=environment,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
        lines = contest.stdout.strip().splitlines()
        if contest.returncode or not lines:
            error = contest.stderr.strip().splitlines()
            return {"skipped": f"failed: {error[-1] if error else 'no result'}"}
        result: dict[str, Any] = json.loads(lines[-1])
        if "skipped" not in result:
            result["last_write_ns"] = json.loads(blaster.stdout.readline())["last_write_ns"]
    except subprocess.TimeoutExpired:
        return {"skipped": f"no result within {TIMEOUT_S} s"}
    finally:
        blaster.kill()
        blaster.communicate()
    return result
