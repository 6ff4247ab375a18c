"""A parser of server-sent events (WHATWG HTML standard, 9.2.6, "Interpreting an event stream")."""

from typing import Final, NamedTuple

_BOM: Final = b"\xef\xbb\xbf"


class Frame(NamedTuple):
    """One dispatched event. `id` is the last id that was received, "" before the first one.

    `source` is a field of Runstead's frames beside those of the standard.
    """

    id: str
    event: str
    data: str
    source: str | None = None


class Parser:
    """Parses chunks of a stream, and returns the complete frames.

    An incomplete frame at the end of the stream is dropped. `retry_ms` is the reconnection time that the server sent
    last, None where it sent none.
    """

    def __init__(self) -> None:
        self.retry_ms: int | None = None
        self._partial: list[bytes] = []
        self._skip_lf = False
        self._started = False
        self._id = ""
        self._last_id = ""
        self._event = ""
        self._source: str | None = None
        self._data: list[str] = []

    @property
    def last_id(self) -> str:
        """The id of the last frame, also of one without data; "" before the first one."""
        return self._last_id

    def feed(self, chunk: bytes) -> list[Frame]:
        if self._skip_lf and chunk:
            # The last chunk ended with CR, which ended its line. An LF here belongs to the same line end.
            chunk = chunk.removeprefix(b"\n")
            self._skip_lf = False
        frames: list[Frame] = []
        # bytes.splitlines splits at CR, LF and CRLF only, as the standard requires.
        for piece in chunk.splitlines(keepends=True):
            self._partial.append(piece)
            if piece[-1:] in {b"\n", b"\r"}:
                self._skip_lf = piece.endswith(b"\r")
                frame = self._line(b"".join(self._partial).rstrip(b"\r\n"))
                self._partial.clear()
                if frame is not None:
                    frames.append(frame)
            else:
                self._skip_lf = False
        return frames

    def _line(self, raw: bytes) -> Frame | None:
        if not self._started:
            self._started = True
            raw = raw.removeprefix(_BOM)
        if not raw:
            return self._dispatch()
        name, _, value = raw.decode("utf-8", "replace").partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            self._data.append(value)
        elif name == "event":
            self._event = value
        elif name == "source":
            self._source = value
        elif name == "id":
            if "\0" not in value:
                self._id = value
        elif name == "retry" and value.isascii() and value.isdigit():
            self.retry_ms = int(value)
        return None

    def _dispatch(self) -> Frame | None:
        data, event, source, self._last_id = self._data, self._event, self._source, self._id
        self._data, self._event, self._source = [], "", None
        if not data:
            return None
        return Frame(id=self._id, event=event or "message", data="\n".join(data), source=source)
