"""What the standard logging module is told running_step of a run goes to the run's log, and nothing else does."""

import contextvars
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, Protocol

FORMAT: Final = "%(asctime)s.%(msecs)03dZ %(levelname)s %(name)s: %(message)s"


class RunLog(Protocol):
    def log(self, line: str) -> None: ...


#: Tasks and threads that a handler begins inherit it; other runs have their own.
_current: contextvars.ContextVar[RunLog | None] = contextvars.ContextVar("log", default=None)


class RunLogHandler(logging.Handler):
    """Takes each record to the log of the run that it was made in. Its level and formatter may be set like any other's."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        formatter = logging.Formatter(FORMAT, "%Y-%m-%dT%H:%M:%S")
        formatter.converter = time.gmtime
        self.setFormatter(formatter)

    def emit(self, record: logging.LogRecord) -> None:
        log = _current.get()
        if log is not None:
            try:
                log.log(self.format(record))
            except Exception:  # noqa: BLE001 - a record that cannot be formatted is the program's, not the run's, trouble
                self.handleError(record)

    def handle(self, record: logging.LogRecord) -> bool:
        last = logging.lastResort
        # Being there must not silence the warnings of a program that has set up no logging.
        if last is not None and logging.root.handlers == [self] and record.levelno >= last.level:
            last.handle(record)
        return bool(super().handle(record))


HANDLER: Final = RunLogHandler()


def install() -> None:
    """Listen at the root logger. Where the program has set up no logging, INFO and above is let through to it."""
    if HANDLER in logging.root.handlers:
        return
    if not logging.root.handlers and logging.root.level == logging.WARNING:
        logging.root.setLevel(HANDLER.level)
    logging.root.addHandler(HANDLER)


@contextmanager
def logging_to(log: RunLog | None) -> Iterator[None]:
    """What is logged in here, and by tasks and threads that are begun in here, goes to this log; to none for None."""
    token = _current.set(log)
    try:
        yield
    finally:
        _current.reset(token)
