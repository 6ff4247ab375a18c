"""The port to a store. Its docstrings are the contract that tests/store checks for every engine.

Rules for every engine:

- A row and what belongs to it change in one transaction. A method returns only after the transaction is
  durable.
- A rule that raises `errors.Error` leaves no change and affects no other command.
- A failure of the storage is STORE_UNAVAILABLE, a full queue is STORE_BUSY. Neither leaves a change.
- A method with an `idempotency` argument looks up the key first. It raises `ReplayedResponse` with the stored
  answer or IDEMPOTENCY_KEY_REUSED; otherwise it stores `idempotency.render(result)` with the effect.
- Times are ms by the engine's clock, which never runs backwards.
"""

from typing import Any, Protocol

from runstead.core.audit import Audit
from runstead.core.migration import PendingMigration
from runstead.ports.store.alerts import DecideDeliveries
from runstead.ports.store.artifact_tombstones import ArtifactTombstones
from runstead.ports.store.audit import AuditLog, AuditQuery, Recording
from runstead.ports.store.batches import BatchChanges, Batches, BatchQuery, DecideBatch, Made, Member
from runstead.ports.store.browser_sessions import BrowserSessions, DecideSession
from runstead.ports.store.budgets import BudgetState, WaitingPage, WaitingRun
from runstead.ports.store.bus_events import BusEvents
from runstead.ports.store.concurrency import Concurrency
from runstead.ports.store.conversations import (
    ConversationQuery,
    Conversations,
    DecideConversation,
    InputRequests,
)
from runstead.ports.store.identity import Guard, Identity, MemberCounts
from runstead.ports.store.integrity import Integrity, IntegrityPage, Stats, TableSize
from runstead.ports.store.leadership import Leadership
from runstead.ports.store.list_page import ListPage
from runstead.ports.store.project_records import Change, Count
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
    SeqPage,
    TypeCount,
    Written,
    WrittenFiring,
    count_runs,
)
from runstead.ports.store.saved_views import SavedViews
from runstead.ports.store.schedules import DecideNew, DecideSync, ScheduleQuery, Schedules
from runstead.ports.store.secrets import Replacement, Secrets
from runstead.ports.store.signing_keys import SigningKeys
from runstead.ports.store.statistics import Depth, Measured, PoolUse, QueueAge, Sizes, Statistics
from runstead.ports.store.targets import Targets
from runstead.ports.store.webhooks import DecideDelivery, Webhooks
from runstead.ports.store.workers import Workers


class Store(Recording, Protocol):
    """The nouns of a store record no changes in the audit log, except those of `recording`."""

    runs: Runs
    targets: Targets
    conversations: Conversations
    inputs: InputRequests
    batches: Batches
    bus_events: BusEvents
    saved_views: SavedViews
    secrets: Secrets
    signing_keys: SigningKeys
    artifact_tombstones: ArtifactTombstones
    replicas: Replicas
    statistics: Statistics
    leadership: Leadership
    integrity: Integrity
    retention: Retention
    run_index: RunIndex
    rollups: Rollups
    audit: AuditLog

    def recording(self, audit: Audit) -> Recording:
        """Return nouns whose changes are recorded in the audit log."""

    async def open(self) -> None:
        """Prepare for use, and apply migrations. RuntimeError if the store is newer than the program."""

    async def migrate(self) -> list[str]:
        """Apply migrations, as `open` does, and return their names. The store need not be open."""

    async def pending(self) -> list[PendingMigration]:
        """Return the migrations that `migrate` would apply. Changes nothing. RuntimeError if
        there is no store yet.
        """

    async def close(self) -> None:
        """Finish the queued writes, then release all resources."""

    async def check(self) -> dict[str, Any]:
        """Check that a commit works, then return `facts`."""

    @property
    def address(self) -> str:
        """The address of the store for an operator, without user and password."""

    def facts(self) -> dict[str, Any]:
        """Return `engine`, `queue_depth`, and `commits` and `commands` since the start, without access to the storage."""

    def expected_wait_s(self) -> float:
        """Return how long a new run of the current tenant would wait for its commit. Cheap, for each request."""

    def pools(self) -> list[PoolUse]:
        """Return the use of the pools of this process, without access to the storage."""

    async def sizes(self) -> Sizes:
        """Return the sizes of the storage."""

    async def forget(self, age_ms: int, limit: int) -> int:
        """Delete at most `limit` idempotency records that are older than `age_ms`, and return their number."""
