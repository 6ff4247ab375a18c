"""The files that pages are made with: at an address that changes with them, and so kept by browsers for a year."""

import hashlib
import mimetypes
from functools import cache
from importlib.resources import files
from typing import Final

from starlette.responses import Response

from runstead.errors import not_found

PATH: Final = "/ui/static"
_FOREVER: Final = {
    "Cache-Control": "public, max-age=31536000, immutable",
    "X-Content-Type-Options": "nosniff",
}


@cache
def _contents() -> dict[str, bytes]:
    """What there is, by its name below the folder."""
    root, found = files("runstead.web") / "static", {}
    for folder, prefix in ((root, ""), (root / "vendor", "vendor/")):
        for file in folder.iterdir():
            if file.is_file():
                found[prefix + file.name] = file.read_bytes()
    return found


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
