"""What models cost, and what a project used."""

from datetime import datetime

from runstead.sdk.models.price import DeletedPrice, PriceAnswer, PriceList, ProjectUsage, UsageBy
from runstead.sdk.routes.call import Call, members, path, query
from runstead.sdk.routes.route import RouteGroup, route


class PriceRoutes(RouteGroup):
    """Prices are whole millionths of your currency for a million tokens. Setting them needs the scope `admin`."""

    @route
    def list_prices(self, *, project: str | None = None) -> Call[PriceList]:
        """`GET /projects/{ref}/prices`"""
        return Call("GET", path("projects", self._project(project), "prices"), PriceList)

    @route
    def put_price(
        self,
        provider: str,
        model: str,
        *,
        input: int,  # noqa: A002 - the member's name on the wire
        output: int,
        cached: int | None = None,
        reasoning: int | None = None,
        project: str | None = None,
    ) -> Call[PriceAnswer]:
        """`PUT /projects/{ref}/prices`: the price of a model, or with `*` of the provider's other models. None: cached input
        costs what input does, reasoning what output does. 409 PRICE_LIMIT_REACHED.
        """
        body = members(
            provider=provider, model=model, input=input, output=output, cached=cached, reasoning=reasoning
        )
        return Call("PUT", path("projects", self._project(project), "prices"), PriceAnswer, body=body)

    @route
    def delete_price(self, provider: str, model: str, *, project: str | None = None) -> Call[DeletedPrice]:
        """`DELETE /projects/{ref}/prices`"""
        where = path("projects", self._project(project), "prices")
        return Call("DELETE", where, DeletedPrice, query=query(provider=provider, model=model))

    @route
    def project_usage(
        self,
        by: UsageBy = "model",
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        project: str | None = None,
    ) -> Call[ProjectUsage]:
        """`GET /projects/{ref}/usage`: of runs created from `since` on, before `until`; the last 30 days unless given."""
        where = path("projects", self._project(project), "usage")
        return Call("GET", where, ProjectUsage, query=query(by=by, since=since, until=until))
