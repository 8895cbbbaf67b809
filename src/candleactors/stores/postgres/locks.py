"""How writers of one database take turns."""

from __future__ import annotations

from typing import Any, Final

import psycopg

WRITERS: Final = 0x63616E64
"""The advisory lock that a writer holds for a transaction."""


def take_turn(connection: psycopg.Connection[Any]) -> None:
    """Wait until no other writer is inside a transaction, and keep others out of one until ours ends.

    What gaps are left follows from the candles and from the gaps that are stored, and two transactions would not see
    each other's. Raises `psycopg.errors.LockNotAvailable` after ``lock_timeout``.
    """
    connection.execute("SELECT pg_advisory_xact_lock(%s)", [WRITERS])
