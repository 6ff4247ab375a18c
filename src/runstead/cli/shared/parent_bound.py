"""A command that ends with the process that started it: `start()` begins one, running this file is one.

Its standard input is a pipe that nobody writes to. Its other end closes with the parent, however that dies; then the
child ends as at SIGTERM, and is killed where that takes too long.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

#: For the end of a child whose parent is gone.
_ORPHAN_S: Final = 10.0


def start(
    arguments: Sequence[str], environment: Mapping[str, str], **options: Any
) -> "subprocess.Popen[bytes]":
    """`runstead <arguments>`, tethered to this process. SIGINT does not reach it: the parent says when it ends."""
    return subprocess.Popen(  # noqa: S603 - this very program
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
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # Ctrl-C goes to the whole group
    threading.Thread(target=_watch_parent, daemon=True).start()
    from runstead.cli import main

    main()
