"""The messages that webhooks receive when a share of a budget is reached."""

from collections.abc import Iterable

from runstead.core.budgets.budget import bounds_of, describe, ends_at, format_micros, share
from runstead.core.budgets.counting import BudgetEvent
from runstead.core.clock import iso, iso_or_none
from runstead.core.webhooks.body import Message
from runstead.core.webhooks.webhook import Delivery, Webhook, addressed


def deliveries(event: BudgetEvent, webhooks: Iterable[Webhook], now: int) -> list[Delivery]:
    """Create a delivery for each webhook that wants the event.

    Ids are derived from the period and the time at which the share was reached, so that it is sent once.
    """
    spent = event.spent
    since = spent.reached_at if event.type == "budget.reached" else spent.alerted_at
    name = f"{spent.budget_id}:{spent.family_seq}:{spent.starts_at}:{event.type}:{since}:{spent.tokens}"
    receivers = [webhook for webhook in webhooks if webhook.wants(event.type)]
    return addressed(message(event, now), receivers, name, event.run_id)


def message(event: BudgetEvent, now: int) -> Message:
    """Build the message of an event of a budget. `now` in ms."""
    budget, spent = event.budget, event.spent
    text = describe(budget, spent)
    ends = ends_at(budget.period, spent.starts_at)
    return Message(
        type=event.type,
        at=now,
        project_id=budget.project_id,
        subject=f"budgets/{budget.id}",
        text=f"[{'REACHED' if event.type == 'budget.reached' else 'ALERT'}] {text}",
        data={
            "budget_id": budget.id,
            "project_id": budget.project_id,
            "name": budget.name,
            "scope": {"kind": budget.scope_kind, "value": budget.scope_value},
            "period": budget.period,
            "starts_at": iso(spent.starts_at) if spent.starts_at else None,
            "ends_at": iso_or_none(ends),
            "on_reached": budget.on_reached,
            "alert_at_percent": budget.alert_at_percent,
            "spent": amounts(spent.tokens, spent.cost_micros),
            "limit": amounts(*bounds_of(budget, spent)),
            "percent": share(budget, spent),
            "run_id": event.run_id,
            "summary": text,
        },
    )


def amounts(tokens: int | None, micros: int | None) -> dict[str, object]:
    """Return amounts as answers show them: cost is a decimal as text."""
    return {"cost": None if micros is None else format_micros(micros), "tokens": tokens}
