"""The port to a store. Its doc comments are the contract that the suite in tests/store holds every engine to.

Rules for every engine: a row and what belongs to it change in one transaction; a method returns only once that is
durable; a refusal by a rule (`errors.Error`) leaves nothing behind and harms no other command; trouble with the medium
is `STORE_UNAVAILABLE`, a full queue `STORE_BUSY`, and neither leaves anything behind. Methods with a `seal` look the
idempotency key up first: they raise `Replay` with the stored answer, or `IDEMPOTENCY_KEY_REUSED`, and otherwise store
`seal.render(result)` with the effect. Times are ms by the engine's clock, which never runs backwards.
"""

from typing import Any, Protocol

from runstead.ports.store.artifact_tombstones import ArtifactTombstones
from runstead.ports.store.batches import Batches, BatchQuery, DecideBatch, Made, Member
from runstead.ports.store.browser_sessions import BrowserSessions, DecideSession
from runstead.ports.store.concurrency import Concurrency
from runstead.ports.store.conversations import (
    ConversationQuery,
    Conversations,
    DecideConversation,
    InputRequests,
)
from runstead.ports.store.identity import Count, Guard, Identity
from runstead.ports.store.integrity import Integrity, IntegrityPage, Stats, TableSize
from runstead.ports.store.leadership import Leadership
from runstead.ports.store.prices import Prices
from runstead.ports.store.push_services import PushServices
from runstead.ports.store.replicas import Replicas
from runstead.ports.store.retention import Archived, Retention, RetentionCandidate, RetentionPage
from runstead.ports.store.rollups import ActivityQuery, Edge, Rollups, UsagePage, UsageQuery, WaySums
from runstead.ports.store.run_index import RunIndex
from runstead.ports.store.runs import (
    ClaimRequest,
    DecideOne,
    DecidePush,
    FamilyPage,
    RunKey,
    RunQuery,
    Runs,
    TypeCount,
    Written,
    WrittenFiring,
)
from runstead.ports.store.schedules import DecideNew, DecideSchedule, DecideSync, ScheduleQuery, Schedules
from runstead.ports.store.signing_keys import SigningKeys
from runstead.ports.store.statistics import Depth, Statistics
from runstead.ports.store.triggers import DecideTrigger, Triggers
from runstead.ports.store.webhooks import DecideDelivery, DecideWebhook, Webhooks
from runstead.ports.store.workers import Workers

__all__ = [
    "ActivityQuery",
    "Archived",
    "ArtifactTombstones",
    "BatchQuery",
    "Batches",
    "BrowserSessions",
    "ClaimRequest",
    "Concurrency",
    "ConversationQuery",
    "Conversations",
    "Count",
    "DecideBatch",
    "DecideConversation",
    "DecideDelivery",
    "DecideNew",
    "DecideOne",
    "DecidePush",
    "DecideSchedule",
    "DecideSession",
    "DecideSync",
    "DecideTrigger",
    "DecideWebhook",
    "Depth",
    "Edge",
    "FamilyPage",
    "Guard",
    "Identity",
    "InputRequests",
    "Integrity",
    "IntegrityPage",
    "Leadership",
    "Made",
    "Member",
    "Prices",
    "PushServices",
    "Replicas",
    "Retention",
    "RetentionCandidate",
    "RetentionPage",
    "Rollups",
    "RunIndex",
    "RunKey",
    "RunQuery",
    "Runs",
    "ScheduleQuery",
    "Schedules",
    "SigningKeys",
    "Statistics",
    "Stats",
    "Store",
    "TableSize",
    "Triggers",
    "TypeCount",
    "UsagePage",
    "UsageQuery",
    "WaySums",
    "Webhooks",
    "Workers",
    "Written",
    "WrittenFiring",
]


class Store(Protocol):
    @property
    def runs(self) -> Runs: ...
    @property
    def identity(self) -> Identity: ...
    @property
    def workers(self) -> Workers: ...
    @property
    def conversations(self) -> Conversations: ...
    @property
    def inputs(self) -> InputRequests: ...
    @property
    def schedules(self) -> Schedules: ...
    @property
    def batches(self) -> Batches: ...
    @property
    def push_services(self) -> PushServices: ...
    @property
    def webhooks(self) -> Webhooks: ...
    @property
    def triggers(self) -> Triggers: ...
    @property
    def concurrency(self) -> Concurrency: ...
    @property
    def signing_keys(self) -> SigningKeys: ...
    @property
    def artifact_tombstones(self) -> ArtifactTombstones: ...
    @property
    def browser_sessions(self) -> BrowserSessions: ...
    @property
    def prices(self) -> Prices: ...
    @property
    def replicas(self) -> Replicas: ...
    @property
    def statistics(self) -> Statistics: ...
    @property
    def leadership(self) -> Leadership: ...
    @property
    def integrity(self) -> Integrity: ...
    @property
    def retention(self) -> Retention: ...
    @property
    def run_index(self) -> RunIndex: ...
    @property
    def rollups(self) -> Rollups: ...

    async def open(self) -> None:
        """Make ready, migrations included. A store newer than the program is refused with a clear sentence."""
        ...

    async def migrate(self) -> list[str]:
        """Bring the schema up to date, as `open` does; the names of what was applied. The store need not be open."""
        ...

    async def pending(self) -> list[str]:
        """What `migrate` would apply. Changes nothing; RuntimeError where there is no store yet."""
        ...

    async def close(self) -> None:
        """Finish what is queued, then let go."""
        ...

    async def check(self) -> dict[str, Any]:
        """Prove that a commit works, then tell `facts`."""
        ...

    @property
    def address(self) -> str:
        """Where it is, for an operator: without user and password."""
        ...

    def facts(self) -> dict[str, Any]:
        """How it fares, without touching the medium: `engine`, `queue_depth`, `commits` and `commands` since start."""
        ...

    async def forget(self, age_ms: int, limit: int) -> int:
        """Drop answers kept for idempotency keys that are older than this by the engine's clock, `limit` at most; how
        many.
        """
        ...
