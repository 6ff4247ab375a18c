"""THE machine: every way in which a run's state changes, each a pure function to a `Transition`.

Times are ms. Randomness (tokens, dice) comes in as an argument, so every rule repeats exactly.
"""

from runstead.transitions.attempts import claim, claimable, referee, release, renew
from runstead.transitions.beginnings import create, start
from runstead.transitions.calls import TriggerCall, call
from runstead.transitions.children import await_end, child_ended, told
from runstead.transitions.ends import Completion, cancel, complete
from runstead.transitions.firing import Firing, fire
from runstead.transitions.inputs import ask_input, cancel_input, respond
from runstead.transitions.machine import MOVES, NO_FENCE, Fence, due_at, renewed, rewrite
from runstead.transitions.pauses import pause
from runstead.transitions.pushes import dispatch, dispatched, stopped_by_service, undelivered
from runstead.transitions.records import Seen, delete, rename, store_artifact
from runstead.transitions.scheduled import fire_due, halted, unable
from runstead.transitions.waits import RESUMES, resume, wait

__all__ = [
    "MOVES",
    "NO_FENCE",
    "RESUMES",
    "Completion",
    "Fence",
    "Firing",
    "Seen",
    "TriggerCall",
    "ask_input",
    "await_end",
    "call",
    "cancel",
    "cancel_input",
    "child_ended",
    "claim",
    "claimable",
    "complete",
    "create",
    "delete",
    "dispatch",
    "dispatched",
    "due_at",
    "fire",
    "fire_due",
    "halted",
    "pause",
    "referee",
    "release",
    "rename",
    "renew",
    "renewed",
    "respond",
    "resume",
    "rewrite",
    "start",
    "stopped_by_service",
    "store_artifact",
    "told",
    "unable",
    "undelivered",
    "wait",
]
