"""The rows of runs, what belongs to them, and the indexes over both."""

from collections import defaultdict
from collections.abc import Iterator

from msgspec.structs import replace

from runstead.core.batches.batch import Batch
from runstead.core.conversations.conversation import Conversation, StoredMessage
from runstead.core.conversations.input_request import ClosedInput, InputRequest
from runstead.core.errors import not_found
from runstead.core.queue.worker import Session
from runstead.core.runs.compensation import Compensation
from runstead.core.runs.event import Event
from runstead.core.runs.run import Run
from runstead.core.runs.signal import Signal
from runstead.core.runs.transition import EndedAttempt, Receipt
from runstead.core.runs.values import RunValue
from runstead.core.schedules.schedule import Schedule
from runstead.core.usage import rollup
from runstead.core.webhooks.webhook import Delivery, Webhook

Place = tuple[int, int]
"""(seq of the run, event_id)"""


class Rows:
    def __init__(self) -> None:
        self.conversations: dict[str, Conversation] = {}
        self.messages: dict[str, list[StoredMessage]] = defaultdict(list)  # oldest first
        self.inputs: dict[str, InputRequest] = {}  # in order of creation
        self.input_secrets: dict[str, str] = {}  # request → secrets of its response
        self.schedules: dict[str, Schedule] = {}
        self.webhooks: dict[str, Webhook] = {}
        self.deliveries: dict[str, Delivery] = {}
        self.latest_delivery_seq = 0
        self.batches: dict[str, Batch] = {}  # in order of creation
        self.runs: dict[int, Run] = {}
        self.latest_seq = 0
        self.rollup_entries: list[rollup.Entry] = []
        self.artifact_tombstones: dict[str, None] = {}  # uids of deleted runs that had artifacts, in order
        self.events: dict[int, list[Event]] = defaultdict(list)  # the n-th one has event_id n
        self.attempts: dict[int, list[EndedAttempt]] = defaultdict(list)
        self.receipts: dict[tuple[int, str], Receipt] = {}
        self.event_keys: dict[int, dict[str, bytes]] = defaultdict(dict)  # run → key → digest
        self.values: dict[int, dict[str, RunValue]] = defaultdict(dict)  # run → name → value
        self.signals: dict[int, dict[int, Signal]] = defaultdict(dict)  # run → number → signal
        self.compensations: dict[int, dict[int, Compensation]] = defaultdict(
            dict
        )  # run → number → compensation
        self.family_logs: dict[int, list[Place]] = defaultdict(
            list
        )  # root → the n-th one stands at position n
        self.sessions: dict[int, dict[str, Session]] = {}  # run → worker → session, in order of creation
        self.queued: dict[str, set[int]] = defaultdict(set)  # project → runs with available_at
        self.due: set[int] = set()  # runs with due_at
        self.pushed: set[int] = set()  # runs with a push service, queued or cancelled and not stopped
        self._seqs: dict[tuple[str, str], int] = {}
        self._children: dict[int, list[int]] = defaultdict(list)
        self._families: dict[int, list[int]] = defaultdict(list)

    def by_id(self, project_id: str, run_id: str) -> Run | None:
        seq = self._seqs.get((project_id, run_id))
        return None if seq is None else self.runs[seq]

    def children(self, seq: int) -> Iterator[Run]:
        return (self.runs[child] for child in self._children.get(seq, ()))

    def family(self, root_seq: int) -> Iterator[Run]:
        return (self.runs[member] for member in self._families.get(root_seq, ()))

    def live(self, conversation_id: str) -> Conversation:
        conversation = self.conversations.get(conversation_id)
        if conversation is None or conversation.status == "deleted":
            raise not_found("Conversation")
        return conversation

    def add_message(self, message: StoredMessage, now: int) -> StoredMessage:
        """The message with the seq it got."""
        conversation = self.live(message.conversation_id)
        stored = replace(message, seq=conversation.message_count + 1)
        self.conversations[conversation.id] = replace(
            conversation,
            message_count=stored.seq,
            last_message_at=now,
            updated_at=max(conversation.updated_at, now),
            current_node=stored.id,
        )
        self.messages[conversation.id].append(stored)
        return stored

    def add_delivery(self, delivery: Delivery) -> None:
        """Store a new one under the next number."""
        assert delivery.id not in self.deliveries, delivery.id
        self.latest_delivery_seq += 1
        self.deliveries[delivery.id] = replace(delivery, seq=self.latest_delivery_seq)

    def move(self, seq: int, project_id: str) -> None:
        """Give a run to another project, where its id is free."""
        run = self.runs[seq]
        del self._seqs[run.project_id, run.run_id]
        self._seqs[project_id, run.run_id] = seq
        self.queued[run.project_id].discard(seq)
        if run.terminal:
            self.rollup_entries.extend(rollup.moved(rollup.end_of(run), project_id, rolled_up=True))
        self.put(replace(run, project_id=project_id, version=run.version + 1))

    def put(self, run: Run) -> None:
        """Store a row, new or changed, and keep the indexes true."""
        seq = run.seq
        self.rollup_entries.extend(rollup.ended(self.runs.get(seq), run))
        if seq not in self.runs:
            assert run.root_seq is not None
            assert seq > self.latest_seq, seq
            self.latest_seq = seq
            self._seqs[run.project_id, run.run_id] = seq
            self._families[run.root_seq].append(seq)
            if run.parent_seq is not None:
                self._children[run.parent_seq].append(seq)
        self.runs[seq] = run
        queued = self.queued[run.project_id]
        if run.available_at is None:
            queued.discard(seq)
        else:
            queued.add(seq)
        self.pushed.discard(seq)
        stopping = run.cancel_requested_at is not None and run.cancel_stopped_at is None
        if run.push_service_id is not None and (run.available_at is not None or stopping):
            self.pushed.add(seq)
        if run.due_at is None:
            self.due.discard(seq)
        else:
            self.due.add(seq)

    def remove(self, run: Run) -> None:
        """Drop a row and all that belongs to it. A root is the last of its family."""
        seq = run.seq
        self.rollup_entries.extend(rollup.gone(rollup.end_of(run), rolled_up=True))
        if run.artifacts is not None:
            self.artifact_tombstones[run.uid] = None
        del self.runs[seq], self._seqs[run.project_id, run.run_id]
        self.pushed.discard(seq)
        assert run.root_seq is not None
        self._families[run.root_seq].remove(seq)
        if run.parent_seq is not None:
            self._children[run.parent_seq].remove(seq)
        owned = (self.events, self.attempts, self.event_keys, self.values, self.signals, self.sessions)
        self.compensations.pop(seq, None)
        self.family_logs.pop(seq, None)
        for belongings in owned:
            belongings.pop(seq, None)
        for name in [name for name in self.receipts if name[0] == seq]:
            del self.receipts[name]
        for request_id in [one.id for one in self.inputs.values() if one.run_seq == seq]:
            del self.inputs[request_id]
            self.input_secrets.pop(request_id, None)
        if run.conversation_id is not None:
            self._remove_message(run.conversation_id, seq)
        self.queued[run.project_id].discard(seq)
        self.due.discard(seq)

    def close_input(self, closed: ClosedInput) -> None:
        response = closed.response
        if response is not None and response.secrets is not None:
            self.input_secrets[closed.id] = response.secrets
            closed = replace(closed, response=replace(response, secrets=None))
        self.inputs[closed.id] = closed.applied(self.inputs[closed.id])

    def erase_secrets(self, run_seq: int) -> None:
        for request_id in [one.id for one in self.inputs.values() if one.run_seq == run_seq]:
            self.input_secrets.pop(request_id, None)

    def _remove_message(self, conversation_id: str, run_seq: int) -> None:
        """Of the message that the run filled, nothing is left to point to."""
        messages = self.messages[conversation_id]
        gone = {message.id for message in messages if message.run_seq == run_seq}
        kept = [
            replace(message, parent_id=None) if message.parent_id in gone else message
            for message in messages
            if message.id not in gone
        ]
        self.messages[conversation_id] = kept
        conversation = self.conversations[conversation_id]
        newest = kept[-1].id if kept else None
        self.conversations[conversation_id] = replace(conversation, current_node=newest)
