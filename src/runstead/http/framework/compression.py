"""Compress whole answers with gzip for clients that accept it (RFC 9110, sections 8.4 and 12.5.3).

Streams and artifacts are not compressed. An answer with a new secret is not compressed either: its size would
depend on the secret (the BREACH attack). Pages contain the token of their forms, and are compressed: another site
cannot request them with the session, whose cookie is SameSite=Strict.
"""

import asyncio
import re
import zlib
from typing import Final

from starlette.responses import Response

from runstead.core import limits

_TYPES: Final = (b"application/json", b"text/", b"application/javascript", b"image/svg+xml")
#: `gzip` or `*` in Accept-Encoding, with its weight.
_GZIP: Final = re.compile(
    rb"(?:^|[,\s])(?:gzip|x-gzip|\*)\s*(?:;\s*q\s*=\s*([0-9.]+))?\s*(?:,|$)", re.IGNORECASE
)
_LEVEL: Final = 1  # a higher level makes JSON hardly smaller, and level 6 takes twice as long
_GZIP_FORMAT: Final = 16  # added to the size of the window (zlib.net/manual.html, deflateInit2)
Lines = list[tuple[bytes, bytes]]


async def compressed(accepted: bytes | None, lines: Lines, body: bytes, bytes_min: int) -> bytes:
    """Return the body, compressed if it has at least `bytes_min` bytes and Accept-Encoding allows it.

    The header lines are changed with it. Bodies above `limits.gzip_loop_bytes_max` are compressed in a thread.
    """
    if len(body) < bytes_min:
        return body
    lines.append((b"vary", b"Accept-Encoding"))
    if accepted is None or not accepts_gzip(accepted):
        return body
    if len(body) <= limits.gzip_loop_bytes_max:
        body = compress(body)
    else:
        body = await asyncio.to_thread(compress, body)
    for index, (name, value) in enumerate(lines):
        if name == b"content-length":
            lines[index] = name, b"%d" % len(body)
        elif name == b"etag":
            lines[index] = name, with_suffix(value.decode("latin-1")).encode("latin-1")
    lines.append((b"content-encoding", b"gzip"))
    return body


async def compress_response(accepted: bytes | None, response: Response) -> Response:
    """Compress the body of a response in place, if it has a whole one of a type that gets smaller."""
    body = getattr(response, "body", b"")
    if body and response.headers.get("content-type", "").encode().startswith(_TYPES):
        response.body = await compressed(accepted, response.raw_headers, bytes(body), limits.gzip_bytes_min)
    return response


def accepts_gzip(accepted: bytes) -> bool:
    """Return whether an Accept-Encoding header allows gzip."""
    match = _GZIP.search(accepted)
    return match is not None and (match[1] is None or match[1].strip(b"0.") != b"")


def compress(body: bytes) -> bytes:
    # A small window and a small table: preparing large ones takes longer than compressing a small body.
    window, memory = (12, 5) if len(body) <= limits.gzip_small_bytes_max else (15, 8)
    compressor = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP_FORMAT + window, memory)
    return compressor.compress(body) + compressor.flush()


def with_suffix(tag: str) -> str:
    """Return the tag of the compressed form: a strong tag names exact bytes (RFC 9110, section 8.8.3.3)."""
    return tag.removesuffix('"') + '-gzip"'
