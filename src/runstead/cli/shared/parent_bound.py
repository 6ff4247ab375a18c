"""Starts a command that ends together with its parent process.

`start` starts the child, which runs this module. The child's stdin is a pipe from the parent. It closes when
the parent ends in any way; then the child gets SIGTERM, and SIGKILL if it does not end in time.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

#: Time between SIGTERM and SIGKILL after the parent has ended.
_ORPHAN_S: Final = 10.0


def start(
    arguments: Sequence[str], environment: Mapping[str, str], **options: Any
) -> "subprocess.Popen[bytes]":
    """Start `runstead <arguments>` as a child. It ignores SIGINT: the parent decides when it ends."""
    return subprocess.Popen(  # noqa: S603 - this program itself
        [sys.executable, "-P", "-m", "runstead.cli.shared.parent_bound", *arguments],
        stdin=subprocess.PIPE,
        env={**os.environ, **environment},
        **options,
    )


def _watch_parent() -> None:
    while os.read(0, 64):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(_ORPHAN_S)
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    if hasattr(signal, "pthread_sigmask"):  # the terminal sends Ctrl-C to the whole process group
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    else:  # Windows
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_watch_parent, daemon=True).start()
    from runstead.cli import main

    main()
