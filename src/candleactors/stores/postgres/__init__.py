"""The PostgreSQL store, in the schema ``market_data``; needs the extra ``postgres``.

Durability: what `PostgresStore.write` has returned for is committed, and survives whatever the server's own settings
promise; with those it comes with, a power cut included. A call that fails while the server is committing may have been
committed all the same. That is harmless: writing the same again changes nothing.
"""

from __future__ import annotations

from candleactors.stores.postgres.connection import Patience
from candleactors.stores.postgres.store import PostgresStore, open_postgres

__all__ = ["Patience", "PostgresStore", "open_postgres"]
