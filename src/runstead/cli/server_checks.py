"""What the doctor looks at over HTTP: the server that commands ask. It raises nothing and shows no credential."""

import time
from collections.abc import Iterator
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any, Final

import httpx2
import msgspec

from runstead import __version__
from runstead.cli.shared.connection import Place, shown_url
from runstead.cli.shared.diagnostics import Finding, skew

_WAIT_S: Final = 5.0


def server(place: Place) -> Iterator[Finding]:
    """The server that commands ask."""
    url = (place.url.value or "").rstrip("/")
    where = shown_url(url)
    try:
        with httpx2.Client(timeout=_WAIT_S) as http:
            began = time.time()
            ready = http.get(f"{url}/readyz")
            took = time.time() - began
            yield from _answer(where, ready, began + took / 2, took)
            yield _server_version(http, url)
            yield _key(http, url, place)
    except (httpx2.RequestError, httpx2.InvalidURL, ValueError) as trouble:
        yield Finding(
            "server",
            "fail" if place.url.told else "warn",
            f"no answer from {where} ({type(trouble).__name__})",
            "start it with `runstead serve`"
            if not place.url.told
            else f"is it up, and is {place.url.source} right?",
        )


def _answer(where: str, ready: Any, at: float, took: float) -> Iterator[Finding]:
    facts = _json(ready)
    if ready.status_code == 200 and facts.get("status") == "ready":
        engine = facts.get("store", {}).get("engine", "?") if isinstance(facts.get("store"), dict) else "?"
        yield Finding("server", "ok", f"{where} is ready within {took * 1000:.0f} ms (store: {engine})")
    elif ready.status_code == 503:
        detail = f"{where} cannot commit: {facts.get('detail', 'it says 503')}"
        yield Finding("server", "fail", detail, "look at its log, its disk and its database")
    else:
        detail = f"{where} answers {ready.status_code} to GET /readyz: that is no Runstead server"
        yield Finding("server", "fail", detail, "mend --url, RUNSTEAD_URL or the profile")
    date = ready.headers.get("Date")
    try:
        theirs = None if date is None else parsedate_to_datetime(date)
    except ValueError:
        theirs = None
    if theirs is not None:  # it tells whole seconds, cut off, and of when the answer was begun
        yield skew("clock of the server", theirs.astimezone(UTC).timestamp() + 0.5 - at, 0.5 + took)


def _server_version(http: Any, url: str) -> Finding:
    told = _json(http.get(f"{url}/openapi.json")).get("info")
    version = told.get("version") if isinstance(told, dict) else None
    if version == __version__:
        return Finding("server version", "ok", f"{version}, as this program")
    if not isinstance(version, str):
        return Finding(
            "server version", "warn", "the server does not tell its version", "is it a Runstead server?"
        )
    return Finding(
        "server version",
        "warn",
        f"{version}, and this program is {__version__}",
        "let both be of one version",
    )


def _key(http: Any, url: str, place: Place) -> Finding:
    if place.key.value is None:
        return Finding("key", "warn", "none is given", "set RUNSTEAD_KEY, or put one into a profile")
    answer = http.get(f"{url}/projects", headers={"Authorization": f"Bearer {place.key.value}"})
    if answer.status_code != 200:
        code = _json(answer).get("code", answer.status_code)
        return Finding("key", "fail", f"the server refuses it ({code})", f"mend what {place.key.source} says")
    found = _json(answer).get("data", [])
    slugs = sorted(str(one.get("slug")) for one in found if isinstance(one, dict))
    wanted = place.project.value
    known = {str(one.get(name)) for one in found if isinstance(one, dict) for name in ("id", "slug")}
    if wanted is not None and wanted not in known:
        return Finding(
            "key",
            "fail",
            f"it does not reach the project {wanted}",
            f"mend {place.project.source}; it reaches: {', '.join(slugs[:10]) or 'none'}",
        )
    return Finding("key", "ok", f"good for {', '.join(slugs[:10]) or 'no project'}")


def _json(answer: Any) -> dict[str, Any]:
    try:
        found = msgspec.json.decode(answer.content)
    except msgspec.DecodeError:
        return {}
    return found if isinstance(found, dict) else {}
