"""Thin shells around `core`: receive, decide purely, perform the effects."""
