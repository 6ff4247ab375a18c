"""The documentation: the site that `make docs` builds, or one page of routes and error codes where it was not built."""

import re
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Final

from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.types import Scope as AsgiScope

from runstead.core.errors import CODES, RUN_CODES, not_found
from runstead.http.framework.app import operations
from runstead.http.framework.problems import STATUS
from runstead.web.framework.assets import IMMUTABLE
from runstead.web.framework.files import Files
from runstead.web.framework.render import render

#: `/llms.txt` is where programs look for it (llmstxt.org).
PATHS: Final = ("/docs", "/docs/{name:path}", "/llms.txt", "/llms-full.txt")
#: Only files of this server. The theme's styles contain icons as data.
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self';"
    " form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_DIGEST_IN_NAME: Final = re.compile(r"\.[0-9a-f]{8}\.min\.(?:js|css)$")


class Documentation:
    """Serves the site. Anyone may read it: no credential is needed."""

    def __init__(self, root: Path | None = None) -> None:
        self._files = Files(root or Path(str(files("runstead.web") / "site")))

    async def respond(self, scope: AsgiScope) -> Response:
        """Return a file of the site. NOT_FOUND."""
        path, known = scope["path"], self._files.paths
        if "index.html" not in known:
            if path in ("/docs", "/docs/"):
                return HTMLResponse(_unbuilt())
            raise not_found("Page")
        if path == "/docs":
            return RedirectResponse("/docs/")  # a browser keeps the fragment: `/docs#CODE`
        name = path.removeprefix("/docs").removeprefix("/")
        if f"{name}/index.html" in known:
            return RedirectResponse(f"/docs/{name}/")
        if name == "" or name.endswith("/"):
            name += "index.html"
        cache_control = IMMUTABLE if _DIGEST_IN_NAME.search(name) else "no-cache"
        response = await self._files.response(name, scope, cache_control)
        response.headers["Content-Security-Policy"] = POLICY
        return response


@cache
def _unbuilt() -> str:
    codes = {code: (STATUS.get(code), meaning) for code, meaning in (RUN_CODES | CODES).items()}
    return render("documentation/unbuilt.html", operations=operations(), codes=codes)
