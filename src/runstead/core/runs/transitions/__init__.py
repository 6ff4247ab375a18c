"""THE machine: every way in which a run's state changes, each a pure function to a `Transition`.

Times are ms. Randomness (tokens, dice) comes in as an argument, so every rule repeats exactly.
"""

from runstead.core.runs.transitions.attempts import claim, claimable, enforce_deadlines, release, renew
from runstead.core.runs.transitions.children import await_end, child_ended, told
from runstead.core.runs.transitions.complete import Completion, cancel, complete
from runstead.core.runs.transitions.create import create, start
from runstead.core.runs.transitions.due_schedule import fire_due, halted, unable
from runstead.core.runs.transitions.inputs import ask_input, cancel_input, respond
from runstead.core.runs.transitions.machine import MOVES, NO_FENCE, Fence, due_at, renewed, rewrite
from runstead.core.runs.transitions.pause import pause
from runstead.core.runs.transitions.push import dispatch, dispatched, stopped_by_service, undelivered
from runstead.core.runs.transitions.records import Seen, delete, rename, store_artifact
from runstead.core.runs.transitions.schedule import Firing, fire
from runstead.core.runs.transitions.trigger import TriggerCall, call
from runstead.core.runs.transitions.wait import RESUMES, resume, wait

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
    "enforce_deadlines",
    "fire",
    "fire_due",
    "halted",
    "pause",
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
