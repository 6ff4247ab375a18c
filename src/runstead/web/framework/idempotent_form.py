"""Forms that create something once, however often they are sent.

Each form contains a token. The store keeps it with the effect, like an idempotency key. A reload of the
response or a double click therefore creates nothing more, on any replica. A secret is in the first response
only and is stored nowhere.
"""

import hashlib
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar
from urllib.parse import urlencode

from starlette.responses import Response

from runstead.core.errors import Error
from runstead.core.idempotency import IdempotencyRecord, ReplayedResponse
from runstead.core.identity.project import Project
from runstead.web.framework.request import PageRequest

T = TypeVar("T")


def record_of(
    request: PageRequest, part: str, render: Callable[[Any], tuple[int, bytes]]
) -> IdempotencyRecord:
    """The idempotency record of the sent form, or of one `part` of its effects. INVALID_REQUEST."""
    token = request.form.one("form_token")
    if not token:
        raise Error("INVALID_REQUEST", "The form token is missing: reload the page and send the form again")
    fields = urlencode([pair for pair in request.form.pairs if pair[0] != "csrf"])
    digest = hashlib.sha256(f"{request.address}\n{fields}".encode())
    key = f"form{part}:{hashlib.sha256(token.encode()).hexdigest()}:{digest.hexdigest()}"
    return IdempotencyRecord(request.principal.identity, key, digest.digest(), render)


async def idempotent(request: PageRequest, command: Callable[[IdempotencyRecord], Awaitable[T]]) -> T | None:
    """The result of the command; None if this form was processed before. INVALID_REQUEST."""
    try:
        # The recorded response is empty, so that the secret is not stored.
        return await command(record_of(request, "", lambda _: (200, b"null")))
    except ReplayedResponse:
        return None


def already_created(request: PageRequest, what: str, to: str) -> Response:
    """The response to a form that was sent again."""
    return request.redirect_with_flash(
        f"{what} was created when the form was first sent. It is shown only once.", to
    )


async def show_secret(
    request: PageRequest, project: Project | None, *, title: str, label: str, secret: str, note: str, to: str
) -> Response:
    """The page that shows a new secret. No cache, address or cookie contains it."""
    return await request.page(
        "framework/secret.html", project=project, title=title, label=label, secret=secret, note=note, to=to
    )
