"""Static files of the pages. Their address contains a digest, so browsers cache them for a year."""

import gzip
import hashlib
import mimetypes
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Final

from starlette.responses import Response

from runstead.core.errors import not_found
from runstead.http.framework.compression import accepts_gzip

PATH: Final = "/ui/static"
_CACHE_HEADERS: Final = {
    "Cache-Control": "public, max-age=31536000, immutable",
    "Vary": "Accept-Encoding",
    "X-Content-Type-Options": "nosniff",
}


@cache
def _contents() -> dict[str, bytes]:
    """Every file's content, by its name relative to the folder."""
    root = Path(str(files("runstead.web") / "static"))
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


@cache
def _digest(name: str) -> str:
    return hashlib.sha256(_contents()[name]).hexdigest()[:16]


@cache
def _compressed(name: str) -> bytes:
    """A file's content, compressed once."""
    return gzip.compress(_contents()[name], mtime=0)


@cache
def address(name: str) -> str:
    """The path from which a browser loads the file."""
    return f"{PATH}/{_digest(name)}/{name}"


def serve(name: str, accepted: bytes | None) -> Response:
    """The file, compressed if the browser's Accept-Encoding allows it. NOT_FOUND."""
    content, headers = _contents().get(name), _CACHE_HEADERS
    if content is None:
        raise not_found("File")
    if accepted is not None and accepts_gzip(accepted):
        content, headers = _compressed(name), {**_CACHE_HEADERS, "Content-Encoding": "gzip"}
    media_type = mimetypes.guess_type(name)[0] or "text/plain"
    return Response(content, headers=headers, media_type=media_type)
