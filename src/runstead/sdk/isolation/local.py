"""Handlers' processes on the worker's own machine."""

import os
import socket
import sys

from runstead.sdk.isolation.channel import Channel
from runstead.sdk.isolation.failure import ProcessFailed
from runstead.sdk.isolation.group import Group
from runstead.sdk.isolation.messages import FromHandler


def spawn(descriptor: int) -> Group:
    """Start a new interpreter at the other end of the descriptor. It is not forked: this process has threads."""
    return Group(
        [sys.executable, "-P", "-m", "runstead.sdk.isolation.child", str(descriptor), str(os.getpid())],
        pass_fds=[descriptor],
        env={**os.environ, "MALLOC_ARENA_MAX": os.environ.get("MALLOC_ARENA_MAX", "2")},
    )


class LocalProcess:
    def __init__(self, group: Group, channel: Channel[FromHandler]) -> None:
        self.channel = channel
        self.terminate = group.terminate
        self.kill = group.kill
        self.ended = group.ended


class LocalExecutor:
    """Starts an interpreter for each handler. It ends with the worker, also when the worker is killed."""

    exact_path = True

    async def start(self) -> LocalProcess:
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                group = spawn(theirs.fileno())
        except OSError as error:
            ours.close()
            raise ProcessFailed(f"No process could be started: {error}", "CRASHED") from error
        try:
            return LocalProcess(group, await Channel.over(ours, FromHandler))
        except BaseException:
            ours.close()
            group.kill()
            group.wait()
            raise

    async def close(self) -> None:
        """Do nothing: processes end with their handlers."""
