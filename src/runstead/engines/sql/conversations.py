"""Conversations: reads, edits, and the move of one with its runs to another project."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from msgspec.structs import asdict, replace

from runstead.core import limits
from runstead.core.conversations.conversation import Conversation, MessageWithRun, StoredMessage
from runstead.core.errors import Error
from runstead.core.idempotency import Idempotency
from runstead.engines.sql.mapping import fields
from runstead.engines.sql.messages import read_messages, write_message
from runstead.engines.sql.methods import SqlNoun, command, paged
from runstead.engines.sql.steps import (
    Call,
    Database,
    RaceLostError,
    Steps,
    execute,
    first,
    select,
    select_page,
    value,
    values,
)
from runstead.ports.store import ConversationQuery, DecideConversation, ListPage


class _RunInFamily(NamedTuple):
    seq: int
    parent_seq: int | None
    run_id: str


class Child(NamedTuple):
    """A run that has a parent."""

    parent_seq: int
    seq: int


class SqlConversations(SqlNoun):
    def __init__(self, database: Database, move_usage: Callable[..., Any]) -> None:
        """`move_usage(connection, seqs of runs, project)` moves the usage of these runs to the project, in the
        transaction of the connection.
        """
        super().__init__(database)
        self._move_usage = move_usage

    @command
    def create(
        self, now: int, conversation: Conversation, idempotency: Idempotency = None
    ) -> Steps[Conversation]:
        return add_conversation(replace(conversation, created_at=now, updated_at=now))

    async def get(self, conversation_id: str) -> Conversation | None:
        return await self._database.read(first, "conversation", Conversation, id=conversation_id)

    @paged
    def page(self, query: ConversationQuery) -> Steps[ListPage[Conversation]]:
        before = limits.integer_max if query.before is None else query.before
        filters = asdict(query) | {"project_ids": list(query.project_ids), "before": before}
        return select_page("conversations_page", Conversation, **filters)

    @command
    def change(
        self, now: int, conversation_id: str, decide: DecideConversation, idempotency: Idempotency = None
    ) -> Steps[Conversation]:
        # Runs are locked before conversations. So it is decided twice: first to see whether runs must be locked.
        seen = yield from first("conversation", Conversation, id=conversation_id)
        moves = seen is not None and decide(seen, now).project_id != seen.project_id
        runs = (yield from _lock_runs(conversation_id)) if moves else None
        old = yield from first("lock_conversation", Conversation, id=conversation_id)
        new = decide(old, now if old is None else max(now, old.updated_at))
        if old is None or new is old:
            return new
        if new.project_id != old.project_id:
            yield from self._move_runs(new, runs)
        yield from execute("change_conversation", new)
        return new

    async def add_message(self, message: StoredMessage, idempotency: Idempotency = None) -> StoredMessage:
        quick = len(message.parts or b"") <= limits.loop_bytes_max
        return await self._database.write(lambda now: write_message(message, now), idempotency, quick=quick)

    async def messages(
        self, conversation_id: str, after: int, limit: int, bytes_max: int
    ) -> list[MessageWithRun]:
        return await self._database.scan(read_messages, conversation_id, after, limit, bytes_max)

    def _move_runs(self, conversation: Conversation, runs: Sequence[_RunInFamily] | None) -> Steps[None]:
        """No run joins while its conversation is locked, and none gets a child while it is locked itself. All checks
        come before the first write.
        """
        seqs = yield from values("runs_of_conversation", conversation_id=conversation.id)
        if runs is None or set(seqs) != {run.seq for run in runs}:
            raise RaceLostError("a run joined the conversation, or left it")
        yield from _refuse_links(runs)
        taken = yield from value(
            "run_ids_taken", project_id=conversation.project_id, run_ids=[run.run_id for run in runs]
        )
        if taken is not None:
            raise Error("RUN_ID_CONFLICT", f"The project holds a run {taken}, as the conversation does")
        yield Call(self._move_usage, (seqs, conversation.project_id))
        yield from execute("move_runs", project_id=conversation.project_id, seqs=seqs)


def add_conversation(conversation: Conversation) -> Steps[Conversation]:
    """The conversation with its seq."""
    seq = yield from value("add_conversation", **fields(conversation))
    return replace(conversation, seq=seq)


def _lock_runs(conversation_id: str) -> Steps[list[_RunInFamily]]:
    seqs = yield from values("runs_of_conversation", conversation_id=conversation_id)
    return (yield from select("lock_runs", _RunInFamily, seqs=seqs))


def _refuse_links(runs: Sequence[_RunInFamily]) -> Steps[None]:
    """CONVERSATION_LINKED where one of the runs has a parent or a child that is not among them."""
    seqs = [run.seq for run in runs]
    children = yield from select("children_seqs", Child, seqs=seqs)
    linked = {child.parent_seq for child in children if child.seq not in seqs}
    linked |= {run.seq for run in runs if run.parent_seq is not None and run.parent_seq not in seqs}
    for run in runs:
        if run.seq in linked:
            raise Error(
                "CONVERSATION_LINKED",
                f"The run {run.run_id} of the conversation has a parent or child outside it and cannot move"
                " to a project",
            )
