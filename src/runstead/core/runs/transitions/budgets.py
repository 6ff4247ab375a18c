"""Budgets stop runs: at a report of usage, and before a claim. A person lets a run continue, raises the limit or ends
it.
"""

from typing import Any, Final

import msgspec
from msgspec.structs import replace

from runstead.core import limits
from runstead.core.budgets.budget import (
    Budget,
    BudgetSum,
    approval_of,
    bounds_of,
    describe,
    ends_at,
    key_of,
    parse_micros,
    reached,
)
from runstead.core.budgets.counting import (
    BudgetEvent,
    BudgetEventType,
    Spending,
    Spent,
    final_reports,
    flagged,
    spend,
)
from runstead.core.errors import Error, invalid_at
from runstead.core.runs import event
from runstead.core.runs.run import Run, RunError
from runstead.core.runs.transition import EndedAttempt, Transition
from runstead.core.runs.transitions.complete import cancel
from runstead.core.runs.transitions.machine import (
    NO_LEASE,
    WAITING,
    fail,
    log_full,
    not_active,
    rewrite,
)
from runstead.core.runs.transitions.wait import resumed
from runstead.core.usage.usage import Reported

CALL: Final = "budget:"
"""The start of the call id of an approval that a budget asks for; the id of the budget follows."""
CODE: Final = "BUDGET_REACHED"
NAME_CHARS_MAX: Final = 255


def budget_of_call(tool_call_id: str | None) -> str | None:
    """Return the id of the budget that asks for this approval. None for another call."""
    if tool_call_id is None or not tool_call_id.startswith(CALL):
        return None
    return tool_call_id.removeprefix(CALL)


def counted(transition: Transition, spending: Spending | None) -> Transition:
    """Count the usage that the events of an append report, and stop the run if a budget is reached.

    A compensation counts and is never stopped: it undoes what a stopped run did. The report is stored and counted
    whole, so the sum is over the limit by at most one report of each working run.
    """
    if spending is None:
        return transition
    reports = [one.sets for one in transition.events if isinstance(one.sets, Reported)]
    if not reports:
        return transition
    spent = spend(spending, transition.run.run_id, reports)
    found = spending.after(spent).stopping()
    if found is None or transition.run.compensating:
        return replace(transition, spent=spent)
    return stopped(replace(transition, spent=spent), spending, *found)


def counted_at_end(transition: Transition, metadata: bytes | None, spending: Spending | None) -> Transition:
    """Count the usage of a completion: it replaces what the events of the run counted."""
    if spending is None or metadata is None or not transition.accepted or not transition.events:
        return transition
    reports = final_reports(metadata)
    if not reports:
        return transition
    return replace(transition, spent=spend(spending, transition.run.run_id, reports, final=True))


def held_back(run: Run, spending: Spending | None) -> Transition | None:
    """Stop a run that would be claimed, if a budget is reached. None: it can be claimed, as each one that undoes is."""
    if spending is None or run.compensating:
        return None
    found = spending.stopping()
    if found is None:
        return None
    return stopped(Transition(run), spending, *found, claimed=True)


def stopped(
    transition: Transition, spending: Spending, budget: Budget, spent: BudgetSum, *, claimed: bool = False
) -> Transition:
    """Stop the run of a transition as the budget says.

    `claimed`: the run would be claimed. A claim cancels no families and creates no compensations, so a run with active
    descendants or registered compensations waits until `settle` ends it.
    """
    run, now, sentence = transition.run, max(spending.now, transition.run.updated_at), describe(budget, spent)
    of_run = transition.spent.of_run if transition.spent is not None else spending.of_run
    waits = claimed and (run.descendants_active > 0 or run.compensations is not None)
    if budget.on_reached == "fail" and not waits:
        return _joined(transition, fail(run, now, CODE, sentence))
    if budget.on_reached == "cancel" and not waits:
        return _joined(
            transition, cancel(run, now=now, reason=sentence, error=RunError(sentence, CODE, None))
        )
    ended = None
    if run.lease_token is not None:
        assert run.attempt_started_at is not None
        ended = EndedAttempt(run.attempt, run.lease_owner, run.attempt_started_at, now, "paused")
    key = key_of(budget, run, spending.now)
    new = rewrite(
        run,
        now,
        status=WAITING,
        waiting_reason="approval",
        waiting_tool_call_id=f"{CALL}{budget.id}",
        waiting_tool_name=sentence[:NAME_CHARS_MAX],
        resume_at=ends_at(budget.period, key.starts_at),
        available_at=None,
        paused_available_at=run.claimable_at,
        **NO_LEASE,
    )
    given = transition.spent or Spent(of_run)
    attention = () if budget.on_reached == "pause" else (budget.id,)
    given = replace(given, of_run=replace(of_run, waits_for=budget.id), attention=attention)
    return replace(transition, run=new, ended=ended, spent=given)


def _joined(transition: Transition, end: Transition) -> Transition:
    """Return a transition that also ends its run."""
    return replace(
        end,
        events=(*transition.events, *end.events),
        values=transition.values,
        spent=transition.spent,
        accepted=transition.accepted,
    )


class Answer(msgspec.Struct, frozen=True):
    """An answer to a budget: whether the run may continue, and what is added to the limit."""

    approved: bool
    raise_tokens: int = 0
    raise_micros: int = 0

    @property
    def raises(self) -> bool:
        return bool(self.raise_tokens or self.raise_micros)


def answer_of(result: Any) -> Answer:
    """Read an answer: true, false, or {approved, raise_by: {cost, tokens}}. INVALID_REQUEST for another form."""
    if isinstance(result, bool):
        return Answer(result)
    if not isinstance(result, dict) or not isinstance(result.get("approved"), bool):
        raise invalid_at("$.result", "The answer to a budget is true, false or {approved: true, raise_by}")
    raised = result.get("raise_by")
    if raised is None:
        return Answer(result["approved"])
    if not result["approved"] or not isinstance(raised, dict) or not raised.keys() <= {"cost", "tokens"}:
        raise invalid_at(
            "$.result.raise_by", "raise_by has cost, tokens or both, and comes with approved: true"
        )
    tokens, cost = raised.get("tokens", 0), raised.get("cost", "0")
    if type(tokens) is not int or not 0 <= tokens <= limits.budget_tokens_max:
        most = limits.budget_tokens_max
        raise invalid_at("$.result.raise_by.tokens", f"raise_by.tokens is a whole number from 0 to {most:,}")
    if not isinstance(cost, str):
        raise invalid_at("$.result.raise_by.cost", "raise_by.cost is a decimal as text, such as 2.50")
    answer = Answer(approved=True, raise_tokens=tokens, raise_micros=parse_micros(cost, "raise_by.cost"))
    if not answer.raises:
        raise invalid_at("$.result.raise_by", "raise_by is over 0")
    return answer


def answer_budget(
    run: Run,
    *,
    now: int,
    tool_call_id: str,
    answer: Answer,
    result: Any,
    spending: Spending | None,
    may_raise: bool,
) -> Transition:
    """Answer a run that a budget stopped.

    Approved: the budget does not stop the run again in this period. With a raise, the limit of the period is raised
    for all runs instead, and those that wait continue. Refused: the run fails with BUDGET_REACHED.

    RUN_NOT_ACTIVE, TOOL_RESULT_NOT_WAITING, TOOL_RESULT_CONFLICT, EVENT_LOG_FULL; FORBIDDEN to raise the limit of a
    budget of the project without `may_raise`; INVALID_REQUEST if the raised limit is still reached.
    """
    if run.terminal:
        raise not_active(run)
    if run.status is not WAITING:
        raise Error("TOOL_RESULT_NOT_WAITING", f"The run does not wait: it is {run.status.value}")
    if run.waiting_tool_call_id != tool_call_id or run.waiting_reason != "approval":
        raise Error("TOOL_RESULT_CONFLICT", f"The run does not wait for the approval {tool_call_id}")
    found = None if spending is None else spending.find(tool_call_id.removeprefix(CALL))
    if not answer.approved:
        why = run.waiting_tool_name if found is None else describe(*found)
        return fail(run, now, CODE, f"{why}; the run was not allowed to continue")
    if log_full(run):
        raise Error("EVENT_LOG_FULL", f"A run holds at most {limits.events_per_run_max} events")
    events = (event.resumed("approval", tool_call_id, result),)
    if found is None or spending is None:  # the budget was deleted, or does not count the run any more
        return Transition(resumed(run, now), events=events)
    budget, spent = found
    of_run = replace(spending.of_run, waits_for=None)
    if not answer.raises:
        approved = (*of_run.approved, approval_of(spent.key))[-limits.budget_approvals_kept_max :]
        return Transition(
            resumed(run, now),
            events=events,
            spent=Spent(replace(of_run, approved=tuple(dict.fromkeys(approved)))),
        )
    if budget.scope_kind != "run" and not may_raise:
        raise Error("FORBIDDEN", "Raising the limit of a budget of the project needs the scope admin")
    raised, more = _raised(budget, spent, answer, spending.now)
    return Transition(
        resumed(run, now),
        events=events,
        spent=Spent(of_run, (raised,), _events(budget, raised, more, run), attention=(budget.id,)),
    )


def _events(
    budget: Budget, raised: BudgetSum, kind: BudgetEventType | None, run: Run
) -> tuple[BudgetEvent, ...]:
    return () if kind is None else (BudgetEvent(kind, budget, raised, run.run_id),)


def _raised(
    budget: Budget, spent: BudgetSum, answer: Answer, now: int
) -> tuple[BudgetSum, BudgetEventType | None]:
    tokens, cost = bounds_of(budget, spent)
    for member, bound, more in (("tokens", tokens, answer.raise_tokens), ("cost", cost, answer.raise_micros)):
        if more and bound is None:
            raise invalid_at(f"$.result.raise_by.{member}", f"The budget has no limit of {member} to raise")
        if more and bound is not None and bound + more > limits.budget_sum_max:
            raise invalid_at(f"$.result.raise_by.{member}", f"The raised limit of {member} is too large")
    raised = replace(
        spent,
        raised_tokens=spent.raised_tokens + answer.raise_tokens,
        raised_micros=spent.raised_micros + answer.raise_micros,
    )
    if reached(budget, raised):
        raise invalid_at(
            "$.result.raise_by", f"The raised limit is still reached. {describe(budget, raised)}"
        )
    return flagged(budget, raised, now)


def settle(run: Run, *, now: int, budget_id: str, spending: Spending | None) -> Transition:
    """Look again at a run that waits for a budget, after the budget was raised, changed or deleted.

    The run continues if the budget does not stop it any more. It ends if the budget now cancels or fails runs.
    """
    call = f"{CALL}{budget_id}"
    if run.status is not WAITING or run.waiting_tool_call_id != call:
        return Transition(run, accepted=False)
    found = None if spending is None else spending.find(budget_id)
    if spending is not None and found is not None:
        budget, spent = found
        stops = reached(budget, spent) and approval_of(spent.key) not in spending.of_run.approved
        if stops and budget.on_reached == "pause":
            return Transition(run, accepted=False)
        if stops and budget.on_reached in ("cancel", "fail"):
            return stopped(Transition(run), spending, budget, spent)
    if log_full(run):
        return fail(run, now, "EVENT_LOG_FULL", "The run's log has no room for the event of the approval")
    of_run = None if spending is None else Spent(replace(spending.of_run, waits_for=None))
    return Transition(
        resumed(run, now), events=(event.resumed("approval", call, {"approved": True}),), spent=of_run
    )
