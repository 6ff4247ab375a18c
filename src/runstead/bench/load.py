"""The load: callers in processes of their own, so that they do not share an event loop with the server."""

import asyncio
import contextlib
import gc
import multiprocessing
import os
import time
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection as Pipe
from multiprocessing.process import BaseProcess
from typing import Any, Protocol, Self, TypeVar

import msgspec

from runstead.bench.connection import Connection, DroppedError, Target
from runstead.bench.deployment import BenchError
from runstead.bench.event_loop import run
from runstead.bench.lifecycle import Caller, Plan
from runstead.bench.tally import Tally

CALLERS_PER_PROCESS = 32

# How long a process may take after its phase: open requests at the end of the window, and their timeouts.
GRACE_S = 150.0


Connections = list[tuple[Connection, Plan]]


class Result(Protocol):
    """What a process has measured."""

    def merge(self, other: Self) -> None:
        """Add the result of another process."""


R_co = TypeVar("R_co", bound=Result, covariant=True)
R = TypeVar("R", bound=Result)


class Work(Protocol[R_co]):
    """What every process does in one period of `period_s` seconds."""

    @property
    def period_s(self) -> float: ...
    async def run(self, connections: Connections) -> R_co: ...


class Phase(msgspec.Struct, frozen=True):
    """A period of callers that send the next request when the last one is answered.

    Answers within the first `warm_up_s` are not counted.
    """

    health_checks: bool
    warm_up_s: float
    seconds: float

    @property
    def period_s(self) -> float:
        return self.warm_up_s + self.seconds

    async def run(self, connections: Connections) -> "Measured":
        """Run one caller per connection until the window has ended and each has finished its lifecycle."""
        began_ns, began_cpu_s = time.perf_counter_ns(), time.process_time()
        start_ns = began_ns + int(self.warm_up_s * 1e9)
        tally = Tally(start_ns, start_ns + int(self.seconds * 1e9))
        callers = [Caller(connection, plan, tally) for connection, plan in connections]
        if self.health_checks:
            await asyncio.gather(*(caller.run_health_checks() for caller in callers))
        else:
            await asyncio.gather(*(caller.run_lifecycles() for caller in callers))
        elapsed_s = (time.perf_counter_ns() - began_ns) / 1e9
        return Measured(tally=tally, generator_cores=(time.process_time() - began_cpu_s) / elapsed_s)


class Measured(msgspec.Struct):
    """The result of a phase. `generator_cores` is the CPU use of the generator, in cores."""

    tally: Tally
    generator_cores: float

    def merge(self, other: Self) -> None:
        self.tally.merge(other.tally)
        self.generator_cores = round(self.generator_cores + other.generator_cores, 2)


def default_processes(concurrency: int) -> int:
    """Return one process for each 32 callers, with at least one core left for the server."""
    wanted = -(-concurrency // CALLERS_PER_PROCESS)
    return max(1, min(wanted, usable_cores() - 1))


def usable_cores() -> int:
    """Return the number of cores that this process may use, or of all cores where the platform does not report it."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def measure(
    replicas: list[tuple[Target, Plan]],
    concurrency: int,
    processes: int,
    phases: Callable[[], Sequence[Work[R]]],
) -> list[R]:
    """Run the phases one after the other over the same connections, which are spread over the replicas.

    `phases` is called when all processes are connected.
    Raise BenchError where a process fails.
    """
    # spawn, not fork: a forked child would share the parent's event loop and sockets.
    context = multiprocessing.get_context("spawn")
    pipes: list[Pipe[Any, Any]] = []
    children: list[BaseProcess] = []
    try:
        for index in range(processes):
            callers = [replicas[caller % len(replicas)] for caller in range(index, concurrency, processes)]
            mine, theirs = context.Pipe()
            child: BaseProcess = context.Process(target=_serve, args=(theirs, callers), daemon=True)
            child.start()
            theirs.close()
            pipes.append(mine)
            children.append(child)
        for pipe in pipes:
            _receive(pipe, GRACE_S)
        return [_measure_phase(pipes, phase) for phase in phases()]
    finally:
        for pipe in pipes:
            # A closed pipe ends a process that still waits for a phase.
            pipe.close()
        for child in children:
            child.join(timeout=5.0)
            if child.is_alive():
                child.terminate()


def _measure_phase(pipes: list["Pipe[Any, Any]"], phase: Work[R]) -> R:
    for pipe in pipes:
        pipe.send(phase)
    first, *others = [_receive(pipe, phase.period_s + GRACE_S) for pipe in pipes]
    for other in others:
        first.merge(other)
    result: R = first
    return result


def _receive(pipe: "Pipe[Any, Any]", timeout_s: float) -> Any:
    try:
        if not pipe.poll(timeout_s):
            raise BenchError(f"a load process did not report within {timeout_s:g} s")
        message = pipe.recv()
    except (EOFError, OSError) as error:
        raise BenchError("a load process ended before it reported") from error
    if isinstance(message, str):
        raise BenchError(message)
    return message


# Within a load process


def _serve(pipe: "Pipe[Any, Any]", callers: list[tuple[Target, Plan]]) -> None:
    """Run in a load process: report readiness, then send a Measured for every Phase until the pipe closes."""
    # Ctrl-C reaches every process of the group. The parent reports it.
    with contextlib.suppress(EOFError, BrokenPipeError, KeyboardInterrupt):
        run(_serve_phases(pipe, [(Connection(target), plan) for target, plan in callers]))


async def _serve_phases(pipe: "Pipe[Any, Any]", callers: Connections) -> None:
    try:
        await asyncio.gather(*(connection.open() for connection, _ in callers))
    except DroppedError as error:
        pipe.send(str(error))
        return
    # These objects live as long as the process. Without freeze, garbage collections of them would add latency.
    gc.freeze()
    pipe.send(True)
    while True:
        # Blocking the loop here is harmless: between phases no request is open.
        phase = pipe.recv()
        pipe.send(await phase.run(callers))
