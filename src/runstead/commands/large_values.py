"""Large values of runs, read in place of the references to them."""

import asyncio
import hashlib
from collections.abc import AsyncIterator

import msgspec

from runstead.commands import artifacts
from runstead.commands.app import App
from runstead.commands.artifacts import Reading
from runstead.core.errors import Error
from runstead.core.runs.large_value import Reference, reference
from runstead.core.runs.run import Run


class Value(msgspec.Struct, frozen=True):
    """A value whose JSON text was found to be complete and valid: `async for chunk in value.chunks()`."""

    reading: Reading
    size: int

    def chunks(self) -> AsyncIterator[bytes]:
        return self.reading.bytes(0, self.size)


async def output(app: App, run: Run) -> Value | None:
    """Return the output of a run that is stored as an artifact. None: the output is in the run itself.

    Raises VALUE_NOT_READABLE, ARTIFACTS_NOT_KEPT.
    """
    place = reference(run.output)
    if place is None:
        return None
    try:
        reading = artifacts.of_run(app, run, place.name)
        if reading.artifact.size != place.size or place.size > app.value_bytes_max:
            raise _not_readable(
                place, f"{place.size} bytes are announced, and {reading.artifact.size} are stored"
            )
        # Checked before the answer begins, since an error cannot be sent after its status. The bytes are not kept:
        # a slow reader would hold them.
        async with app.value_checks:
            text = bytearray()
            async for chunk in reading.bytes(0, place.size):
                text += chunk
            fault = await asyncio.to_thread(_fault_of, text, place)
    except Error as error:
        if error.code != "NOT_FOUND":
            raise
        raise _not_readable(place, "it is missing") from None
    if fault is not None:
        raise _not_readable(place, fault)
    return Value(reading, place.size)


def _fault_of(text: bytearray, place: Reference) -> str | None:
    """Return what is wrong with the bytes of a value, None for nothing."""
    if hashlib.sha256(text).hexdigest() != place.sha256:
        return "its bytes have another sha256"
    try:
        str(text, "utf-8")
        msgspec.json.decode(text, type=msgspec.Raw)
    except (ValueError, RecursionError):
        return "its bytes are no JSON"
    return None


def _not_readable(place: Reference, fault: str) -> Error:
    return Error("VALUE_NOT_READABLE", f"The value is in the artifact {place.name}: {fault}")
