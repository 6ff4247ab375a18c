"""One process of `runstead serve --processes N`. Only supervisor.py starts it."""

import asyncio
import gc
import os
import signal
import socket
import sys

import msgspec
import uvloop

from runstead.cli.shared.output import fail
from runstead.server.main import Main
from runstead.server.process_metrics import Siblings
from runstead.server.supervisor import Assignment
from runstead.server.telemetry import log_to_stderr


async def serve(assignment: Assignment) -> None:
    siblings = Siblings(assignment.directory, assignment.number)
    main = Main(assignment.settings, listener=socket.socket(fileno=assignment.descriptor), siblings=siblings)
    stdin = sys.stdin.fileno()
    loop = asyncio.get_running_loop()

    def ended() -> None:
        # The supervisor writes only one line: the end of the pipe means that the supervisor has ended.
        if not os.read(stdin, 1024):
            loop.remove_reader(stdin)
            main.stop()

    loop.add_reader(stdin, ended)
    await main.run()


def run() -> None:
    gc.disable()  # until it serves, as in cli/serve.py
    signal.signal(
        signal.SIGHUP, signal.SIG_IGN
    )  # for the supervisor only, but pkill sends it to all processes
    log_to_stderr()
    line = b""
    while not line.endswith(b"\n"):
        read = os.read(sys.stdin.fileno(), 65_536)
        if not read:
            return
        line += read
    assignment = msgspec.json.decode(line, type=Assignment)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(serve(assignment))
    except (ValueError, RuntimeError, OSError) as error:
        fail(str(error))


if __name__ == "__main__":
    run()
