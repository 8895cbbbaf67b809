"""A progress bar on stderr, where that is a terminal; nothing otherwise."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol


class Bar(Protocol):
    """What is told of the progress."""

    def __call__(self, done: int, rows: int, doing: str, *, total: int | None = None) -> None:
        """Show that `done` of the work is done, `rows` rows so far, and what is being done now.

        `total` is how much there is in all, where that was not known before.
        """


@contextmanager
def progress(total: int, *, shown: bool = True) -> Iterator[Bar]:
    """Show a bar with the rate and the time left while the body runs, and take it away after it."""
    if not shown or not sys.stderr.isatty():
        yield _nothing
        return
    # Late, so that a command without a bar need not wait for it.
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    if console.is_dumb_terminal:
        yield _nothing
        return
    bar = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[rate]}", markup=False),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        redirect_stdout=False,  # or what is written there would land on the terminal
        redirect_stderr=False,
    )
    with bar:
        task = bar.add_task("", total=total, rate="")

        def show(done: int, rows: int, doing: str, *, total: int | None = None) -> None:
            elapsed_s = bar.tasks[0].elapsed
            rate = f"{rows / elapsed_s:,.0f} rows/s" if elapsed_s and rows else ""
            bar.update(task, completed=done, total=total, description=doing, rate=rate)

        yield show


def _nothing(done: int, rows: int, doing: str, *, total: int | None = None) -> None:
    pass
