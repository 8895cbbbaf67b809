"""Durable candles: `open_store` opens what the settings name."""

from __future__ import annotations

from candleactors.stores.opening import open_store

__all__ = ["open_store"]
