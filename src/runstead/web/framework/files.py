"""Serve the files of a folder: with an ETag (RFC 9110, section 8.8.3), and compressed once."""

import asyncio
import gzip
import hashlib
import mimetypes
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from starlette.responses import Response
from starlette.types import Scope as AsgiScope

from runstead.core.errors import existing
from runstead.http.framework.compression import accepts_gzip, with_suffix

_COMPRESSED_TYPES = ("text/", "application/javascript", "application/json", "image/svg+xml")


class _File(NamedTuple):
    media_type: str
    tag: str
    compressed: bytes | None  # None: it would not be smaller


class Files:
    """The files of a folder by their relative names. No other file is served, whatever a name contains."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._loaded: dict[str, _File] = {}

    @cached_property
    def paths(self) -> dict[str, Path]:
        """Every file by its name. Empty if the folder does not exist."""
        return {
            path.relative_to(self._root).as_posix(): path for path in self._root.rglob("*") if path.is_file()
        }

    async def response(self, name: str, scope: AsgiScope, cache_control: str) -> Response:
        """Return the file, or 304 if the browser has it. NOT_FOUND."""
        path = existing(self.paths.get(name), "File")
        if name not in self._loaded:
            self._loaded[name] = await asyncio.to_thread(_load, path)
        file, headers = self._loaded[name], dict(scope["headers"])
        known = headers.get(b"if-none-match", b"").decode("latin-1")
        known_tags = {tag.strip().removeprefix("W/") for tag in known.split(",")}
        answer = {"ETag": file.tag, "Cache-Control": cache_control, "X-Content-Type-Options": "nosniff"}
        zipped = None
        if file.compressed is not None:
            answer["Vary"] = "Accept-Encoding"
            zipped = file.compressed if accepts_gzip(headers.get(b"accept-encoding", b"")) else None
        if zipped is not None:
            answer["ETag"] = with_suffix(file.tag)
        if known_tags & {file.tag, with_suffix(file.tag), "*"}:
            return Response(status_code=304, headers=answer)
        if zipped is not None:
            answer["Content-Encoding"] = "gzip"
        content = zipped if zipped is not None else await asyncio.to_thread(path.read_bytes)
        return Response(content, headers=answer, media_type=file.media_type)


def _load(path: Path) -> _File:
    content = path.read_bytes()
    media_type = mimetypes.guess_type(path.name)[0] or "text/plain"
    compressed = gzip.compress(content, mtime=0) if media_type.startswith(_COMPRESSED_TYPES) else content
    tag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
    return _File(media_type, tag, compressed if len(compressed) < len(content) else None)
