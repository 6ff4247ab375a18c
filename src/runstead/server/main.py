"""The server as an object, which tests start in the same way as the command."""

import asyncio
import gc
import logging
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, nullcontext, suppress
from functools import partial
from math import inf
from pathlib import Path
from secrets import token_hex
from types import FrameType
from typing import Any, TextIO

import uvicorn

from runstead import __version__
from runstead.commands.app import App
from runstead.commands.budgets import settle_some
from runstead.commands.bus_events import deliver_due
from runstead.commands.keys import make_key, new_project
from runstead.commands.system import note_replica, own_exposition
from runstead.core import limits
from runstead.core.identity.principal import INSTANCE_SCOPES
from runstead.core.identity.project import check_slug, new_key
from runstead.core.identity.quota import parse_quota
from runstead.core.replica import Replica
from runstead.http.auth.authenticator import Authenticator
from runstead.http.auth.jwt import TokenVerifier
from runstead.http.auth.openid import OpenIdClient
from runstead.http.framework.app import HttpApp
from runstead.http.framework.connections import Connections, bounds
from runstead.http.framework.cors import with_cors
from runstead.http.framework.origin import TrustedProxies
from runstead.http.framework.protocol import Protocol
from runstead.http.framework.tls_handshake import Handshake
from runstead.loops.alerts import evaluate
from runstead.loops.artifact_gc import collect_artifacts
from runstead.loops.bulk_jobs import advance_bulk_jobs
from runstead.loops.deadlines import enforce_deadlines
from runstead.loops.deliverer import Deliverer
from runstead.loops.dispatcher import Dispatcher
from runstead.loops.finalizer import finish_batches, finish_families
from runstead.loops.leader import Leader
from runstead.loops.liveness import watch
from runstead.loops.loop import Loop, Tick, every
from runstead.loops.retention import RetentionLoop
from runstead.loops.scheduler import schedule
from runstead.loops.statistics import measure
from runstead.ports import run_metrics
from runstead.ports.artifact_store import Artifacts
from runstead.ports.notifier import BUDGETS_KEY, DEADLINES_KEY, Notifier
from runstead.ports.store import Store
from runstead.security.egress import Egress
from runstead.security.signing import read_file
from runstead.security.stored_secrets import StoredSecrets
from runstead.server.engines import make_artifacts, make_keyring, make_notifier, make_secrets, make_store
from runstead.server.listening import READY, listen, url_of
from runstead.server.process_metrics import Siblings
from runstead.server.secrets import open_secrets
from runstead.server.settings import Settings, openid_of
from runstead.server.tls import HSTS, Certificate
from runstead.server.tracing import configure, enable
from runstead.web.framework.app import WebApp
from runstead.web.framework.dispatch import Dispatch


def _verifier(settings: Settings) -> TokenVerifier | None:
    if settings.jwt_public_key is None and settings.jwks_url is None:
        return None
    return TokenVerifier(
        settings.jwt_public_key, settings.jwks_url, settings.jwt_issuer, settings.jwt_audience
    )


def _openid_client(settings: Settings) -> OpenIdClient | None:
    found = openid_of(settings)
    return None if found is None else OpenIdClient(found)


def _certificate(settings: Settings) -> Certificate | None:
    if settings.tls_cert is None or settings.tls_key is None:
        return None
    return Certificate(settings.tls_cert, settings.tls_key)


def _replica(url: str) -> Replica:
    host, pid = socket.gethostname(), os.getpid()
    return Replica(id=f"{host}/{pid}/{token_hex(4)}", host=host, pid=pid, url=url, version=__version__)


class _Server(uvicorn.Server):
    """uvicorn with three changes: it reports when it accepts requests; at the first signal it stops the
    application, so that open streams end at once and not after the grace period; and it does not raise the
    signal again at its end.
    """

    def __init__(self, config: uvicorn.Config, stop: Callable[[], None], started: Callable[[], None]) -> None:
        super().__init__(config)
        self._stop = stop
        self._started = started
        self._loop = asyncio.get_running_loop()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        self._started()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002 - uvicorn's signature
        self.force_exit = self.should_exit  # a second signal waits for no request
        self.should_exit = True
        # Not called here: a signal that arrives while a task is about to wait would not wake the task.
        self._loop.call_soon_threadsafe(self._stop)


class Main:
    """One server. `await run()` serves until a signal or `stop()`. `url` is set when `ready` is set.

    A supervisor passes the listening socket, and `siblings`: the other processes of the server.
    """

    def __init__(
        self,
        settings: Settings,
        out: TextIO = sys.stdout,
        *,
        listener: socket.socket | None = None,
        siblings: Siblings | None = None,
    ) -> None:
        self.settings = settings
        self._listener = listener
        self._siblings = siblings
        self.ready = asyncio.Event()
        self.url = ""
        self._out = out
        self.app: App | None = None  # set while it serves
        self._server: _Server | None = None

    async def run(self) -> None:
        """Serve, then release all resources. OSError if the address is in use."""
        verifier, certificate = _verifier(self.settings), _certificate(self.settings)
        check_slug(self.settings.bootstrap_project, "RUNSTEAD_BOOTSTRAP_PROJECT")
        store, notifier = make_store(self.settings, standbys=True), make_notifier(self.settings)
        artifacts = make_artifacts(self.settings)
        if self.settings.signing_key_file is not None:
            read_file(Path(self.settings.signing_key_file))
        make_secrets(self.settings, encrypted=False)  # refuses an invalid encryption key
        # Bind first: a failed start must not create a store, and must not print a key that is shown only
        # once.
        with closing(self._listener or listen(self.settings.host, self.settings.port)) as sock:
            send_spans = configure("runstead")
            enable()
            await store.open()
            try:
                await self._bootstrap(store)
                secrets = await open_secrets(self.settings, store, partial(print, file=self._out, flush=True))
                await notifier.open()
                if artifacts is not None:
                    await artifacts.open()
                await self._serve(store, notifier, artifacts, verifier, secrets, certificate, sock)
            finally:
                if artifacts is not None:
                    await artifacts.close()
                await notifier.close()
                await store.close()
                await asyncio.to_thread(send_spans)

    def stop(self) -> None:
        """Stop as at SIGTERM."""
        if self._server is not None:
            self._server.handle_exit(signal.SIGTERM, None)

    async def _serve(
        self,
        store: Store,
        notifier: Notifier,
        artifacts: Artifacts | None,
        verifier: TokenVerifier | None,
        secrets: StoredSecrets,
        certificate: Certificate | None,
        sock: socket.socket,
    ) -> None:
        keyring = make_keyring(self.settings, store, secrets)
        egress = Egress(allow_private=self.settings.allow_private_egress)
        siblings, replica = self._siblings, _replica(url_of(sock, tls=certificate is not None))
        app = App(
            store,
            notifier,
            keyring=keyring,
            egress=egress,
            artifacts=artifacts,
            artifact_bytes_max=self.settings.artifact_bytes_max,
            value_bytes_max=self.settings.value_bytes_max,
            codec_url=self.settings.codec_url,
            projects_per_user_max=self.settings.projects_per_user_max,
            secrets=secrets,
            quota=parse_quota(self.settings.quota or ""),
            replica=replica,
            exposition_of_all=None if siblings is None else siblings.exposition,
        )
        self.app = app
        authenticator = Authenticator(store, verifier, keyring=keyring, admins=self.settings.admins)
        logged_ms, origins = self.settings.access_log_ms, self.settings.cors_origins or ()
        http = HttpApp(app, authenticator, inf if logged_ms is None else logged_ms / 1000)
        connections = Connections(
            bounds(self.settings.connections_max, self.settings.connections_per_address_max),
            TrustedProxies(self.settings.trusted_proxies or ()),
        )
        protocol: Any = partial(Protocol, http.router, connections, cross_origin=bool(origins))
        if certificate is not None:
            protocol = partial(Handshake, certificate.context, protocol, connections)
        config = uvicorn.Config(
            Dispatch(with_cors(origins, http), WebApp(app, authenticator, _openid_client(self.settings))),
            loop="none",  # the caller's: cli/serve.py runs uvloop
            http=protocol,
            ws="none",
            lifespan="off",
            access_log=False,
            log_level=logging.WARNING,
            server_header=False,
            proxy_headers=False,
            headers=[HSTS] if certificate is not None else None,
            # `shutdown_s` is for the whole stop: the last two seconds are for closing the store and the
            # loops.
            timeout_graceful_shutdown=limits.shutdown_s - 2,
            backlog=connections.bounds.backlog,
        )

        stack = ExitStack()  # closed when it stops serving

        def started() -> None:
            stack.enter_context(_rare_garbage_collection())
            self.url = replica.url
            print(f"{READY}{self.url}", file=self._out, flush=True)
            print(f"  dashboard: {self.url}/ui", file=self._out, flush=True)
            self.ready.set()

        self._server = _Server(config, app.stop, started)
        loops = [
            asyncio.ensure_future(every(app, loop)) for loop in _loops(app, authenticator, self.settings)
        ]
        others = Leader(app, replica.id), Dispatcher(app), Deliverer(app)
        loops += [asyncio.ensure_future(other.run()) for other in others]
        if siblings is not None:
            await siblings.open(partial(own_exposition, app))
        watching = connections.watch(), http.admission.watch(connections)
        watches = [asyncio.ensure_future(each) for each in watching]
        try:
            with stack, nullcontext() if certificate is None else certificate.watched():
                await self._server.serve([sock])
        finally:
            for watch in watches:
                watch.cancel()
            app.stop()
            if siblings is not None:
                await siblings.close()
            await asyncio.gather(*loops, return_exceptions=True)
            with suppress(Exception):  # if the store fails, the other replicas notice the missing heartbeats
                await store.replicas.leave(replica.id)
            with suppress(Exception):  # the last use of keys, if the store still accepts writes
                await authenticator.flush(force=True)

    async def _bootstrap(self, store: Store) -> None:
        """Create the bootstrap key, or a first key if the store has no project."""
        given = self.settings.bootstrap_key
        if given is None and not await store.identity.is_empty():
            return
        secret, project = given or new_key(), new_project(self.settings.bootstrap_project, None)
        name = "first key" if given is None else "bootstrap"
        key = make_key(secret, project.id, INSTANCE_SCOPES, name=name)
        await store.identity.ensure_project(project, None, key)
        if given is None:
            print(
                f"created the project {project.slug}; its admin key, shown only now:\n  {secret}",
                file=self._out,
                flush=True,
            )


@contextmanager
def _rare_garbage_collection() -> Iterator[None]:
    """Exclude objects that live as long as the server from garbage collection, and collect the others less
    often.

    A request leaves almost no reference cycles, but its objects trigger the collector, which then scans all
    loaded objects. Measured alternately with 64 callers, three rounds on a busy machine: a median of 1,579
    lifecycles a second without this change, 1,748 with it. A first threshold of 50,000 is as fast but pauses
    longer: the p99 of a complete at 16 callers is 7.4 ms instead of 6.3 ms, in four alternating rounds.

    There is no collection before: the garbage of the start is small, and finding it takes 40 ms.
    """
    thresholds = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(10_000, 20, 50)
    gc.enable()  # `runstead serve` disables it during the start
    try:
        yield
    finally:
        gc.set_threshold(*thresholds)
        gc.unfreeze()


def _loops(app: App, authenticator: Authenticator, settings: Settings) -> list[Loop]:
    """Return all loops but the leader, the dispatcher and the deliverer, which run on their own."""

    async def flush() -> int:
        await authenticator.flush()
        return 0

    def loop(name: str, seconds: float, run_tick: Callable[[App], Awaitable[int]], rows_max: int) -> Loop:
        return Loop(name, seconds, partial(run_tick, app), rows_max=rows_max)

    def everywhere(name: str, seconds: float, run_tick: Tick, rows_max: int) -> Loop:
        return Loop(name, seconds, run_tick, led=False, rows_max=rows_max)

    def expiry(name: str, delete: Callable[[int], Awaitable[int]], most: int) -> Loop:
        """`delete(most)` deletes a bounded number of old rows. Returns their number."""
        return Loop(f"{name} expiry", 60.0, partial(delete, most), rows_max=most)

    store, seen = app.store, limits.seen_per_tick_max
    audit_ms, sums = settings.audit_retention_days * 86_400_000, store.rollups
    entries_max, rows_max = limits.rollup_entries_per_tick_max, limits.rollup_rows_per_tick_max
    loops = [
        Loop(
            "deadlines",
            limits.deadlines_tick_s,
            partial(enforce_deadlines, app),
            key=DEADLINES_KEY,
            soonest=app.store.runs.next_due,
        ),
        loop("scheduler", limits.scheduler_tick_s, schedule, limits.scheduler_rows_per_tick_max),
        loop("batch finalizer", limits.batch_tick_s, finish_batches, limits.batches_per_tick_max),
        loop("bulk jobs", limits.bulk_tick_s, advance_bulk_jobs, 1),
        loop("family cancels", limits.family_cancel_tick_s, finish_families, limits.family_cancel_rows_max),
        loop("event bus", limits.bus_tick_s, deliver_due, limits.bus_events_per_tick_max),
        Loop("run index", limits.index_tick_s, store.run_index.advance, rows_max=1),
        expiry(
            "idempotency",
            partial(store.forget, limits.idempotency_s * 1000),
            limits.idempotency_records_per_tick_max,
        ),
        expiry(
            "delivery", partial(store.webhooks.prune, limits.delivery_kept_ms), limits.deliveries_expired_max
        ),
        expiry("event", store.bus_events.prune, limits.bus_events_expired_max),
        expiry("session", store.browser_sessions.prune, limits.browser_sessions_expired_max),
        expiry("audit", partial(store.audit.expire, audit_ms), limits.audit_entries_expired_max),
        loop(
            "artifact gc",
            limits.artifact_gc_tick_s,
            collect_artifacts,
            limits.artifact_tombstones_per_tick_max,
        ),
        Loop(
            "roll-ups",
            limits.rollup_tick_s,
            partial(sums.add_entries, entries_max, run_metrics.count_tokens),
            rows_max=entries_max,
        ),
        # A loop of its own, because recent runs never stop arriving.
        Loop(
            "earlier roll-ups",
            limits.rollup_tick_s,
            partial(sums.catch_up, rows_max),
            rows_max=rows_max,
        ),
        loop("liveness", limits.liveness_tick_s, watch, limits.silent_per_tick_max),
        loop("alerts", limits.alert_tick_s, evaluate, limits.alerts_per_tick_max),
        Loop(
            "budgets",
            limits.budget_tick_s,
            partial(settle_some, app),
            rows_max=limits.budgets_per_tick_max,
            key=BUDGETS_KEY,
        ),
        loop("statistics", limits.measurement_tick_s, measure, 1),
        everywhere("quotas", limits.quota_poll_s, app.quotas.refresh, limits.quota_max),
        everywhere("heartbeats", limits.worker_seen_s, app.worker_activity.flush, seen),
        everywhere("browsers seen", limits.browser_seen_s, app.session_activity.flush, seen),
        Loop("replicas", limits.replica_seen_s, partial(note_replica, app), led=False),
        Loop("last used", 60.0, flush, led=False),  # every replica stores the use of the keys that it saw
    ]
    if settings.retention_days is not None:
        retention = RetentionLoop(app, settings.retention_days * 86_400_000)
        loops.append(Loop("retention", limits.retention_tick_s, retention.retire))
    return loops
