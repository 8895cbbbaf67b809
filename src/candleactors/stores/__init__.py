"""Durable candles."""
