"""Durable candles: `open_store` opens what the settings name, `open_feed_store` does so for a feed."""

from __future__ import annotations

from candleactors.stores.opening import open_feed_store, open_store

__all__ = ["open_feed_store", "open_store"]
