"""A progress bar on stderr, if that is a terminal."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Advance = Callable[[int, int, str], None]
"""`(done, total, description)`"""


@contextmanager
def bar(description: str) -> Iterator[Advance]:
    """Yields a function that updates the bar."""
    if not sys.stderr.isatty():
        yield lambda _done, _total, _description: None
        return
    from rich.console import Console  # noqa: PLC0415
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn  # noqa: PLC0415

    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(description, total=None)
        yield lambda done, total, text: progress.update(task, completed=done, total=total, description=text)


@contextmanager
def steps_bar(description: str) -> Iterator[Callable[[str, int, int], None]]:
    """Yields a function `(step, done, total)` that updates the bar: `copying pages: 10 of 20`."""
    with bar(description) as advance:
        yield lambda step, done, total: advance(done, total, f"{step}: {done:,} of {total:,}")
