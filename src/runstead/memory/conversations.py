"""Conversations in memory."""

from runstead.conversation import Conversation
from runstead.memory.journal import Effect, Journal
from runstead.seal import Seal
from runstead.store import Conversations


class MemoryConversations(Conversations):
    def __init__(self, journal: Journal, conversations: dict[str, Conversation]) -> None:
        self._journal = journal
        self._conversations = conversations

    async def create(self, conversation: Conversation, seal: Seal | None = None) -> Conversation:
        def plan(_: int) -> tuple[Conversation, Effect]:
            assert conversation.id not in self._conversations, conversation.id
            return conversation, lambda: self._conversations.update({conversation.id: conversation})

        return self._journal.write(seal, plan)

    async def get(self, conversation_id: str) -> Conversation | None:
        return self._conversations.get(conversation_id)
