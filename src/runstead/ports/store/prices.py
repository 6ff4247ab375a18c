"""Prices of models."""

from typing import Protocol

from runstead.core.usage.price import Price
from runstead.ports.store.project_records import Count


class Prices(Protocol):
    async def put(self, price: Price, guard: Count) -> Price:
        """Store the price, or replace the one with the same project, provider and model. `updated_at` is the
        engine's time.

        For a new price, the guard gets the number of the project's other prices.
        """

    async def of(self, project_id: str) -> list[Price]:
        """Return the project's prices, sorted by provider, then model."""

    async def delete(self, project_id: str, provider: str, model: str) -> bool:
        """Delete the price. Returns whether it existed."""
