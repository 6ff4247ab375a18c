"""The rows of runs, what belongs to them, and the indexes over both."""

from collections import defaultdict
from collections.abc import Iterator

from runstead.conversation import Conversation
from runstead.event import Event
from runstead.run import Run
from runstead.transition import EndedAttempt, NewMessage, Receipt


class Rows:
    def __init__(self, conversations: dict[str, Conversation]) -> None:
        self.conversations = conversations
        self.messages: dict[str, list[NewMessage]] = defaultdict(list)  # the n-th one has seq n
        self.runs: dict[int, Run] = {}
        self.latest_seq = 0
        self.events: dict[int, list[Event]] = defaultdict(list)  # the n-th one has event_id n
        self.attempts: dict[int, list[EndedAttempt]] = defaultdict(list)
        self.receipts: dict[tuple[int, str], Receipt] = {}
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

    def put(self, run: Run) -> None:
        """Store a row, new or changed, and keep the indexes true."""
        seq = run.seq
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
