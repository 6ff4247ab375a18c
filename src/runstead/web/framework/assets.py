"""The files that pages are made with: at an address that changes with them, and so kept by browsers for a year."""

import hashlib
import mimetypes
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Final

from starlette.responses import Response

from runstead.core.errors import not_found

PATH: Final = "/ui/static"
_FOREVER: Final = {
    "Cache-Control": "public, max-age=31536000, immutable",
    "X-Content-Type-Options": "nosniff",
}


@cache
def _contents() -> dict[str, bytes]:
    """What there is, by its name below the folder."""
    root = Path(str(files("runstead.web") / "static"))
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


@cache
def _digest(name: str) -> str:
    return hashlib.sha256(_contents()[name]).hexdigest()[:16]


@cache
def address(name: str) -> str:
    """Where a browser finds the file."""
    return f"{PATH}/{_digest(name)}/{name}"


def serve(name: str) -> Response:
    """The file. NOT_FOUND."""
    content = _contents().get(name)
    if content is None:
        raise not_found("File")
    kind = mimetypes.guess_type(name)[0] or "text/plain"
    return Response(content, headers=_FOREVER, media_type=kind)
