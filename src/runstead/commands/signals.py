"""Signals to a run: sent, kept in order until the run takes them, and listed."""

import hashlib
import uuid

import msgspec

from runstead.commands import runs
from runstead.commands.app import App
from runstead.commands.runs import RunRef
from runstead.core import limits
from runstead.core.errors import invalid_at
from runstead.core.idempotency import Idempotency
from runstead.core.identity.principal import Principal
from runstead.core.runs import transitions
from runstead.core.runs.run import Run
from runstead.core.runs.signal import Signal, WantedSignals
from runstead.core.runs.transition import Loaded, Transition, Want
from runstead.ports.store import ListPage, Written


class NewSignal(msgspec.Struct, frozen=True, kw_only=True):
    """A signal to send. `payload` is JSON text. A repeat of a `key` sends nothing."""

    name: str
    payload: bytes = b"null"
    key: str | None = None


async def send(
    app: App, principal: Principal, run_ref: RunRef, new: NewSignal, idempotency: Idempotency = None
) -> Written:
    """Send a signal. `transition.signal` is the stored one: it is taken if the run waited for it.

    Raises RUN_NOT_ACTIVE, SIGNALS_FULL, IDEMPOTENCY_KEY_REUSED, EVENT_LOG_FULL; INVALID_REQUEST for a payload that is
    too large.
    """
    if len(new.payload) > limits.signal_payload_bytes_max:
        message = f"A payload has at most {limits.signal_payload_bytes_max // limits.KIB} KiB of JSON"
        raise invalid_at("$.payload", message)
    signal_id = f"sig_{uuid.uuid4()}"
    digest = hashlib.sha256(msgspec.json.encode([new.name, msgspec.Raw(new.payload)])).digest()

    def rule(run: Run, loaded: Loaded) -> Transition:
        members = msgspec.structs.asdict(new)
        signal = Signal(number=0, id=signal_id, created_at=loaded.now, digest=digest, **members)
        return transitions.send_signal(run, signal, loaded.signals.sent, now=loaded.now)

    want = Want(signals=WantedSignals(sends=True, key=new.key))
    return await runs.apply(app, principal, run_ref, rule, want, idempotency)


async def of_run(
    app: App, principal: Principal, run_ref: RunRef, after: int, limit: int, *, taken: bool | None = None
) -> ListPage[Signal]:
    """Return the run's signals with a number above `after`, oldest first. Raises NOT_FOUND."""
    run = await runs.get(app, principal, run_ref)
    return await app.store.runs.signals(run.seq, after, limit, limits.list_page_bytes_max, taken=taken)
