"""Routes of prices."""

from runstead.sdk.models.price import DeletedPrice, Price, PriceAnswer, PriceList
from runstead.sdk.routes.call import Call, members, query
from runstead.sdk.routes.route import Resource, S_co, every, route


class Prices(Resource[S_co]):
    """A price is the cost of a million tokens in millionths of your currency. Setting one needs the scope `admin`."""

    @route
    def list(self, *, cursor: str | None = None, project: str | None = None) -> Call[PriceList]:
        """`GET /projects/{ref}/prices`. `page_info.next` is the next page's cursor."""
        return Call("GET", self._in_project(project, "prices"), PriceList, query(cursor=cursor))

    iter = every(list, Price)

    @route
    def put(
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
        """`PUT /projects/{ref}/prices`: set the price of a model; `*`: of the provider's other models.

        Prices are for a million tokens, in millionths of your currency: an `input` of 2_500_000 is 2.50. Without
        `cached`, cached input costs as much as input. Without `reasoning`, reasoning costs as much as output. 409
        PRICE_LIMIT_REACHED.
        """
        body = members(
            provider=provider, model=model, input=input, output=output, cached=cached, reasoning=reasoning
        )
        return Call("PUT", self._in_project(project, "prices"), PriceAnswer, body=body)

    @route
    def delete(self, provider: str, model: str, *, project: str | None = None) -> Call[DeletedPrice]:
        """`DELETE /projects/{ref}/prices`"""
        where = self._in_project(project, "prices")
        return Call("DELETE", where, DeletedPrice, query=query(provider=provider, model=model))
