"""Preparation of bench and race: the project's id, and a registered worker."""

import secrets
from typing import Any, TypeVar
from urllib.parse import quote

import msgspec

from runstead.bench.connection import Connection, DroppedError, Target

T = TypeVar("T")


class BenchError(Exception):
    """The measurement could not start or continue. The message contains the deployment's answer."""


class Worker(msgspec.Struct, frozen=True):
    """A registered worker: claims go to `claim_path` with `headers`."""

    id: str
    token: str
    claim_path: str
    headers: bytes

    def at(self, target: Target) -> "Worker":
        """Return the same worker for another replica."""
        return msgspec.structs.replace(self, headers=target.headers(self.token))


class _Id(msgspec.Struct):
    id: str


class _Registered(msgspec.Struct):
    worker: _Id
    token: str


def targets_of(urls: tuple[str, ...]) -> list[Target]:
    """Parse the URLs of all replicas. Raise BenchError where one cannot be used, or there is none."""
    if not urls:
        raise BenchError("at least one url is needed")
    try:
        return [Target.from_url(url) for url in urls]
    except ValueError as error:
        raise BenchError(str(error)) from error


async def ask(
    connection: Connection, method: str, path: str, body: Any, headers: bytes, *, status: int, answer: type[T]
) -> T:
    """Send a JSON request, and return its answer. Raise BenchError where it has another status or shape."""
    payload = b"" if body is None else msgspec.json.encode(body)
    try:
        got, content = await connection.request(method, path, payload, headers)
    except DroppedError as error:
        raise BenchError(f"{method} {path}: {error}") from error
    if got != status:
        raise BenchError(f"{method} {path} answered {got}: {detail_of(content)}")
    try:
        return msgspec.json.decode(content, type=answer)
    except msgspec.DecodeError as error:
        raise BenchError(f"{method} {path} answered something unexpected: {error}") from error


def detail_of(content: bytes) -> str:
    """Return the `detail` of a problem document, or the beginning of any other body."""
    try:
        problem = msgspec.json.decode(content)
    except msgspec.DecodeError:
        problem = None
    if isinstance(problem, dict) and isinstance(problem.get("detail"), str):
        code = problem.get("code")
        return f"{problem['detail']} ({code})" if code else str(problem["detail"])
    return content[:200].decode("utf-8", "replace")


async def find_project_id(connection: Connection, ref: str, headers: bytes) -> str:
    """Return the id of a project, given its id or slug."""
    path = f"/projects/{quote(ref, safe='')}"
    return (await ask(connection, "GET", path, None, headers, status=200, answer=_Id)).id


async def register_worker(connection: Connection, ref: str, headers: bytes, *, kind: str) -> Worker:
    """Register a worker for this measurement. Its key is random: two measurements must not share a worker's token."""
    body = {"implementation_kind": kind, "worker_key": f"{kind}-{secrets.token_hex(4)}"}
    path = f"/agent-workers/projects/{quote(ref, safe='')}/workers"
    registered = await ask(connection, "POST", path, body, headers, status=201, answer=_Registered)
    worker_id = registered.worker.id
    return Worker(
        id=worker_id,
        token=registered.token,
        claim_path=f"/agent-workers/workers/{quote(worker_id, safe='')}/claim",
        headers=connection.target.headers(registered.token),
    )
