"""Benchmarks: what a message costs from the socket to a subscriber. See ``docs/performance.md``."""
