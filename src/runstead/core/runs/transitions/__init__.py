"""The state machine of runs: one pure function for each change, which returns a `Transition`.

Times are ms. Random values (tokens, dice) are arguments, so that every rule is deterministic.
"""

from runstead.core.runs.transitions.attempts import claim, claimable, enforce_deadlines, release, renew
from runstead.core.runs.transitions.budgets import (
    answer_budget,
    answer_of,
    budget_of_call,
    counted,
    counted_at_end,
    held_back,
    settle,
)
from runstead.core.runs.transitions.children import clear_awaited, mark_awaited, resume_parent
from runstead.core.runs.transitions.compensations import register_compensation, release_compensation
from runstead.core.runs.transitions.complete import Completion, cancel, complete
from runstead.core.runs.transitions.create import create, start
from runstead.core.runs.transitions.due_schedule import fail_firing, fire_due, pause_broken
from runstead.core.runs.transitions.flow import delay, find_existing
from runstead.core.runs.transitions.inputs import ask_input, cancel_input, read_secrets, respond
from runstead.core.runs.transitions.machine import MOVES, NO_FENCE, Fence, due_at, lease_renewal, rewrite
from runstead.core.runs.transitions.pause import pause
from runstead.core.runs.transitions.push import dispatch, dispatched, stopped_by_service, undelivered
from runstead.core.runs.transitions.records import IfMatch, delete, rename, store_artifact
from runstead.core.runs.transitions.schedule import Firing, fire
from runstead.core.runs.transitions.signals import deliver_event, send_signal
from runstead.core.runs.transitions.trigger import TriggerCall, create_from_trigger
from runstead.core.runs.transitions.wait import (
    RESUMES,
    only_approval,
    open_approvals,
    open_events,
    receipt_key,
    resume,
    wait,
)
