"""Fixtures of the HTTP tests. `api` is the application over an open store, with projects, keys and users."""

import asyncio
import io
import itertools
import sys
import uuid
from functools import cache

import httpx2
import jwt
import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from runstead.commands.app import App
from runstead.commands.keys import make_key, new_project
from runstead.core.identity.principal import ALL_SCOPES, DEFAULT_SCOPES, INSTANCE_SCOPES, Scope
from runstead.core.identity.project import Member, new_key
from runstead.engines.notifiers.local import LocalNotifier
from runstead.http.auth.authenticator import Authenticator
from runstead.http.auth.jwt import TokenVerifier
from runstead.http.framework.app import HttpApp
from runstead.loops.deadlines import enforce_deadlines
from runstead.security import signing
from runstead.security.egress import Egress
from runstead.security.signing import Keyring
from runstead.server.main import Main
from runstead.server.settings import Settings
from runstead.testing.store import TemporaryStore
from tests.support.clock import Clock
from tests.support.until import eventually

sys.modules.setdefault("sniffio", None)  # httpx2 looks for it at each request
# To check an RSA key takes as long as a short test.
signing.load_pem_private_key = cache(signing.load_pem_private_key)
SIGNING = ed25519.Ed25519PrivateKey.generate()
PEM = SIGNING.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
KEYS = {
    "read": frozenset({Scope.RUNS_READ}),
    "write": frozenset({Scope.RUNS_WRITE}),
    "workers": frozenset({Scope.WORKERS}),
    "default": DEFAULT_SCOPES,
    "admin": ALL_SCOPES,
    "system": INSTANCE_SCOPES,
}


class Api:
    """Sends requests to the application as a caller (`by`).

    `by` is "read", "write", "workers", "default", "admin" or "system" (keys of the project), "other" (an
    admin key of another project), or any credential.
    """

    def __init__(self, store, clock):
        self.store, self.clock = store, clock
        keyring = Keyring(store.signing_keys, clock=clock)
        self.app = App(store, LocalNotifier(), keyring, Egress(allow_private=True), projects_per_user_max=3)
        self.authenticator = Authenticator(
            store, TokenVerifier(PEM, clock=clock), clock, keyring, admins=("root",)
        )
        self.http_app = HttpApp(self.app, self.authenticator)
        transport = httpx2.ASGITransport(self.http_app, raise_app_exceptions=False)
        self.client = httpx2.AsyncClient(transport=transport, base_url="http://runstead.test")
        self.keys = {}
        self._names = itertools.count(1)

    async def furnish(self):
        self.project = await self._project("inventory", KEYS)
        self.other = await self._project("elsewhere", {"other": ALL_SCOPES})

    async def _project(self, slug, keys):
        project = new_project(slug, slug.title())
        await self.store.identity.create_project(project, None, None)
        for name, scopes in keys.items():
            self.keys[name] = new_key()
            await self.store.identity.create_key(make_key(self.keys[name], project.id, scopes, name=name))
        return project

    def token(self, user="ada", **claims):
        """Return a user's JWT."""
        body = {"userId": user, "exp": self.clock() // 1000 + 600, **claims}
        return jwt.encode(body, SIGNING, "EdDSA")

    async def member(self, user, project=None, role="member"):
        member = Member((project or self.project).id, user, role, self.clock())
        await self.store.identity.put_member(member, lambda *_: None)
        return self.token(user)

    async def send(self, method, path, body=..., *, by="default", headers=None, **options):
        """Send a request and return the response. A body of bytes is sent unchanged, any other as JSON."""
        sent = {"Content-Type": "application/json"}
        if by is not None:
            sent["Authorization"] = f"Bearer {self.keys.get(by, by)}"
        if body is not ...:
            options["content"] = body if isinstance(body, bytes) else msgspec.json.encode(body)
        return await self.client.request(method, path, headers={**sent, **(headers or {})}, **options)

    async def get(self, path, **options):
        response = await self.send("GET", path, **options)
        assert response.status_code == 200, response.text
        return response.json()

    async def post(self, path, body=..., status=200, **options):
        response = await self.send("POST", path, body, **options)
        assert response.status_code == status, response.text
        return response.json()

    async def put(self, path, body):
        response = await self.send("PUT", path, body)
        assert response.status_code == 200, response.text
        return response.json()

    async def refused(self, status, code, method, path, body=..., **options):
        """Send a request that must be refused, and return the problem."""
        response = await self.send(method, path, body, **options)
        return self.problem(response, status, code)

    def problem(self, response, status, code):
        assert response.status_code == status, response.text
        assert response.headers["content-type"] == "application/problem+json"
        answer = response.json()
        assert (answer["status"], answer["code"]) == (status, code), answer
        assert answer["type"] == f"/docs#{code}"
        assert isinstance(answer["detail"], str)
        assert answer["detail"] == answer["error"] != ""
        assert answer["instance"] == response.request.url.path
        return answer

    # Runs of each kind

    def task(self, target="task:count", *, request=None, **members):
        """Return a body that creates a task run."""
        owner = {"kind": "project", "id": self.project.id}
        return {"kind": "task", "owner": owner, "request": {"target": target, **(request or {})}, **members}

    def agent(self, conversation_id, *, request=None, **members):
        owner = {"kind": "conversation", "id": conversation_id}
        given = {"mode": "agent", "agent_id": "scribe", **(request or {})}
        return {"kind": "agent", "owner": owner, "request": given, **members}

    async def create(self, body=None, **options):
        return (await self.post("/runs", body or self.task(), 202, **options))["run"]

    async def conversation(self, **body):
        return (await self.post("/conversations", body, 201))["id"]

    async def agent_run(self, **options):
        """Create an agent run. Returns it and its path in its conversation."""
        conversation_id = await self.conversation()
        run = await self.create(self.agent(conversation_id, **options))
        return run, f"/conversations/{conversation_id}/runs/{run['run_id']}"

    async def run(self, run_id, **options):
        return await self.get(f"/runs/{run_id}", **options)

    async def stored(self, run_id):
        """The run as lists and answers to writes show it: they do not say since when no worker serves it."""
        run = await self.run(run_id)
        tag = ".".join(run["etag"].strip('"').split(".")[:3])
        return run | {"unserved_since": None, "etag": f'"{tag}"'}

    async def append(self, run_id, *events, **cursors):
        return await self.post(f"/runs/{run_id}/events", {"events": list(events), **cursors})

    async def complete(self, run_id, status="completed", **members):
        return await self.post(f"/runs/{run_id}/complete", {"status": status, **members})

    async def event_types(self, run_id):
        page = await self.get(f"/runs/{run_id}/events?limit=500")
        return [event["event_type"] for event in page["data"]]

    # Workers

    async def worker(self, implementation_kind="claude", worker_key=None):
        """Register a worker. Returns its path and its token."""
        body = {"implementation_kind": implementation_kind}
        body["worker_key"] = worker_key or f"worker-{next(self._names)}"
        made = await self.post(f"/agent-workers/projects/{self.project.slug}/workers", body, 201)
        return f"/agent-workers/workers/{made['worker']['id']}", made["token"]

    async def claim(self, worker, **body):
        return await self.post(f"{worker}/claim", {"lease_duration_seconds": 60, "kinds": ["task"], **body})

    async def claimed(self, **request):
        """Claim a new task run with a new worker. Returns the worker run and the worker's path."""
        run = await self.create(self.task(f"task:{uuid.uuid4()}", request=request))
        worker, _ = await self.worker()
        taken = (await self.claim(worker, targets=[run["target"]]))["run"]
        assert taken["run_id"] == run["run_id"]
        return taken, worker

    async def until(self, condition):
        await eventually(condition)

    async def subscribed(self):
        """Wait until somebody waits for a hint, as a long poll does."""
        await eventually(lambda: len(self.app.notifier))

    async def pass_time(self, seconds):
        """Advance the clock, and enforce deadlines."""
        self.clock.advance(seconds)
        await enforce_deadlines(self.app)

    async def nothing_stored(self):
        """Return whether the project has no objects."""
        runs = await self.get("/runs", by="admin")
        keys = await self.get(f"/projects/{self.project.id}/api-keys", by="admin")
        members = await self.get(f"/projects/{self.project.id}/members", by="admin")
        return runs["data"] == members["data"] == [] and len(keys["data"]) == len(KEYS)


async def _open(store, clock):
    await store.open()
    made = Api(store, clock)
    await made.furnish()
    return made


def pytest_generate_tests(metafunc):
    """tests/store proves that engines do the same: over each of them is the long form.

    A file in which the engine may matter nevertheless (locks, races, orders, lists), and one of every noun,
    is marked `postgres`.
    """
    if "new_store" in metafunc.fixturenames:
        on_postgres = metafunc.definition.get_closest_marker("postgres")
        engines = [
            "sqlite",
            pytest.param("postgres", marks=() if on_postgres else pytest.mark.long),
        ]
        metafunc.parametrize("new_store", engines, indirect=True)


def pytest_collection_modifyitems(items):
    """On PostgreSQL a test of a marked file runs with its first parameters; with all where it has the mark itself."""
    seen = set()
    for item in items:
        callspec = getattr(item, "callspec", None)
        if callspec is None or callspec.params.get("new_store") != "postgres":
            continue
        name = item.path, item.originalname
        if name in seen and not any(mark.name == "postgres" for mark in item.own_markers):
            item.add_marker(pytest.mark.long)
        seen.add(name)


@pytest.fixture
def new_store(request, tmp_path):
    """new_store(clock): create an empty store of the engine, not open yet."""
    if request.param == "postgres":
        return request.getfixturevalue("postgres_store")
    sqlite_store = request.getfixturevalue("sqlite_store")
    return lambda clock: sqlite_store(tmp_path / "runs.db", clock)


@pytest.fixture
async def api(new_store):
    """Over each engine."""
    clock = Clock()
    store = new_store(clock)
    made = await _open(store, clock)
    yield made
    await made.client.aclose()
    await store.close()


@pytest.fixture
async def pushing(api):
    """A push service on a real port, and a dispatcher that runs when the test calls `tick`."""
    from .pushed import PAIR, Pushing, Service

    await api.store.signing_keys.add(PAIR, only_first=True)
    async with Service() as service:
        made = Pushing(api, service)
        yield made
        await made.dispatcher.close()


@pytest.fixture
async def new_driver():
    """new_driver(clock): create another `driver`."""
    made = []

    async def make(clock):
        made.append(await _open(TemporaryStore(clock), clock))
        return made[-1]

    yield make
    for each in made:
        await each.client.aclose()
        await each.store.close()


@pytest.fixture
def new_clock():
    """new_clock(): create a clock that stands at noon."""
    return Clock


@pytest.fixture
async def driver(new_driver):
    """Over SQLite alone, where no other engine can differ."""
    return await new_driver(Clock())


class Live:
    """A real server on SQLite in this event loop, with a client."""

    def __init__(self, main, client, key, database):
        self.main, self.client, self.url = main, client, main.url
        self.headers = {"Authorization": f"Bearer {key}"}
        self.database = database

    async def post(self, path, body=None):
        response = await self.client.post(f"{self.url}{path}", json=body, headers=self.headers)
        assert response.status_code < 300, response.text
        return response.json()

    async def create(self, **members):
        project = (await self.client.get(f"{self.url}/projects/default", headers=self.headers)).json()
        owner = {"kind": "project", "id": project["id"]}
        body = {"kind": "task", "owner": owner, "request": {"target": "task:speak"}, **members}
        return (await self.post("/runs", body))["run"]["run_id"]

    async def append(self, run_id, *events):
        return await self.post(f"/runs/{run_id}/events", {"events": list(events)})

    async def complete(self, run_id):
        return await self.post(f"/runs/{run_id}/complete", {"status": "completed"})

    async def until(self, condition):
        await eventually(condition)

    def address(self):
        url = httpx2.URL(self.url)
        return url.host, url.port

    async def open_stream(self, path, after=None):
        """Open a socket and request a stream. Returns its reader and writer."""
        reader, writer = await asyncio.open_connection(*self.address(), limit=1 << 22)
        lines = [f"GET {path} HTTP/1.1", "Host: runstead", f"Authorization: {self.headers['Authorization']}"]
        lines += ["Connection: close"] + ([f"Last-Event-ID: {after}"] if after is not None else [])
        writer.write("\r\n".join([*lines, "", ""]).encode())
        await writer.drain()
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 "), head
        return reader, writer


@pytest.fixture
async def live(tmp_path, sqlite_file):
    key = new_key()
    sqlite_file(tmp_path / "live.db")
    url = f"sqlite:///{tmp_path / 'live.db'}"
    main = Main(Settings(port=0, database_url=url, bootstrap_key=key), out=io.StringIO())
    task = asyncio.create_task(main.run())
    await main.ready.wait()
    limits = httpx2.Limits(max_connections=400)
    async with httpx2.AsyncClient(limits=limits, timeout=30) as client:
        made = Live(main, client, key, tmp_path / "live.db")
        made.task = task
        yield made
        main.stop()
        await task
