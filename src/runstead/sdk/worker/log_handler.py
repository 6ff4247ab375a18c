"""A handler of the logging module that writes the records of a run to that run's log."""

import contextvars
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, Protocol

from runstead.sdk.models.lease import ClaimedRun

FORMAT: Final = "%(asctime)s.%(msecs)03dZ %(levelname)s [%(place)s] %(name)s: %(message)s"


class RunLog(Protocol):
    @property
    def run(self) -> ClaimedRun: ...

    def skips_log(self) -> bool: ...

    def place(self) -> str: ...

    def add_log_line(self, line: str) -> None: ...


#: The log of the run that executes here. Tasks and threads that a handler starts inherit it.
_current: contextvars.ContextVar[RunLog | None] = contextvars.ContextVar("log", default=None)


class RunLogHandler(logging.Handler):
    """Writes each record to the log of the run that made it, once across replays. Its level and formatter can be changed.

    The formatter gets the attribute `place`: the attempt, and the step if the record is from a step.
    """

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        formatter = logging.Formatter(FORMAT, "%Y-%m-%dT%H:%M:%S")
        formatter.converter = time.gmtime
        self.setFormatter(formatter)

    def emit(self, record: logging.LogRecord) -> None:
        log = _current.get()
        if log is not None and not log.skips_log():
            try:
                record.place = log.place()
                log.add_log_line(self.format(record))
            except Exception:  # noqa: BLE001 - a record that cannot be formatted must not fail the run
                self.handleError(record)

    def handle(self, record: logging.LogRecord) -> bool:
        last = logging.lastResort
        # A program that configured no logging prints warnings through lastResort. This handler must not silence them.
        if last is not None and logging.root.handlers == [self] and record.levelno >= last.level:
            last.handle(record)
        return bool(super().handle(record))


class RunFilter(logging.Filter):
    """Gives each record the attribute `run`, the id of the run that made it, and drops the records of a replay."""

    def filter(self, record: logging.LogRecord) -> bool:
        log = _current.get()
        record.run = "" if log is None else f"{log.run.run_id}: "
        return log is None or not log.skips_log()


HANDLER: Final = RunLogHandler()


def install() -> None:
    """Add the handler to the root logger. If the program configured no logging, set the root logger's level to INFO."""
    if HANDLER in logging.root.handlers:
        return
    if not logging.root.handlers and logging.root.level == logging.WARNING:
        logging.root.setLevel(HANDLER.level)
    logging.root.addHandler(HANDLER)


@contextmanager
def logging_to(log: RunLog | None) -> Iterator[None]:
    """Write records of this block, and of tasks and threads that it starts, to this log. None: to no log."""
    token = _current.set(log)
    try:
        yield
    finally:
        _current.reset(token)
