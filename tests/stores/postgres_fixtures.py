"""The fixtures of tests that need PostgreSQL, for ``pytest_plugins``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from postgres_server import Database, Server


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Server]:
    """A PostgreSQL server for the whole run; tests that stop it start it again."""
    pytest.importorskip("psycopg", exc_type=ImportError)
    from postgres_server import programs, running

    folder = programs()
    if folder is None:
        pytest.skip(
            "PostgreSQL is not installed here: apt-get install postgresql, or name its folder of programs "
            "in CANDLEACTORS_POSTGRES"
        )
    with running(folder) as server:
        yield server


@pytest.fixture
def database(postgres_server: Server) -> Database:
    """An empty database."""
    return postgres_server.database()
