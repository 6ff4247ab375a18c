"""Messages in the transactions of runs, in PostgreSQL."""

from collections.abc import Iterable, Sequence

from msgspec.structs import astuple, replace

from runstead.core.conversations.conversation import StoredMessage
from runstead.core.errors import not_found
from runstead.engines.postgres.connection import Connection
from runstead.engines.postgres.related import DRIVER
from runstead.engines.postgres.rows import columns_of
from runstead.engines.postgres.sql import Q
from runstead.engines.sql.messages import delete_message as delete_steps


async def lock_live(connection: Connection, ids: Iterable[str]) -> dict[str, int]:
    """Conversation → how many messages it has. NOT_FOUND where one is not there, or was deleted."""
    wanted = sorted(set(ids))
    counts: dict[str, int] = dict(await connection.fetch(Q["lock_conversations"], wanted))
    if len(counts) < len(wanted):
        raise not_found("Conversation")
    return counts


async def add_messages(
    connection: Connection, messages: Sequence[StoredMessage], counts: dict[str, int]
) -> list[StoredMessage]:
    """The messages with the seqs they got, in conversations that are locked."""
    stored = []
    moved = {}
    for message in messages:
        where = message.conversation_id
        counts[where] += 1
        stored.append(replace(message, seq=counts[where]))
        moved[where] = (where, counts[where], message.created_at, message.id)
    await connection.execute(Q["count_messages"], *columns_of(list(moved.values())))
    await connection.execute(Q["add_messages"], *columns_of([astuple(message) for message in stored]))
    return stored


async def delete_message(connection: Connection, conversation_id: str, run_seq: int) -> None:
    """Delete the message that the run filled."""
    await DRIVER.run(connection, delete_steps(conversation_id, run_seq))
