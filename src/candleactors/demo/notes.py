"""Log lines on their way into the view, which has the terminal for itself."""

from __future__ import annotations

import json
from collections import deque
from io import StringIO

from candleactors.demo.run import Demo


class LogBox(StringIO):
    """Where structured logs in JSON go instead of stderr. Safe to write to from any thread."""

    def __init__(self) -> None:
        super().__init__()
        self._lines: deque[str] = deque(maxlen=200)

    def write(self, text: str) -> int:
        """Take in a line."""
        self._lines.append(text)
        return len(text)

    def empty_into(self, demo: Demo) -> None:
        """Turn what was logged into notes of the run."""
        while self._lines:
            if line := self._lines.popleft().strip():
                level, text = _told(line)
                demo.note(level, text)


def _told(line: str) -> tuple[str, str]:
    """Return the level of a log line, and what it says in few words."""
    try:
        event = json.loads(line)
    except ValueError:
        return "warning", line
    about = str(event.get("about") or event.get("library") or "")
    what = event.get("error") or event.get("problem") or event.get("cause") or event.get("event")
    wait_s = event.get("again_in_s")
    again = f", again in {wait_s:.1f} s" if isinstance(wait_s, (int, float)) else ""
    place = about.removesuffix("/connection")
    return str(event.get("level", "warning")), f"{place}: {what}{again}" if place else f"{what}{again}"
