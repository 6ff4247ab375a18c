"""Artifacts: files that a run stored. Their names, types and bytes are untrusted."""

import re
import unicodedata
from collections.abc import AsyncIterator, Callable
from typing import Annotated, Final
from urllib.parse import quote

import msgspec
from msgspec import Meta
from starlette.responses import Response, StreamingResponse

from runstead.commands import artifacts as commands
from runstead.commands.artifacts import NewArtifact, Reading
from runstead.core.errors import Error
from runstead.core.runs.artifact import ANY_TYPE, Stored, is_media_type
from runstead.http.arguments import on_run
from runstead.http.framework.endpoint import Call, Nothing, Reply, Routes
from runstead.http.framework.values import SHA256, Count, Positive
from runstead.http.framework.views import view_of
from runstead.http.runs import MISSING, WRITE, InProject, fence

routes = Routes("Artifacts")

_RANGE: Final = re.compile(r"bytes=([0-9]{0,19})-([0-9]{0,19})")


class StoreArtifact(InProject, frozen=True, kw_only=True):
    """`attempt` or the header `X-Lease-Token` proves that the worker still holds the run.

    With `sha256`, other bytes are refused, and bytes that are already stored are not uploaded again.
    """

    attempt: Positive | None = None
    sha256: Annotated[str, Meta(pattern=SHA256)] | None = None


class StoredArtifact(msgspec.Struct, frozen=True):
    """A stored artifact. `uri` is its path on this server."""

    name: str
    media_type: str
    size: Count
    sha256: str
    uri: str


class ArtifactAnswer(msgspec.Struct, frozen=True):
    """`stored` is true if this call stored the bytes, false if the same bytes were stored before."""

    stored: bool
    artifact: StoredArtifact


@routes.route(
    "PUT",
    "/runs/{run_id}/artifacts/{name}",
    query=StoreArtifact,
    answer=ArtifactAnswer,
    errors=(
        *WRITE,
        "RUN_NOT_ACTIVE",
        "ARTIFACT_LIMIT_REACHED",
        "ARTIFACT_TOO_LARGE",
        "ARTIFACT_MISMATCH",
        "ARTIFACTS_NOT_KEPT",
    ),
    streamed=True,
)
async def store(call: Call[Nothing, StoreArtifact]) -> Reply:
    """Store an artifact of an active run. The body is its bytes, `Content-Type` its media type.

    The same bytes under the same name change nothing. Other bytes replace the artifact.
    """
    media_type = call.header(b"content-type") or ANY_TYPE
    if not is_media_type(media_type):
        raise Error("INVALID_REQUEST", "Content-Type must be a media type such as text/csv")
    length = call.header(b"content-length")
    new = NewArtifact(
        name=call.path["name"],
        media_type=media_type,
        sha256=call.query.sha256,
        length=int(length) if length is not None and length.isdigit() else None,
    )
    proof = fence(call, call.query.attempt)
    written, found = await commands.put(*on_run(call), new, proof, call.chunks())
    return Reply(200, ArtifactAnswer(not written.transition.duplicate, view_of(StoredArtifact, found)))


def _safe(name: str) -> str:
    """Return an ASCII file name for old clients: not a path, no quotes, not a hidden file."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    return re.sub(r"[^A-Za-z0-9._ -]", "_", plain).strip(" .")[:128] or "artifact"


def attachment(name: str) -> dict[str, str]:
    """Return headers that make a browser download the file instead of showing it."""
    encoded = quote(name.replace("/", "_").replace("\\", "_"), safe="")
    return {
        "Content-Disposition": f"attachment; filename=\"{_safe(name)}\"; filename*=UTF-8''{encoded}",
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": "sandbox; default-src 'none'",
    }


def _headers(artifact: Stored) -> dict[str, str]:
    return {
        **attachment(artifact.name),
        "Cache-Control": "private, no-cache",
        "Accept-Ranges": "bytes",
        "ETag": f'"{artifact.sha256}"',
    }


def _range(header: str | None, size: int) -> tuple[int, int] | None:
    """Parse a Range header into [start, end).

    None: the whole artifact, also for ranges that are not supported.

    Raises RANGE_NOT_SATISFIABLE.
    """
    match = None if header is None else _RANGE.fullmatch(header.strip())
    if match is None or match[1] == match[2] == "":
        return None
    if match[1] == "":
        start, end = max(size - int(match[2]), 0), size
    else:
        start, end = int(match[1]), min(int(match[2]) + 1, size) if match[2] else size
        if match[2] and int(match[2]) < start:
            return None
    if start >= size or start >= end:
        raise Error("RANGE_NOT_SATISFIABLE", f"The artifact has {size} bytes")
    return start, end


@routes.route(
    "GET",
    "/runs/{run_id}/artifacts/{name}",
    query=InProject,
    answer=None,
    errors=(*MISSING, "RANGE_NOT_SATISFIABLE", "ARTIFACTS_NOT_KEPT", "STORE_UNAVAILABLE"),
    media_type=ANY_TYPE,
)
async def read(call: Call[Nothing, InProject]) -> Response:
    """Read an artifact's bytes, or one `Range` of them. The `ETag` is the sha256 of all bytes."""
    reading = await commands.get(*on_run(call), call.path["name"])
    return await answer(reading, call.header)


async def answer(reading: Reading, header: Callable[[bytes], str | None]) -> Response:
    """Build the response for a request with these headers. Raises RANGE_NOT_SATISFIABLE, NOT_FOUND."""
    artifact = reading.artifact
    headers = _headers(artifact)
    tags = header(b"if-none-match")
    if tags is not None and {tag.strip().removeprefix("W/") for tag in tags.split(",")} & {
        headers["ETag"],
        "*",
    }:
        return Response(status_code=304, headers=headers)
    if_range = header(b"if-range")
    wanted = None
    if if_range is None or if_range.strip() == headers["ETag"]:
        wanted = _range(header(b"range"), artifact.size)
    start, end = wanted or (0, artifact.size)
    if wanted is not None:
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{artifact.size}"
    headers["Content-Length"] = str(end - start)
    # Read before the response begins, since an error cannot be sent after its status.
    chunks = reading.bytes(start, end)
    first = await anext(chunks, b"")

    async def body() -> AsyncIterator[bytes]:
        yield first
        async for chunk in chunks:
            yield chunk

    status = 200 if wanted is None else 206
    response = StreamingResponse(body(), status, headers)
    response.headers["Content-Type"] = artifact.media_type  # unchanged: Starlette would add a charset
    return response
