"""Results and outputs of an attempt: encoded by the app's codec, and kept as artifacts where they are large."""

from collections.abc import AsyncIterator, Sequence
from functools import partial
from typing import Any, Final

import msgspec

from runstead.sdk.durable.emitter import Emitter
from runstead.sdk.errors import RunFailed, RunsteadError, ValueNotReadable
from runstead.sdk.models.artifact import Upload
from runstead.sdk.models.event import Event
from runstead.sdk.models.lease import ClaimedRun
from runstead.sdk.models.user_types import NOT_JSON, encode
from runstead.sdk.models.value import (
    MEDIA_TYPE,
    Codec,
    inline,
    is_plain,
    new_reference,
    packed_text,
    unpacked,
)
from runstead.sdk.resources import Calls
from runstead.sdk.routes.log import EventLog
from runstead.sdk.routes.route import Pages, perform
from runstead.sdk.routes.values import resolve
from runstead.sdk.worker.threads import in_thread

#: The largest value that is kept, unless the app sets another bound. The server has one too: RUNSTEAD_VALUE_BYTES_MAX.
VALUE_BYTES_MAX: Final = 64 * 1024 * 1024
#: The server's bound of an output in a completion.
OUTPUT_BYTES_MAX: Final = 1024 * 1024


class ValueTooLargeError(Exception):
    """A value is larger than the app's bound, or the server does not keep it as an artifact."""


class ValueStore(Emitter):
    """The part of a context that stores and reads values."""

    codec: Codec | None = None
    value_bytes_max = VALUE_BYTES_MAX

    def use_values(self, codec: Codec | None, value_bytes_max: int) -> None:
        """Use the codec and the bound of an app."""
        self.codec, self.value_bytes_max = codec, value_bytes_max
        if codec is not None:
            self.calls = Calls(codec=codec)

    async def stored(self, text: bytes, inline_bytes_max: int) -> msgspec.Raw:
        """Return what is stored for a value with this JSON text. Above `inline_bytes_max` it is in an artifact.

        Raise ValueTooLargeError.
        """
        if self.codec is None and len(text) <= inline_bytes_max and is_plain(text):
            return msgspec.Raw(text)
        codec = self.codec
        content = await in_thread(lambda: packed_text(text, codec), f"runstead-{self.run.run_id}")
        return msgspec.Raw(content if len(content) <= inline_bytes_max else await self._keep(content))

    async def _keep(self, content: bytes) -> bytes:
        if len(content) > self.value_bytes_max:
            raise ValueTooLargeError(
                f"It has {len(content):,} bytes, and at most {self.value_bytes_max:,} are kept: store the data"
                " elsewhere, and return its address"
            )
        reference = new_reference(content)
        try:
            await self.store_artifact(reference.name, Upload(content), MEDIA_TYPE, reference.sha256)
        except RunsteadError as error:
            raise ValueTooLargeError(
                f"It has {len(content):,} bytes, and the server did not keep it as an artifact: {error.detail}"
            ) from error
        return inline(reference)

    async def stored_output(self, output: Any) -> msgspec.Raw:
        """Return what is stored for the output of the run. Raise RunFailed with RESULT_NOT_JSON or OUTPUT_TOO_LARGE."""
        try:
            text = encode(output)
        except NOT_JSON as error:
            raise RunFailed(f"The result is not JSON: {error}", "RESULT_NOT_JSON") from None
        try:
            return await self.stored(text, OUTPUT_BYTES_MAX)
        except ValueTooLargeError as error:
            raise RunFailed(f"The output is too large. {error}", "OUTPUT_TOO_LARGE") from None

    def readable(self, run: ClaimedRun) -> ClaimedRun:
        """Return the run with its input and config decoded. Raise ValueNotReadable where this worker cannot."""
        if run.kind == "agent":
            return run
        found = {name: unpacked(getattr(run, name), self.codec) for name in ("input", "config")}
        return msgspec.structs.replace(run, **found)

    async def stored_events(
        self, run_id: str, types: Sequence[str], after_event_id: int = 0
    ) -> AsyncIterator[Event]:
        """Yield the events of these types in the log of a run, in order."""
        log = EventLog(run_id)
        pages: Pages[Event] = Pages(partial(log.page, types=types), after_event_id, log.next_after)
        while pages.call is not None:
            for event in pages.items(await self.send(pages.call)):
                yield event

    async def loaded(self, run_id: str, value: Any) -> Any:
        """Return a stored value of this run or of a child, read from its artifact and decoded.

        Raise RunFailed with VALUE_NOT_READABLE where its artifact is missing or damaged, and ValueNotReadable where this
        worker cannot decode it.
        """
        try:
            return await perform(resolve(run_id, value, self.codec), self.send)
        except ValueNotReadable as error:
            if error.undecoded:
                raise
            raise RunFailed(error.detail, error.code) from error
