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


def hurry(connection: psycopg.Connection[Any]) -> None:
    """Let what the transaction yet does take a moment at most.

    Whoever waits for a lock has everybody behind it who came later, readers included. A statement that would take
    longer raises `psycopg.errors.LockNotAvailable` or `psycopg.errors.QueryCanceled`.
    """
    connection.execute("SET LOCAL lock_timeout = '200ms'")
    connection.execute("SET LOCAL statement_timeout = '1s'")
