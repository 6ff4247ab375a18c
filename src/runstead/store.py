"""The port to a store. Its doc comments are the contract that the suite in tests/store holds every engine to.

Rules for every engine: a row and what belongs to it change in one transaction; a method returns only once that is
durable; a refusal by a rule (`errors.Error`) leaves nothing behind and harms no other command; trouble with the medium
is `STORE_UNAVAILABLE`, a full queue `STORE_BUSY`, and neither leaves anything behind. Methods with a `seal` look the
idempotency key up first: they raise `Replay` with the stored answer, or `IDEMPOTENCY_KEY_REUSED`, and otherwise store
`seal.render(result)` with the effect. Times are ms by the engine's clock, which never runs backwards.
"""

from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple, Protocol

import msgspec

from runstead.conversation import Conversation, Spoken, StoredMessage
from runstead.event import Event, FamilyEvent
from runstead.input_request import InputRequest
from runstead.principal import Role
from runstead.project import ApiKey, Member, Project
from runstead.push_service import PushService
from runstead.run import Run
from runstead.schedule import Schedule, ScheduleStatus
from runstead.seal import Seal
from runstead.signing_key import SigningKey
from runstead.transition import NOTHING_ELSE, Decide, EndedAttempt, Transition, Want
from runstead.usage import FamilyUsage
from runstead.worker import Session, Worker


class RunKey(NamedTuple):
    """How callers name a run."""

    project_id: str
    run_id: str


class Written(msgspec.Struct, frozen=True):
    """What a command came to: the run as it stands now, its transition, and the descendants it cancelled.

    `before` is the run as it was loaded: None where the command created it, `run` itself where nothing was written.
    """

    run: Run
    transition: Transition
    cancelled: tuple[Run, ...] = ()
    before: Run | None = None


Guard = Callable[[Sequence[Member], Sequence[ApiKey]], None]
"""Raises where a change to a project's members may not be: it gets its members and keys as they stand, under lock."""

Count = Callable[[int], None]
"""Raises where there may be no more: it gets how many there are, under lock."""

DecideOne = Callable[[Run, int], Transition]
"""(run, now) → Transition, for commands whose rows the engine chooses."""


DecidePush = Callable[[Run, int, Sequence[PushService]], Transition]
"""(run, now, the services that reach its project) → Transition."""


class ClaimQuery(msgspec.Struct, frozen=True):
    """Which runs a worker takes. `kinds` without targets means every target; agent runs also need the
    implementation_kind, and a worker_key that is null or equal.
    """

    project_id: str
    kinds: tuple[str, ...]
    targets: tuple[str, ...] = ()
    implementation_kind: str | None = None
    worker_key: str | None = None
    limit: int = 1


class RunQuery(msgspec.Struct, frozen=True):
    """Filters are joined by and; within one filter any of its values will do, but every label must be there.
    `created_after` and `created_before` are exclusive; sorted by duration, runs without one are left out. `before` continues after the last row
    of a page: its sort value (None when sorted by creation) and its seq.
    """

    project_ids: tuple[str, ...]
    statuses: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()
    batch_id: str | None = None
    schedule_id: str | None = None
    parent_run_id: str | None = None
    root_only: bool = False
    labels: tuple[tuple[str, str], ...] = ()
    created_after: int | None = None
    created_before: int | None = None
    text: str | None = None  # in run_id, title or target, ignoring case
    sort: Literal["created_at", "duration"] = "created_at"
    before: tuple[int | None, int] | None = None
    limit: int = 50


class ScheduleQuery(msgspec.Struct, frozen=True):
    """Schedules of one project; None filters nothing."""

    project_id: str
    limit: int
    status: ScheduleStatus | None = None
    source_trigger_id: str | None = None


class FamilyPage(msgspec.Struct, frozen=True):
    """A stretch of a family's events. `reached`: how far the log was read, `more`: whether something follows that was
    asked for, `ended`: whether the run and all below it have ended, so that nothing more will come.
    """

    events: list[FamilyEvent]
    reached: int
    more: bool
    ended: bool


class TypeCount(msgspec.Struct, frozen=True):
    """How often a type stands in a run's log, and from when to when."""

    type: str
    count: int
    first_at: int
    last_at: int


class Runs(Protocol):
    async def apply(
        self, key: RunKey, decide: Decide, want: Want = NOTHING_ELSE, seal: Seal | None = None
    ) -> Written:
        """Load the run (None where there is none) and what is wanted, decide, and write what was decided.

        Events get the numbers after the run's latest. Where the transition's run is the loaded one, nothing is
        written. A run that was cancelled takes every descendant that has not ended along, by `transitions.cancel`.
        Ancestors' counters move by `family_total` and `family_active`. A parent that is wanted and missing is
        NOT_FOUND. A transition's input request that is new (seq 0) is stored with its run's seq, and NOT_FOUND where
        its conversation is not there or deleted. A new conversation is stored with the run, a changed schedule
        rewritten under its version. A run that is deleted takes its events, their keys, its attempts, receipts,
        sessions, input requests and message along; its places in the family's order stay empty for ever.

        Whichever command ends a run that a schedule brought about, the schedule becomes what `schedule.ended` says.
        """
        ...

    async def claim(self, query: ClaimQuery, decide: DecideOne, seal: Seal | None = None) -> list[Run]:
        """The oldest claimable runs (by `available_at`), each decided and written; two claims never get the same."""
        ...

    async def referee(self, limit: int, decide: DecideOne) -> list[Written]:
        """At most `limit` runs whose `due_at` has passed, soonest first, each decided and written."""
        ...

    async def dispatch(self, limit: int, busy: Sequence[str], decide: DecidePush) -> list[Run]:
        """At most `limit` runs that are due to be pushed, oldest first, each decided and written; those of the
        services in `busy` are passed over. No two calls get the same run.
        """
        ...

    async def cancelled_pushes(self, limit: int, busy: Sequence[str]) -> list[Run]:
        """At most `limit` pushed runs that were cancelled and have not stopped, oldest first; not of `busy` services."""
        ...

    async def get(self, key: RunKey) -> Run | None: ...

    async def find(self, run_id: str, project_ids: Sequence[str]) -> list[Run]:
        """The runs of this id in these projects, two at most."""
        ...

    async def page(self, query: RunQuery) -> list[Run]:
        """Newest first (or longest first), at most `query.limit`. Values over 64 KiB need not be cut."""
        ...

    async def children(self, seq: int, limit: int, after: int = 0, kind: str | None = None) -> list[Run]:
        """Direct children (of one kind) with a seq over `after`, oldest first."""
        ...

    async def family(self, root_seq: int, limit: int) -> list[Run]:
        """The root and all below it, oldest first."""
        ...

    async def attempts(self, seq: int) -> list[EndedAttempt]:
        """The attempts that ended without a completion, oldest first."""
        ...

    async def events(
        self,
        seq: int,
        after: int,
        limit: int,
        bytes_max: int | None = None,
        types: Sequence[str] = (),
    ) -> list[Event]:
        """Public events with a number over `after`, in order: at most `limit`, and no more once their payloads
        exceed `bytes_max` (the first always comes).
        """
        ...

    async def event(self, seq: int, event_id: int) -> Event | None:
        """The public event of this number."""
        ...

    async def event_counts(self, seq: int) -> list[TypeCount]:
        """Public events by type, the most frequent first."""
        ...

    async def family_events(
        self, run: Run, after: int, limit: int, bytes_max: int | None = None, types: Sequence[str] = ()
    ) -> FamilyPage:
        """Public events of a run and of all below it, with a position over `after`, in order; bounds as for `events`.

        The position counts every event that was ever stored in the whole family, from 1, in the order of storing: a
        total order that only grows at its end. All of the page is from one moment.
        """
        ...

    async def usage(self, run: Run) -> FamilyUsage:
        """What the run's family reported, summed up. No metadata stands in memory whole but one at a time."""
        ...

    async def exists(self, seq: int) -> bool: ...


class Directory(Protocol):
    """Projects, members, keys."""

    async def create_project(
        self, project: Project, member: Member | None, key: ApiKey | None, seal: Seal | None = None
    ) -> Project:
        """Store it with its first member and key. A slug that exists is PROJECT_SLUG_TAKEN."""
        ...

    async def ensure_project(self, project: Project, member: Member | None, key: ApiKey | None) -> Project:
        """The same, where it need not exist: the project with this slug stays, a key or member that exists too."""
        ...

    async def project(self, ref: str) -> Project | None:
        """By id or slug."""
        ...

    async def projects(self, ids: Sequence[str] | None) -> list[Project]:
        """Oldest first; unknown ids are left out. None: every project."""
        ...

    async def is_empty(self) -> bool:
        """Whether the store holds no project."""
        ...

    async def create_key(self, key: ApiKey, seal: Seal | None = None) -> ApiKey: ...

    async def key_by_hash(self, digest: bytes) -> ApiKey | None: ...

    async def keys(self, project_id: str) -> list[ApiKey]:
        """Oldest first, revoked ones included."""
        ...

    async def revoke_key(self, project_id: str, key_id: str, now: int) -> ApiKey | None:
        """The key as it is after; the first revocation's time stays."""
        ...

    async def touch_keys(self, used: dict[str, int]) -> None:
        """Key id → when it was last used."""
        ...

    async def put_member(self, member: Member, guard: Guard, seal: Seal | None = None) -> Member:
        """Add, or change the role, where the guard lets it."""
        ...

    async def remove_member(self, project_id: str, user_id: str, guard: Guard) -> bool:
        """Whether there was such a member; the guard may refuse."""
        ...

    async def members(self, project_id: str) -> list[Member]: ...

    async def roles(self, user_id: str) -> dict[str, Role]:
        """Project id → role, for every project of a user."""
        ...


class Workers(Protocol):
    async def register(self, worker: Worker, token: bytes, seal: Seal | None = None) -> Worker:
        """Store it, or update the one with the same (project, implementation_kind, worker_key), and add the token's
        hash. The newest `limits.worker_tokens_max` tokens of a worker stay good.
        """
        ...

    async def by_token(self, token: bytes) -> Worker | None: ...

    async def get(self, worker_id: str) -> Worker | None: ...

    async def heartbeat(self, worker_id: str, seal: Seal | None = None) -> Worker | None: ...

    async def put_session(self, run_seq: int, session: Session, seal: Seal | None = None) -> Session:
        """One session per run and worker: the same one is updated. `ended_at` is set when its status leaves active."""
        ...

    async def session(self, run_seq: int) -> Session | None:
        """The newest session of a run."""
        ...


class ConversationQuery(msgspec.Struct, frozen=True):
    """Conversations of any of these projects. `before` continues after a page: its last row's seq."""

    project_ids: tuple[str, ...]
    status: str | None = None
    before: int | None = None
    limit: int = 50


DecideConversation = Callable[[Conversation | None, int], Conversation]
"""(conversation as it is stored, now) → conversation as it shall be, or a refusal."""


class Conversations(Protocol):
    async def create(self, conversation: Conversation, seal: Seal | None = None) -> Conversation:
        """Store it with the next seq and the time of now."""
        ...

    async def get(self, conversation_id: str) -> Conversation | None:
        """A deleted one too."""
        ...

    async def page(self, query: ConversationQuery) -> list[Conversation]:
        """Newest first, without deleted ones."""
        ...

    async def change(
        self, conversation_id: str, decide: DecideConversation, seal: Seal | None = None
    ) -> Conversation:
        """Write what was decided. Where its project changes, its agent runs move with it, each with its version moved:
        CONVERSATION_LINKED where one of them has a parent or child outside the conversation, RUN_ID_CONFLICT where the
        project holds a run of the same id.
        """
        ...

    async def add_message(self, message: StoredMessage, seal: Seal | None = None) -> StoredMessage:
        """Store it with the next seq, and count it in its conversation; or the one that stands under its
        idempotency key, by `same_message`. NOT_FOUND for a conversation that is not there or deleted, and for a
        `parent_id` that names no message of it, neither by id nor by idempotency key.
        """
        ...

    async def messages(self, conversation_id: str, after: int, limit: int, bytes_max: int) -> list[Spoken]:
        """Those with a seq over `after`, in order: at most `limit`, and no more once their `bytes` exceed `bytes_max`
        (the first always comes).
        """
        ...


class InputRequests(Protocol):
    """Input requests are opened and closed by the transitions of their run (`Runs.apply`); here they are read."""

    async def get(self, request_id: str) -> InputRequest | None: ...

    async def page(
        self, conversation_id: str, status: str | None, before: int | None, limit: int
    ) -> list[InputRequest]:
        """Newest first; `before` is the seq of the last one of the page before."""
        ...

    async def of_run(self, run_seq: int, limit: int) -> list[InputRequest]:
        """Newest first."""
        ...


class Schedules(Protocol):
    async def create(self, schedule: Schedule, guard: Count, seal: Seal | None = None) -> Schedule:
        """The guard gets the number of the project's schedules."""
        ...

    async def get(self, project_id: str, schedule_id: str) -> Schedule | None: ...

    async def page(self, query: ScheduleQuery) -> list[Schedule]:
        """Oldest first."""
        ...


class PushServices(Protocol):
    """Services carry `active` as of the call, by `push_service.is_active`."""

    async def register(self, service: PushService, seal: Seal | None = None) -> PushService:
        """Store it, or update the one with the same (registrant, service_key): its id and its creation stay. It
        counts as heard of now, and a disabled one is enabled.
        """
        ...

    async def heartbeat(
        self, service_id: str, reach: Sequence[str] | None, seal: Seal | None = None
    ) -> PushService | None:
        """Heard of now. `reach` replaces the projects that it reaches, None leaves them."""
        ...

    async def disable(self, service_id: str) -> PushService | None:
        """The first time stays. Only a registration enables it again."""
        ...

    async def get(self, service_id: str) -> PushService | None: ...

    async def reaching(self, project_ids: Sequence[str]) -> list[PushService]:
        """The services that reach one of the projects, oldest first."""
        ...


class SigningKeys(Protocol):
    async def all(self) -> list[SigningKey]:
        """Oldest first."""
        ...

    async def add(self, keys: Sequence[SigningKey], *, only_first: bool) -> list[SigningKey]:
        """Add them, with `only_first` where there are none yet; all that there are then. Of each algorithm the
        newest `limits.signing_keys_max` are kept.
        """
        ...


class Store(Protocol):
    @property
    def runs(self) -> Runs: ...
    @property
    def directory(self) -> Directory: ...
    @property
    def workers(self) -> Workers: ...
    @property
    def conversations(self) -> Conversations: ...
    @property
    def inputs(self) -> InputRequests: ...
    @property
    def schedules(self) -> Schedules: ...
    @property
    def push_services(self) -> PushServices: ...
    @property
    def signing_keys(self) -> SigningKeys: ...

    async def open(self) -> None:
        """Make ready, migrations included. A store newer than the program is refused with a clear sentence."""
        ...

    async def close(self) -> None:
        """Finish what is queued, then let go."""
        ...

    async def check(self) -> dict[str, Any]:
        """Prove that a commit works, then tell `facts`."""
        ...

    def facts(self) -> dict[str, Any]:
        """How it fares, without touching the medium: `engine`, `queue_depth`, `commits` and `commands` since start."""
        ...

    async def forget(self, age_ms: int) -> int:
        """Drop the answers kept for idempotency keys that are older than this by the engine's clock; how many."""
        ...
