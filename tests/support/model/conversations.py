"""Conversations and their messages in memory."""

from collections.abc import Iterator
from itertools import islice

from msgspec.structs import replace

from runstead.core.conversations.conversation import (
    Conversation,
    MessageRun,
    MessageWithRun,
    StoredMessage,
    same_message,
)
from runstead.core.errors import Error, not_found
from runstead.core.idempotency import IdempotencyRecord
from runstead.ports.store import ConversationQuery, Conversations, DecideConversation, ListPage
from tests.support.model.journal import Effect, Journal
from tests.support.model.rows import Rows


class ModelConversations(Conversations):
    def __init__(self, journal: Journal, rows: Rows) -> None:
        self._journal = journal
        self._rows = rows

    async def create(
        self, conversation: Conversation, idempotency: IdempotencyRecord | None = None
    ) -> Conversation:
        def plan(now: int) -> tuple[Conversation, Effect]:
            there = self._rows.conversations
            assert conversation.id not in there, conversation.id
            new = replace(conversation, created_at=now, updated_at=now, seq=len(there) + 1)
            return new, lambda: there.update({new.id: new})

        return self._journal.write(idempotency, plan)

    async def get(self, conversation_id: str) -> Conversation | None:
        return self._rows.conversations.get(conversation_id)

    async def page(self, query: ConversationQuery) -> ListPage[Conversation]:
        found = [
            one
            for one in self._rows.conversations.values()
            if one.project_id in query.project_ids
            and one.status != "deleted"
            and query.status in (None, one.status)
            and (query.before is None or one.seq < query.before)
        ]
        found.sort(key=lambda one: one.seq, reverse=True)
        return ListPage(found[: query.limit], len(found) > query.limit)

    async def change(
        self, conversation_id: str, decide: DecideConversation, idempotency: IdempotencyRecord | None = None
    ) -> Conversation:
        def plan(now: int) -> tuple[Conversation, Effect]:
            old = self._rows.conversations.get(conversation_id)
            new = decide(old, now)
            moving = self._moving(new) if old is not None and new.project_id != old.project_id else []

            def effect() -> None:
                self._rows.conversations[new.id] = new
                for seq in moving:
                    self._rows.move(seq, new.project_id)

            return new, effect

        return self._journal.write(idempotency, plan)

    def _moving(self, conversation: Conversation) -> list[int]:
        """The runs that go with a conversation to its new project, where they may."""
        messages = self._rows.messages.get(conversation.id, ())
        seqs = [message.run_seq for message in messages if message.run_seq is not None]
        moving = [seq for seq in seqs if seq in self._rows.runs]
        for run in map(self._rows.runs.__getitem__, moving):
            below = {child.seq for child in self._rows.children(run.seq)}
            if not below <= set(moving) or run.parent_seq not in {None, *moving}:
                raise Error(
                    "CONVERSATION_LINKED",
                    f"The run {run.run_id} of the conversation has a parent or child outside it",
                )
            if self._rows.by_id(conversation.project_id, run.run_id) is not None:
                raise Error("RUN_ID_CONFLICT", f"The project holds a run {run.run_id} already")
        return moving

    async def add_message(
        self, message: StoredMessage, idempotency: IdempotencyRecord | None = None
    ) -> StoredMessage:
        where = message.conversation_id

        def plan(now: int) -> tuple[StoredMessage, Effect]:
            conversation = self._rows.live(where)
            known = self._rows.messages.get(where, [])
            if message.idempotency_key is not None:
                for one in known:
                    if one.idempotency_key == message.idempotency_key:
                        return same_message(one, message), lambda: None
            new = replace(message, created_at=now, updated_at=now, seq=conversation.message_count + 1)
            if message.parent_id is not None:
                new = replace(new, parent_id=_parent(known, message.parent_id))
            return new, lambda: self._rows.add_message(new, now)

        return self._journal.write(idempotency, plan)

    async def messages(
        self, conversation_id: str, after: int, limit: int, bytes_max: int
    ) -> list[MessageWithRun]:
        found: list[MessageWithRun] = []
        size = 0
        for message in islice(self._after(conversation_id, after), limit):
            spoken = MessageWithRun(message, self._run(message))
            size += spoken.bytes
            if found and size > bytes_max:
                break
            found.append(spoken)
        return found

    def _after(self, conversation_id: str, after: int) -> Iterator[StoredMessage]:
        return (one for one in self._rows.messages.get(conversation_id, ()) if one.seq > after)

    def _run(self, message: StoredMessage) -> MessageRun | None:
        run = None if message.run_seq is None else self._rows.runs.get(message.run_seq)
        if run is None:
            return None
        return MessageRun(run.seq, run.run_id, run.status, run.latest_event_id, run.updated_at, run.metadata)


def _parent(known: list[StoredMessage], named: str) -> str:
    for name in ("id", "idempotency_key"):
        for one in known:
            if getattr(one, name) == named:
                return one.id
    raise not_found("Parent message")
