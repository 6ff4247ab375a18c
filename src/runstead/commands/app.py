"""What every command works with."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence

from runstead.commands import changes
from runstead.commands.followers import Following
from runstead.commands.notifications import Notifications
from runstead.commands.projections import Projections
from runstead.core import limits
from runstead.core.conversations.conversation import Conversation
from runstead.core.leadership import LeaderState
from runstead.core.queue.worker import Worker
from runstead.core.replica import Replica
from runstead.core.runs.run import Run
from runstead.core.webhooks.event import event_of
from runstead.ports.artifact_store import Artifacts
from runstead.ports.notifier import (
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
from runstead.security.egress import Egress
from runstead.security.signing import Keyring


class App:
    """The store and the hints that follow its commits. `stopping` is set when the server shuts down: whoever waits
    for something then answers at once. `standing` tells whether this replica leads. `keyring` signs, `egress` calls
    addresses that callers chose. `artifacts` keeps what runs have made, None where there is no place for it.
    """

    def __init__(
        self,
        store: Store,
        notifier: Notifier,
        keyring: Keyring | None = None,
        egress: Egress | None = None,
        artifacts: Artifacts | None = None,
        artifact_bytes_max: int = limits.artifact_bytes_max,
    ) -> None:
        self.store = store
        self.keyring = keyring or Keyring(store.signing_keys)
        self.egress = egress or Egress()
        self.artifacts = artifacts
        self.artifact_bytes_max = artifact_bytes_max
        self.notifier = notifier
        self.stopping = asyncio.Event()
        self.leader_state = LeaderState()
        # Projects with webhooks, as far as known here: for these, whoever delivers is woken. Others are found by looking.
        self.hooked: frozenset[str] = frozenset()
        self.following = Following(store, notifier, self.stopping)
        self.folds = Projections(store)
        self.notifications = Notifications(notifier, self.stopping)
        # Ids of workers, and of others, that were heard of without a heartbeat, until that is stored.
        self.heard: set[str] = set()
        # Ids of browser sessions that were seen, until that is stored.
        self.browsing: set[str] = set()
        # This server as others see it, None until it tells them.
        self.replica: Replica | None = None
        # Adds the metrics of the server's other processes to this one's; None where it is the only one.
        self.exposition_of_all: Callable[[bytes], Awaitable[bytes]] | None = None
        # A worker's project, kind and key never change: what a claim needs of it need not be read again.
        self._workers: dict[str, Worker] = {}

    def stop(self) -> None:
        """Tell everybody who waits that the server shuts down. On the event loop's thread."""
        self.stopping.set()
        self.following.wake()
        self.notifier.wake_all()
        self.notifications.wake()

    def publish(self, written: Written) -> None:
        """Wake whoever follows what a command has written."""
        self._wake((written.run, *written.cancelled))
        if any(run.terminal for run in written.cancelled) or (
            written.before is not None and written.before.occupies and not written.run.occupies
        ):
            self.notifier.publish((slot_key(written.run.project_id),))
        project_id = written.run.project_id
        if project_id in self.hooked and (
            written.cancelled or event_of(written.before, written.run) is not None
        ):
            self.publish_deliveries()
        if self.notifier.has_listeners(project_id):
            self.notifier.publish_changes(project_id, changes.of_written(written))

    def publish_runs(self, runs: Sequence[Run]) -> None:
        """The same for runs that a claim or the dispatcher has changed, of any projects."""
        self._wake(runs)
        if any(run.project_id in self.hooked for run in runs):
            self.publish_deliveries()
        for project_id in dict.fromkeys(run.project_id for run in runs):
            if self.notifier.has_listeners(project_id):
                mine = [run for run in runs if run.project_id == project_id]
                self.notifier.publish_changes(project_id, changes.of_runs(mine))

    def publish_deliveries(self) -> None:
        """Wake whoever delivers to webhooks."""
        self.notifier.publish([DELIVERY_KEY])

    def publish_conversation(self, conversation: Conversation) -> None:
        """Tell whoever follows the project that a conversation in it was made or changed."""
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
                # Whoever enforces deadlines may be asleep until a later one.
                run.due_at is not None and run.due_at < run.updated_at + limits.deadlines_tick_s * 1000
            ):
                keys.append(DEADLINES_KEY)
            if run.push_service_id is not None:
                stopping = run.cancel_requested_at is not None and run.cancel_stopped_at is None
                if run.available_at is not None or stopping:
                    keys.append(PUSH_KEY)
        self.notifier.publish(keys)

    async def worker(self, worker_id: str) -> Worker | None:
        worker = self._workers.get(worker_id)
        if worker is None:
            worker = await self.store.workers.get(worker_id)
            if worker is not None:
                if len(self._workers) >= 10_000:
                    self._workers.clear()
                self._workers[worker_id] = worker
        return worker
