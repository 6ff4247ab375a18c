"""Alert rules, their evaluation and their history."""

from collections.abc import Callable, Sequence
from typing import Protocol

from runstead.core.alerts.alert import Alert, Firing, Measurement
from runstead.core.idempotency import Idempotency
from runstead.core.webhooks.webhook import Delivery, Webhook
from runstead.ports.store.project_records import ProjectRecords

DecideDeliveries = Callable[[Alert, Sequence[Webhook], int], Sequence[Delivery]]
"""(rule, enabled webhooks of its project, now) → new deliveries."""


class Alerts(ProjectRecords[Alert], Protocol):
    """A new rule is due at once. A firing that a change ends is closed in the history, which is deleted with the rule."""

    async def page(self, project_id: str, limit: int) -> list[Alert]:
        """Return the project's rules, oldest first."""

    async def notify(
        self, project_id: str, alert_id: str, decide: DecideDeliveries, idempotency: Idempotency = None
    ) -> list[Delivery]:
        """Store deliveries of a rule. NOT_FOUND."""

    async def history(
        self, project_id: str, alert_id: str, limit: int, before: int | None = None
    ) -> list[Firing]:
        """Return firings with a seq less than `before`, newest first."""

    async def due(self, limit: int) -> list[Alert]:
        """Return at most `limit` rules that are due, earliest first."""

    async def measure(self, alert: Alert) -> Measurement:
        """Measure what the rule watches: a bounded number of rows that an index finds."""

    async def evaluate(self, measured: Sequence[tuple[Alert, Measurement | None]]) -> int:
        """Evaluate rules with their measurements, by `core.alerts.evaluate`. A rule that was changed or evaluated
        since it was read is skipped. The rules, their history and the deliveries are one transaction. Returns the
        number of deliveries.
        """
