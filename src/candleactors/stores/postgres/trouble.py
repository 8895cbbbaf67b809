"""What went wrong at the server, said in a line that a user can act on, and never with the password in it."""

from __future__ import annotations

from typing import Final
from urllib.parse import quote

import psycopg

_LONGEST: Final = 240
_PROBLEMS: Final = {
    "0A000": "the tables were changed meanwhile",
    "08": "the connection broke",
    "23514": "a partition is missing",
    "25006": "the database can only be read; is it a standby?",
    "28": "the server refuses the login",
    "3D000": "there is no such database",
    "3F000": "the tables are gone",
    "40": "the server undid the transaction",
    "42501": "a permission is missing",
    "42P01": "the tables are gone",
    "42P07": "a partition that was detached is in the way",
    "53100": "the disk of the server is full",
    "53300": "the server has no connection left",
    "53": "the server lacks memory or space",
    "55P03": "another session holds the lock for too long",
    "57014": "the statement took too long",
    "57P": "the server is stopping or starting",
    "58": "the server cannot read or write its files",
    "XX": "the server found damage or a fault of its own",
}
"""By how SQLSTATE begins, the longer ones first where both fit."""
_NOT_OPERATIONAL: Final = frozenset({"0A000", "23514", "3F000", "42501", "42P01", "42P07"})
"""What psycopg takes for a mistake of ours, and is the state that somebody left the database in."""


class Damaged(Exception):
    """A row that nothing of ours has written."""


def explain(error: BaseException) -> str | None:
    """Return what a user can do about `error` in one line, or ``None`` where the server is not to blame."""
    if isinstance(error, Damaged):
        return f"{error} is damaged; delete the row, candles are fetched again"
    if not isinstance(error, psycopg.Error):
        return None
    state = error.sqlstate or ""
    # A violated check of a table names it; a row that fits no partition names none.
    foreign = state in _NOT_OPERATIONAL and not (state == "23514" and error.diag.constraint_name)
    if not foreign and not isinstance(error, psycopg.OperationalError | psycopg.InterfaceError | psycopg.InternalError):
        return None
    said = " ".join((error.diag.message_primary or str(error)).split())
    if len(said) > _LONGEST:
        said = said[: _LONGEST - 1] + "…"
    for prefix in sorted(_PROBLEMS, key=len, reverse=True):
        if state.startswith(prefix):
            return f"{_PROBLEMS[prefix]} ({said})"
    return said or "the connection broke"


def is_refusal(error: BaseException) -> bool:
    """Whether a server that is there asked for a password and then refused: waiting does not help."""
    # A server that is starting, stopping or full says so before it asks. There is no SQLSTATE to tell by.
    attempt = error.pgconn if isinstance(error, psycopg.Error) else None
    return attempt is not None and (attempt.used_password or attempt.needs_password)


def without(password: str | None, text: str) -> str:
    """Return `text` without `password`, plain or as a URL holds it."""
    for secret in filter(None, (password, password and quote(password, safe=""))):
        text = text.replace(secret, "…")
    return text
