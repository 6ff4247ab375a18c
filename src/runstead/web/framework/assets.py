"""Static files of the pages. Their address contains a digest, so browsers cache them for a year."""

import hashlib
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Final

from starlette.responses import Response
from starlette.types import Scope as AsgiScope

from runstead.web.framework.files import Files

PATH: Final = "/ui/static"
#: For a file whose name or address changes with its content.
IMMUTABLE: Final = "public, max-age=31536000, immutable"
FILES: Final = Files(Path(str(files("runstead.web") / "static")))


@cache
def address(name: str) -> str:
    """The path from which a browser loads the file."""
    digest = hashlib.sha256(FILES.paths[name].read_bytes()).hexdigest()
    return f"{PATH}/{digest[:16]}/{name}"


async def serve(scope: AsgiScope) -> Response:
    """Return the file that the path names. NOT_FOUND."""
    return await FILES.response(scope["path_params"]["name"], scope, IMMUTABLE)
