"""``candleactors status``: ask a running feed over its Unix socket."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any, Final

import click

from candleactors.cli import render
from candleactors.cli.options import settings_from
from candleactors.errors import CandleactorsError

_TIMEOUT_S: Final = 5.0
_MAX_ANSWER_BYTES: Final = 64 << 20


@click.command()
@click.option("--config", type=click.Path(path_type=Path), help="Take the socket from this configuration.")
@click.option("--socket", "path", type=click.Path(path_type=Path), help="The socket itself.")
@click.option("--json", "as_json", is_flag=True, help="Print the answer as it came, one JSON object.")
def status(config: Path | None, path: Path | None, as_json: bool) -> None:
    """Ask a running feed for its symbols, subscriptions, connections, health and repairs.

    The feed is found by its socket, which lies beside its store. Exit status 1 if none answers.
    """
    if config is not None and path is not None:
        raise click.UsageError("--config and --socket exclude each other")
    answer = _ask(path or settings_from(config).socket_path)
    if as_json:
        click.echo(json.dumps(answer, ensure_ascii=False))
    else:
        render.status(answer)


def _ask(path: Path) -> dict[str, Any]:
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(_TIMEOUT_S)
            connection.connect(str(path))
            connection.sendall(b"status\n")
            answer = _read_line(connection)
    except (FileNotFoundError, ConnectionRefusedError):
        raise CandleactorsError(f"no feed answers at {path}; is it running, and with this configuration?") from None
    except TimeoutError:
        raise CandleactorsError(f"the feed at {path} did not answer within {_TIMEOUT_S:g} s") from None
    except OSError as error:
        raise CandleactorsError(f"cannot ask the feed at {path}: {error.strerror or error}") from None
    try:
        status = json.loads(answer)
    except ValueError:
        status = None
    if not isinstance(status, dict):
        raise CandleactorsError(f"what answers at {path} is not a feed")
    return status


def _read_line(connection: socket.socket) -> bytes:
    answer = bytearray()
    while b"\n" not in answer and len(answer) <= _MAX_ANSWER_BYTES:
        received = connection.recv(1 << 16)
        if not received:
            break
        answer += received
    return bytes(answer)
