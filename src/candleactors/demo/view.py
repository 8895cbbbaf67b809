"""Views: a terminal full of a run, or a line about it now and then."""

from __future__ import annotations

import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Final

import trio
from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from candleactors.demo.notes import LogBox
from candleactors.demo.run import Demo
from candleactors.demo.screen import draw, elapsed
from candleactors.demo.snapshot import Camera, Snapshot

_FRAME_S: Final = 0.25
_FIRST_LINE_S: Final = 1.0
_LINE_S: Final = 5.0


class ScreenView:
    """A full-screen view on `console`, which must be a terminal.

    Frames are drawn and written in a worker thread: a terminal that takes nothing, because it is paused or far away,
    holds up the view and nothing else.
    """

    def __init__(self, console: Console, log: LogBox) -> None:
        self._console = console
        self._log = log
        self._live = Live(
            Text("starting the simulated markets"),
            console=console,
            screen=True,
            auto_refresh=False,
            redirect_stdout=False,
            redirect_stderr=False,
        )

    @contextmanager
    def on_screen(self) -> Iterator[None]:
        """Have the terminal for the length of a ``with`` block, and leave it as it was."""
        with self._live, _no_echo():
            yield

    async def show(self, demo: Demo) -> None:
        """Show `demo` until cancelled."""
        camera = Camera(demo)
        while True:
            self._log.empty_into(demo)
            await trio.to_thread.run_sync(self._draw, camera.take(), abandon_on_cancel=True)
            await trio.sleep(_FRAME_S)

    def _draw(self, snapshot: Snapshot) -> None:
        width, height = self._console.size
        lines = draw(snapshot, width, height, ascii_only=self._console.options.ascii_only)
        self._live.update(Group(*lines), refresh=True)


async def show_lines(demo: Demo) -> None:
    """Print a line about `demo` now and then, until cancelled; end the run when nobody reads them any more."""
    camera = Camera(demo)
    text, pause_s = f"dashboard at {demo.address}/" if demo.address else "", _FIRST_LINE_S
    while True:
        try:
            if text:
                await trio.to_thread.run_sync(partial(print, text, flush=True), abandon_on_cancel=True)
        except BrokenPipeError:
            demo.stop.asked.set()
            return
        await trio.sleep(pause_s)
        text, pause_s = line(camera.take()), _LINE_S


def line(shot: Snapshot) -> str:
    """Return a run at one moment, in one line."""
    venues, verdict = shot.status.venues, shot.verdict
    connected = sum(shard.connected for venue in venues for shard in venue.connections)
    parts = (
        f"{sum(venue.confirmed for venue in venues)}/{len(shot.lines)} streams confirmed",
        f"{connected}/{shot.connections} connected",
        f"{shot.closed_candles:,} candles",
        f"{shot.rest_repairs:,} by REST",
        f"{shot.reconnects:,} reconnects",
        f"{verdict.wrong:,} wrong",
        f"{verdict.duplicated:,} duplicated",
        f"{verdict.out_of_order:,} out of order",
        f"{verdict.lost:,} awaited",
    )
    return f"{elapsed(shot.elapsed_s)} {shot.phase}: {', '.join(parts)}"


@contextmanager
def _no_echo() -> Iterator[None]:
    """Keep keys that are pressed off the screen, and away from the shell afterwards."""
    if not sys.stdin.isatty():
        yield
        return
    terminal = sys.stdin.fileno()
    before = termios.tcgetattr(terminal)
    silent = [*before]
    silent[3] &= ~termios.ECHO
    termios.tcsetattr(terminal, termios.TCSANOW, silent)
    try:
        yield
    finally:
        termios.tcflush(terminal, termios.TCIFLUSH)
        termios.tcsetattr(terminal, termios.TCSANOW, before)
