"""The application that every command gets: the store, the notifier, and trackers."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from math import inf
from typing import Final

from runstead.commands import changes
from runstead.commands.followers import Followers
from runstead.commands.notifications import Notifications
from runstead.commands.open_streams import OpenStreams
from runstead.commands.project_targets import ProjectTargets
from runstead.commands.projections import Projections
from runstead.commands.quota_enforcement import ProjectQuotas
from runstead.commands.trackers import ActivityTracker, EventThrottle, Interval, WebhookProjects
from runstead.commands.worker_channels import WorkerChannels
from runstead.core import limits
from runstead.core.conversations.conversation import Conversation
from runstead.core.fair_slots import Bounds, FairSlots
from runstead.core.identity.quota import Quota
from runstead.core.leadership import LeaderState
from runstead.core.queue.worker import Worker
from runstead.core.replica import Replica
from runstead.core.runs.run import Run
from runstead.core.webhooks.event import event_of
from runstead.ports import run_metrics
from runstead.ports.artifact_store import Artifacts
from runstead.ports.notifier import (
    BUDGETS_KEY,
    DEADLINES_KEY,
    DELIVERY_KEY,
    PUSH_KEY,
    Notifier,
    batch_key,
    family_key,
    queue_key,
    run_key,
    slot_key,
)
from runstead.ports.store import Store, Written
from runstead.ports.store_metrics import StoreMetrics
from runstead.security.egress import Egress
from runstead.security.input_checks import InputChecks
from runstead.security.signing import Keyring
from runstead.security.stored_secrets import StoredSecrets

_BATCHES: Final = Bounds(
    slots=limits.batches_created_at_once_max,
    slots_per_tenant=limits.batches_created_per_project_max,
    waiting=limits.batches_waiting_max,
    waiting_per_tenant=limits.batches_waiting_per_project_max,
    wait_s=limits.batch_wait_s,
)


class App:
    """The store, the change notifications after its commits, and what commands share.

    `stopping` is set when the server shuts down; pending waits then return at once. `leader_state` says
    whether this replica leads. `keyring` signs. `egress` calls addresses that callers chose. `artifacts`
    stores the artifacts of runs; None: this server stores none. `secrets` encrypts secrets of the store; None:
    they are stored in plain text. `replica` is this server in the list of replicas; None: it is not listed.
    `codec_url` is the endpoint that decodes values for browsers.
    `exposition_of_all` adds the metrics of the server's other processes; None: this is the only process.
    """

    def __init__(
        self,
        store: Store,
        notifier: Notifier,
        keyring: Keyring | None = None,
        egress: Egress | None = None,
        artifacts: Artifacts | None = None,
        artifact_bytes_max: int = limits.artifact_bytes_max,
        value_bytes_max: int = limits.large_value_bytes_max,
        codec_url: str | None = None,
        projects_per_user_max: int = limits.projects_per_user_max,
        secrets: StoredSecrets | None = None,
        quota: Quota = Quota(),  # noqa: B008 - immutable
        replica: Replica | None = None,
        exposition_of_all: Callable[[bytes], Awaitable[bytes]] | None = None,
    ) -> None:
        self.store = store
        self.secrets = secrets or StoredSecrets()
        self.keyring = keyring or Keyring(store.signing_keys, secrets=self.secrets)
        self.egress = egress or Egress()
        self.artifacts = artifacts
        self.artifact_bytes_max = artifact_bytes_max
        self.value_bytes_max = value_bytes_max
        self.codec_url = codec_url
        self.value_checks = asyncio.Semaphore(limits.values_checked_at_once_max)
        self.projects_per_user_max = projects_per_user_max
        self.replica = replica
        self.exposition_of_all = exposition_of_all
        self.notifier = notifier
        self.stopping = asyncio.Event()
        self.leader_state = LeaderState()
        self.store_metrics = StoreMetrics()
        self.webhook_projects = WebhookProjects()
        self.followers = Followers(store, notifier, self.stopping)
        self.projections = Projections(store)
        self.notifications = Notifications(notifier, self.stopping)
        self.quotas = ProjectQuotas(store, quota)
        self.targets = ProjectTargets(store)
        self.input_checks = InputChecks()
        self.worker_channels = WorkerChannels(notifier, self.stopping)
        self.open_streams = OpenStreams(self.quotas)
        self.batch_slots = FairSlots(_BATCHES, "batches")
        # Owners of leases that sent a request other than a heartbeat.
        self.worker_activity = ActivityTracker(store.workers.touch)
        self.session_activity = ActivityTracker(store.browser_sessions.touch)
        self.recorded_calls = Interval(limits.push_call_recorded_s)  # keys: (push service, success)
        self.refused_sign_ins = EventThrottle(limits.refused_sign_ins_per_minute_max)
        # A worker's project, kind and key never change, so claims read them from here, and its version from their body
        # where it matters at once. With the time of the read.
        self._workers: dict[str, tuple[float, Worker]] = {}

    def stop(self) -> None:
        """End every pending wait because the server shuts down. Call it on the event loop's thread."""
        self.stopping.set()
        self.input_checks.stop()
        self.followers.wake()
        self.notifier.wake_all()
        self.notifications.wake()

    def publish(self, written: Written) -> None:
        """Wake the followers and loops that wait for what a command wrote, and count it."""
        run_metrics.count(written)
        self._wake((written.run, *written.cancelled, *written.compensations))
        if (written.cancelled and any(run.terminal for run in written.cancelled)) or (
            written.before is not None and written.before.occupies and not written.run.occupies
        ):
            self.notifier.publish((slot_key(written.run.project_id),))
        project_id = written.run.project_id
        if project_id in self.webhook_projects and (
            written.cancelled or event_of(written.before, written.run) is not None
        ):
            self.publish_deliveries()
        spent = written.transition.spent
        if spent is not None:
            if spent.events:
                self.publish_deliveries()
            if spent.attention:
                self.notifier.publish((BUDGETS_KEY,))
        if self.notifier.has_listeners(project_id):
            self.notifier.publish_changes(project_id, changes.of_written(written))

    def publish_runs(self, runs: Sequence[Run]) -> None:
        """Wake the followers of runs that a claim or the dispatcher changed, in any projects."""
        self._wake(runs)
        if any(run.project_id in self.webhook_projects for run in runs):
            self.publish_deliveries()
        for project_id in dict.fromkeys(run.project_id for run in runs):
            if self.notifier.has_listeners(project_id):
                changed = [run for run in runs if run.project_id == project_id]
                self.notifier.publish_changes(project_id, changes.of_runs(changed))

    def publish_deliveries(self) -> None:
        """Wake the loop that delivers webhook events."""
        self.notifier.publish([DELIVERY_KEY])

    def publish_conversation(self, conversation: Conversation) -> None:
        """Notify the project's followers that a conversation was created or changed."""
        if self.notifier.has_listeners(conversation.project_id):
            self.notifier.publish_changes(conversation.project_id, [changes.of_conversation(conversation)])

    def _wake(self, runs: Iterable[Run]) -> None:
        keys: list[str] = []
        for run in runs:
            keys += (run_key(run.seq), family_key(run.root_seq or run.seq))
            if run.batch_id is not None:
                keys.append(batch_key(run.batch_id))
            if run.available_at is not None:
                keys.append(queue_key(run.project_id))
            if (run.terminal and run.awaited_at is not None) or (
                # The deadlines loop may be asleep until a later deadline.
                run.due_at is not None and run.due_at < run.updated_at + limits.deadlines_tick_s * 1000
            ):
                keys.append(DEADLINES_KEY)
            if run.push_service_id is not None:
                stopping = run.cancel_requested_at is not None and run.cancel_stopped_at is None
                if run.available_at is not None or stopping:
                    keys.append(PUSH_KEY)
        self.notifier.publish(keys)

    async def worker(self, worker_id: str) -> Worker | None:
        """Return a worker, which may have been removed within the last `limits.worker_cached_s`."""
        now = time.monotonic()
        read_at, known = self._workers.get(worker_id, (-inf, None))
        if known is not None and now - read_at < limits.worker_cached_s:
            return known
        worker = await self.store.workers.get(worker_id)
        if worker is None:
            self.forget_worker(worker_id)
        else:
            if len(self._workers) >= 10_000:
                self._workers.clear()
            self._workers[worker_id] = (now, worker)
        return worker

    def forget_worker(self, worker_id: str) -> None:
        """Read the worker again at the next request for it."""
        self._workers.pop(worker_id, None)
