"""Server-sent events, parsed as the WHATWG HTML standard says (section 9.2.6, "Interpreting an event stream")."""

from typing import Final, NamedTuple

_BOM: Final = b"\xef\xbb\xbf"


class Frame(NamedTuple):
    """One dispatched event. `id` is the last id seen so far, "" where there was none yet."""

    id: str
    event: str
    data: str


class Parser:
    """Fed with chunks cut anywhere, it answers the frames that are whole.

    What follows the last blank line when a stream ends is no frame and is dropped: it was cut off. `retry_ms` is the
    reconnection time that the server asked for last, None where it never did.
    """

    def __init__(self) -> None:
        self.retry_ms: int | None = None
        self._partial: list[bytes] = []
        self._skip_lf = False
        self._begun = False
        self._id = ""
        self._last_id = ""
        self._event = ""
        self._data: list[str] = []

    @property
    def last_id(self) -> str:
        """The id of the last frame, those without data included; "" where there was none yet."""
        return self._last_id

    def feed(self, chunk: bytes) -> list[Frame]:
        if self._skip_lf and chunk:
            # The last chunk ended with CR, which ended its line at once; an LF here belongs to that same end.
            chunk = chunk.removeprefix(b"\n")
            self._skip_lf = False
        frames: list[Frame] = []
        # bytes.splitlines knows CR, LF and CRLF and no other line end, exactly as the standard does.
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
        if not self._begun:
            self._begun = True
            raw = raw.removeprefix(_BOM)
        if not raw:
            return self._dispatch()
        name, _, value = raw.decode("utf-8", "replace").partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            self._data.append(value)
        elif name == "event":
            self._event = value
        elif name == "id":
            if "\0" not in value:
                self._id = value
        elif name == "retry" and value.isascii() and value.isdigit():
            self.retry_ms = int(value)
        return None

    def _dispatch(self) -> Frame | None:
        data, event, self._last_id = self._data, self._event, self._id
        self._data, self._event = [], ""
        return Frame(self._id, event or "message", "\n".join(data)) if data else None
