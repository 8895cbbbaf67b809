"""A candle feed that never misses, never repeats and never lies about a candle."""

from __future__ import annotations
