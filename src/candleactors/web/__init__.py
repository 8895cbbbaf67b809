"""The web side of a feed: HTTP API, live candles as server-sent events, metrics, and the dashboard."""
