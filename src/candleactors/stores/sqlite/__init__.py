"""The embedded store: one SQLite file.

Durability: the file is in WAL mode with ``synchronous=NORMAL``. What `SqliteStore.write` has returned for survives the
death of the process at any instant, ``kill -9`` included: the write-ahead log is in the system's hands by then. A power
cut may take the last transactions, whole ones and in order, and leaves the file sound; the feed fetches what is missing
at its next start. ``FULL`` would wait for the disk on every commit to save that.
"""

from __future__ import annotations

from candleactors.stores.sqlite.store import SqliteStore, condition, open_sqlite

__all__ = ["SqliteStore", "condition", "open_sqlite"]
