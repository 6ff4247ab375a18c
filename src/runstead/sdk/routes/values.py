"""Values of runs as users gave them: decoded, and read from the artifacts that hold large ones."""

from collections.abc import Generator
from typing import Any

import msgspec
from msgspec.structs import replace

from runstead.sdk.errors import RunsteadError, ValueNotReadable
from runstead.sdk.models.run import Run, RunError
from runstead.sdk.models.value import Codec, is_encoded, packed, reference_of, unpacked
from runstead.sdk.routes.call import Call, path

#: The message of an error that a codec encoded.
HIDDEN_MESSAGE = "The message is encoded"


def resolve(run_id: str, value: Any, codec: Codec | None) -> Generator[Call[Any], Any, Any]:
    """Return a value of a run or of its log, read from its artifact and decoded.

    Raise ValueNotReadable where its artifact is missing or has other bytes, or where it cannot be decoded.
    """
    reference = reference_of(value)
    if reference is not None:
        where = path("runs", run_id, "artifacts", reference.name)
        try:
            content = yield Call("GET", where, bytes, headers={"Accept": "*/*"}, extra_wait_s=60.0)
        except RunsteadError as error:
            if error.status != 404:
                raise
            raise ValueNotReadable(
                f"The artifact {reference.name} of the run {run_id} is missing: it was deleted, or the run that it"
                " was retried from"
            ) from None
        value = msgspec.json.decode(reference.check(content))
    return unpacked(value, codec)


def hidden_error(message: str, detail: Any, codec: Codec) -> tuple[str, Any]:
    """Return the message and the detail that are sent for an error: both are in the encoded detail."""
    return HIDDEN_MESSAGE, packed({"message": message, "detail": detail}, codec)


def error_of(run: Run, codec: Codec | None) -> RunError | None:
    """Return the run's error. It stays as it is where this program cannot decode it."""
    error = run.error
    if error is None or codec is None or not is_encoded(error.detail):
        return error
    try:
        found = unpacked(error.detail, codec)
        return replace(error, message=str(found["message"]), detail=found.get("detail"))
    except (ValueNotReadable, LookupError, TypeError, AttributeError):
        return error


def decoded(run: Run, codec: Codec | None) -> Generator[Call[Any], Any, Run]:
    """Return the run with its values and its error as users gave them. Raise ValueNotReadable."""
    output = yield from resolve(run.run_id, run.output, codec)
    return replace(plain(run, codec), output=output)


def plain(run: Run, codec: Codec | None) -> Run:
    """Return the run decoded, with the reference to a large output. Raise ValueNotReadable."""
    names = ("output",) if run.kind == "agent" else ("input", "config", "output")
    return replace(with_error(run, codec), **{name: unpacked(getattr(run, name), codec) for name in names})


def with_error(run: Run, codec: Codec | None) -> Run:
    """Return the run with its error decoded."""
    return run if codec is None else replace(run, error=error_of(run, codec))
