"""How records stand in tables, for the engines that speak SQL: which columns, in which order, and what they hold."""

from collections.abc import Sequence
from typing import Final

from runstead.core.batches.batch import Batch
from runstead.core.conversations.conversation import Conversation, StoredMessage
from runstead.core.conversations.input_request import InputRequest
from runstead.core.identity.browser_session import BrowserSession
from runstead.core.identity.project import ApiKey, Member, Project
from runstead.core.identity.signing_key import SigningKey
from runstead.core.leadership import Lead
from runstead.core.queue.push_service import PushService
from runstead.core.queue.worker import Session, Worker
from runstead.core.replica import Replica
from runstead.core.schedules.schedule import Schedule
from runstead.core.schedules.trigger import Trigger
from runstead.core.usage.price import Price
from runstead.core.webhooks.webhook import Delivery, Webhook
from runstead.engines.sql.inputs import RESPONSE
from runstead.engines.sql.run_terms import FACTS

_REQUESTED: Final = tuple(name for name in InputRequest.__struct_fields__ if name != "response")
_OF_NO_COLUMN: Final = ("reach", "active")

#: The records whose tables have a column for each field, under the names that shared statements use.
RECORDS: Final[dict[str, Sequence[str]]] = {
    "new_batch": tuple(name for name in Batch.__struct_fields__ if name != "seq"),
    "browser_session": BrowserSession.__struct_fields__,
    "conversation": Conversation.__struct_fields__,
    "new_conversation": tuple(name for name in Conversation.__struct_fields__ if name != "seq"),
    "message": StoredMessage.__struct_fields__,
    "input_request": (*_REQUESTED, *RESPONSE.values()),
    "new_input_request": tuple(name for name in _REQUESTED if name not in {"seq", "ended_at"}),
    "key": ApiKey.__struct_fields__,
    "lead": Lead.__struct_fields__,
    "member": Member.__struct_fields__,
    "price": Price.__struct_fields__,
    "project": Project.__struct_fields__,
    "push_service": tuple(name for name in PushService.__struct_fields__ if name not in _OF_NO_COLUMN),
    "replica": Replica.__struct_fields__,
    "schedule": Schedule.__struct_fields__,
    "session": Session.__struct_fields__,
    "signing_key": SigningKey.__struct_fields__,
    "trigger": Trigger.__struct_fields__,
    "delivery": Delivery.__struct_fields__,
    "delivery_without_payload": tuple(name for name in Delivery.__struct_fields__ if name != "payload"),
    "new_delivery": tuple(name for name in Delivery.__struct_fields__ if name != "seq"),
    "webhook": Webhook.__struct_fields__,
    "worker": Worker.__struct_fields__,
}

#: The words of the statements of one engine.
WORDS: Final = {
    **{name: ", ".join(columns) for name, columns in RECORDS.items()},
    "indexed": ", ".join(FACTS),
}
