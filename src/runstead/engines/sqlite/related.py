"""Reads and writes of other entities in the transactions of runs, in SQLite."""

import sqlite3
from collections.abc import Sequence
from typing import Final

from runstead.core.conversations.conversation import Conversation, StoredMessage
from runstead.core.conversations.input_request import ClosedInput, InputRequest
from runstead.core.errors import not_found
from runstead.core.queue.concurrency import Occupancy
from runstead.core.queue.push_service import PushService
from runstead.core.runs.transition import Want
from runstead.engines.sql import concurrency, conversations, inputs, messages, push_services
from runstead.engines.sql.sqlite_driver import SqliteDriver
from runstead.engines.sql.steps import value
from runstead.engines.sqlite.sql import DIALECT

DRIVER: Final = SqliteDriver(DIALECT, lambda: 0)  # statements that need the time take it as an argument


def occupancies(connection: sqlite3.Connection, project_id: str, most: int) -> list[Occupancy]:
    return DRIVER.run(connection, concurrency.occupancies(project_id, most))


def services_reaching(
    connection: sqlite3.Connection, project_ids: Sequence[str], now: int
) -> list[PushService]:
    return DRIVER.run(connection, push_services.services_reaching(project_ids, now))


def load_input(connection: sqlite3.Connection, run_seq: int, want: Want) -> InputRequest | None:
    return DRIVER.run(connection, inputs.load_input(run_seq, want))


def add_input(connection: sqlite3.Connection, request: InputRequest) -> None:
    lives = DRIVER.run(connection, value("lock_live_conversation", id=request.conversation_id))
    if lives is None:
        raise not_found("Conversation")
    DRIVER.run(connection, inputs.add_input(request))


def close_input(connection: sqlite3.Connection, closed: ClosedInput) -> None:
    DRIVER.run(connection, inputs.close_input(closed))


def add_conversation(connection: sqlite3.Connection, conversation: Conversation) -> None:
    DRIVER.run(connection, conversations.add_conversation(conversation))


def add_message(connection: sqlite3.Connection, message: StoredMessage, now: int) -> StoredMessage:
    return DRIVER.run(connection, messages.add_message(message, now))


def delete_message(connection: sqlite3.Connection, conversation_id: str, run_seq: int) -> None:
    DRIVER.run(connection, messages.delete_message(conversation_id, run_seq))
