"""Checks of `runstead doctor` over HTTP. No check raises or shows a credential."""

import time
from collections.abc import Iterator
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any, Final
from urllib.parse import quote

import httpx2
import msgspec

from runstead import __version__
from runstead.cli.shared.connection import DEFAULT_URL, Destination, shown_url
from runstead.cli.shared.diagnostics import Finding, failure, ok, skew, warning

_WAIT_S: Final = 5.0
#: Of so many targets of pending runs it checks whether a worker serves them.
_TARGETS_MAX: Final = 20


def server_findings(destination: Destination) -> Iterator[Finding]:
    """Findings about the server at the destination: health, clock, version and key."""
    url = (destination.url.value or "").rstrip("/")
    where = shown_url(url)
    try:
        with httpx2.Client(timeout=_WAIT_S) as http:
            began = time.time()
            ready = http.get(f"{url}/readyz")
            took = time.time() - began
            yield from _answer(where, ready, began + took / 2, took)
            yield _server_version(http, url)
            key = _key(http, url, destination)
            yield key
            if key.level == "ok":
                yield from _unserved(http, url, destination)
    except httpx2.UnsupportedProtocol:
        yield failure(
            "server",
            f"{where} is not a server URL: write it like {DEFAULT_URL}",
            f"correct {destination.url.source}",
        )
    except (httpx2.RequestError, httpx2.InvalidURL, ValueError) as error:
        yield Finding(
            "server",
            "fail" if destination.url.is_set else "warn",
            f"no response from {where} ({type(error).__name__})",
            "start it with `runstead serve`"
            if not destination.url.is_set
            else f"is it running, and is {destination.url.source} right?",
        )


def _answer(where: str, ready: Any, at: float, took: float) -> Iterator[Finding]:
    facts = _json(ready)
    if ready.status_code == 200 and facts.get("status") == "ready":
        engine = facts.get("store", {}).get("engine", "?") if isinstance(facts.get("store"), dict) else "?"
        yield ok("server", f"{where} is ready, responded in {took * 1000:.0f} ms (store: {engine})")
    elif ready.status_code == 503:
        detail = f"{where} cannot commit: {facts.get('detail', 'HTTP 503')}"
        yield failure("server", detail, "check its log, its disk and its database")
    else:
        detail = f"{where} responded {ready.status_code} to GET /readyz: it is not a Runstead server"
        yield failure("server", detail, "correct --url, RUNSTEAD_URL or the profile")
    date = ready.headers.get("Date")
    try:
        theirs = None if date is None else parsedate_to_datetime(date)
    except ValueError:
        theirs = None
    if theirs is not None:  # Date has whole seconds, rounded down, of the start of the response
        yield skew("clock of the server", theirs.astimezone(UTC).timestamp() + 0.5 - at, 0.5 + took)


def _server_version(http: Any, url: str) -> Finding:
    info = _json(http.get(f"{url}/openapi.json")).get("info")
    version = info.get("version") if isinstance(info, dict) else None
    if version == __version__:
        return ok("server version", f"{version}, same as this program")
    if not isinstance(version, str):
        return warning("server version", "the server does not report its version", "is it a Runstead server?")
    return warning(
        "server version",
        f"{version}, but this program is {__version__}",
        "install the same version on both sides",
    )


def _key(http: Any, url: str, destination: Destination) -> Finding:
    if destination.key.value is None:
        return warning("key", "no key is configured", "set RUNSTEAD_KEY or add a key to a profile")
    answer = http.get(f"{url}/projects", headers={"Authorization": f"Bearer {destination.key.value}"})
    if answer.status_code != 200:
        code = _json(answer).get("code", answer.status_code)
        return failure(
            "key", f"the server rejected it ({code})", f"correct the key of {destination.key.source}"
        )
    found = _json(answer).get("data", [])
    slugs = sorted(str(one.get("slug")) for one in found if isinstance(one, dict))
    wanted = destination.project.value
    known = {str(one.get(name)) for one in found if isinstance(one, dict) for name in ("id", "slug")}
    if wanted is not None and wanted not in known:
        return failure(
            "key",
            f"it has no access to the project {wanted}",
            f"correct {destination.project.source}; it has access to: {', '.join(slugs[:10]) or 'none'}",
        )
    return ok("key", f"valid for {', '.join(slugs[:10]) or 'no project'}")


def _unserved(http: Any, url: str, destination: Destination) -> Iterator[Finding]:
    """Targets of pending runs that no online worker serves: of the newest runs that the key may read."""
    headers = {"Authorization": f"Bearer {destination.key.value}"}
    project = destination.project.value
    where = f"{url}/runs" if project is None else f"{url}/projects/{quote(project)}/runs"
    query: dict[str, Any] = {"status": "pending", "limit": 100, "fields": "run_id,target,project_id"}
    pending = _json(http.get(where, headers=headers, params=query)).get("data", [])
    by_target = {(one.get("project_id"), one.get("target")): one for one in pending if isinstance(one, dict)}
    for (project_id, target), one in list(by_target.items())[:_TARGETS_MAX]:
        run = _json(
            http.get(
                f"{url}/runs/{quote(str(one.get('run_id')))}", headers=headers, params={"project": project_id}
            )
        )
        if run.get("unserved_since"):
            yield warning(
                "workers",
                f"no online worker serves {target}: the run {run.get('run_id')} is pending since {run['unserved_since']}",
                "start a worker that serves it: `runstead workers targets` shows what workers serve",
            )


def _json(answer: Any) -> dict[str, Any]:
    try:
        found = msgspec.json.decode(answer.content)
    except msgspec.DecodeError:
        return {}
    return found if isinstance(found, dict) else {}
