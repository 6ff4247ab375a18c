"""Checks of inputs against the schemas of workers, which must not take the server's time.

A check that may take long is executed by a helper process. The system ends that process when the check has used its
time: neither a pattern nor a definition that contains itself twice can be interrupted from within.
"""

import asyncio
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

import msgspec

from runstead.core import limits
from runstead.core.fair_slots import Bounds, FairSlots
from runstead.core.identity.tenant import tenant
from runstead.security.input_schemas import Fault, compiled, faults, is_short, size_of

_PROGRAM: Final = (sys.executable, "-P", "-m", __name__)
_READY: Final = b"+"
_LENGTH_BYTES: Final = 4
_LONG_CHECKS: Final = Bounds(
    slots=1,  # the one helper process
    slots_per_tenant=1,
    waiting=limits.input_checks_waiting_max,
    waiting_per_tenant=limits.input_checks_waiting_per_project_max,
    wait_s=limits.input_check_wait_s,
)


class TooLongError(Exception):
    """A check took more than `limits.input_check_s_max` of CPU time, or `limits.input_check_bytes_max` of memory."""


class _Question(msgspec.Struct):
    """`value` None: only compile the schema."""

    schema: str
    value: str | None
    cpu_s: float


class _Answer(msgspec.Struct):
    """`invalid`: why the schema is not valid."""

    faults: list[Fault] = []
    invalid: str | None = None


class InputChecks:
    """The checks of one server. Its helper process begins with the first long check, and tenants take turns: PROJECT_BUSY
    or STORE_BUSY if too many wait.
    """

    def __init__(self) -> None:
        self._helper: Process | None = None
        self._turns = FairSlots(_LONG_CHECKS, "checks of inputs")

    async def schema(self, schema: bytes) -> None:
        """ValueError with the reason for a schema that cannot validate. TooLongError."""
        if size_of(schema) is not None:
            await asyncio.to_thread(compiled, schema)
        else:
            await self._ask(schema, None)

    async def faults(self, schema: bytes, value: bytes | None) -> Sequence[Fault]:
        """Return what of a value (JSON text, None for null) does not fit a valid schema. TooLongError."""
        if is_short(schema, value):
            return faults(schema, value)
        return await self._ask(schema, value or b"null")

    def stop(self) -> None:
        """End the helper process, and close its pipes: the event loop may end before they are found to be closed."""
        if self._helper is not None:
            self._helper._transport.close()  # type: ignore[attr-defined]  # noqa: SLF001 - Process cannot close them
        self._helper = None

    async def _ask(self, schema: bytes, value: bytes | None) -> Sequence[Fault]:
        question = _Question(
            schema.decode(), None if value is None else value.decode(), limits.input_check_s_max
        )
        async with self._turns.hold(tenant.get()):
            answer = await self._answer(msgspec.json.encode(question))
        if answer.invalid is not None:
            raise ValueError(answer.invalid)
        return answer.faults

    async def _answer(self, question: bytes) -> _Answer:
        while True:
            new = self._helper is None or self._helper.returncode is not None
            helper = self._helper = await _started() if new or self._helper is None else self._helper
            try:
                return msgspec.json.decode(await _exchange(helper, question), type=_Answer)
            except (asyncio.IncompleteReadError, ConnectionError):
                code = await helper.wait()
                if new or code == -signal.SIGPROF:
                    raise TooLongError from None
                # Earlier schemas had filled its memory: asked again, of a new one.
            except BaseException:  # its next answer would be that to this question
                self.stop()
                raise


async def _started() -> Process:
    # It gets no settings, such as the encryption key: it handles what others wrote.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RUNSTEAD_")}
    helper = await asyncio.create_subprocess_exec(*_PROGRAM, stdin=PIPE, stdout=PIPE, env=environment)
    assert helper.stdout is not None
    if await helper.stdout.read(1) != _READY:
        raise TooLongError
    return helper


async def _exchange(helper: Process, question: bytes) -> bytes:
    assert helper.stdin is not None
    assert helper.stdout is not None
    helper.stdin.write(len(question).to_bytes(_LENGTH_BYTES) + question)
    await helper.stdin.drain()
    length = int.from_bytes(await helper.stdout.readexactly(_LENGTH_BYTES))
    return await helper.stdout.readexactly(length)


def answer_to(question: _Question) -> _Answer:
    """Answer in the helper process."""
    try:
        if question.value is None:
            compiled(question.schema.encode())
            return _Answer()
        return _Answer(faults(question.schema.encode(), question.value.encode()))
    except ValueError as error:
        return _Answer(invalid=str(error))


def main() -> None:
    """Answer questions until the server closes the pipe. The system ends the process at its bounds of time and memory."""
    import resource  # noqa: PLC0415 - Windows has none, and a testbed there imports this module

    with suppress(ValueError, OSError):  # macOS has no bound of memory
        resource.setrlimit(resource.RLIMIT_AS, (limits.input_check_bytes_max, limits.input_check_bytes_max))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of the terminal: the server ends it
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    questions, answers = sys.stdin.buffer, sys.stdout.buffer
    answers.write(_READY)
    answers.flush()
    while length := questions.read(_LENGTH_BYTES):
        question = msgspec.json.decode(questions.read(int.from_bytes(length)), type=_Question)
        signal.setitimer(signal.ITIMER_PROF, question.cpu_s)
        answer = msgspec.json.encode(answer_to(question))
        signal.setitimer(signal.ITIMER_PROF, 0)
        answers.write(len(answer).to_bytes(_LENGTH_BYTES) + answer)
        answers.flush()


if __name__ == "__main__":
    main()
