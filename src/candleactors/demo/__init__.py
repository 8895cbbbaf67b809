"""The demo: simulated venues and the real feed in one process, a judge that knows the truth, and a terminal view."""
