"""What bench and race ask of a deployment before they start: its project and a registered worker."""

import secrets
from typing import Any, TypeVar
from urllib.parse import quote

import msgspec

from runstead.bench.connection import Connection, DroppedError, Target

T = TypeVar("T")


class BenchError(Exception):
    """The measurement could not start or go on; the message says what the deployment answered."""


class Worker(msgspec.Struct, frozen=True):
    """A registered worker: claims go to `claim_path` with `headers`."""

    id: str
    token: str
    claim_path: str
    headers: bytes

    def at(self, target: Target) -> "Worker":
        """The same worker at another replica."""
        return msgspec.structs.replace(self, headers=target.headers(self.token))


class _Project(msgspec.Struct):
    id: str


class _WorkerId(msgspec.Struct):
    id: str


class _Registered(msgspec.Struct):
    worker: _WorkerId
    token: str


def target_of(url: str) -> Target:
    """Raise BenchError where the URL cannot be used."""
    try:
        return Target.from_url(url)
    except ValueError as error:
        raise BenchError(str(error)) from error


def targets_of(urls: tuple[str, ...]) -> list[Target]:
    """Of every replica. Raise BenchError where one of the URLs cannot be used, or there is none."""
    if not urls:
        raise BenchError("at least one url is needed")
    return [target_of(url) for url in urls]


async def ask(
    connection: Connection, method: str, path: str, body: Any, headers: bytes, *, status: int, answer: type[T]
) -> T:
    """One JSON request whose answer has to have this status and shape; anything else raises BenchError."""
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
    """The `detail` of a problem answer, else the beginning of whatever was answered."""
    try:
        problem = msgspec.json.decode(content)
    except msgspec.DecodeError:
        problem = None
    if isinstance(problem, dict) and isinstance(problem.get("detail"), str):
        code = problem.get("code")
        return f"{problem['detail']} ({code})" if code else str(problem["detail"])
    return content[:200].decode("utf-8", "replace")


async def find_project_id(connection: Connection, ref: str, headers: bytes) -> str:
    """The project's id, given its id or slug."""
    path = f"/projects/{quote(ref, safe='')}"
    return (await ask(connection, "GET", path, None, headers, status=200, answer=_Project)).id


async def register_worker(connection: Connection, ref: str, headers: bytes, *, kind: str) -> Worker:
    """Register a worker of its own for this measurement: a shared key would take its token from a second one."""
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
