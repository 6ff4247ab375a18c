"""Routes of prices."""

from runstead.sdk.models.price import DeletedPrice, Price, PriceAnswer, PriceList
from runstead.sdk.routes.call import Call
from runstead.sdk.routes.endpoint import endpoint
from runstead.sdk.routes.route import Resource, S_co, every


class Prices(Resource[S_co]):
    """A price is the cost of a million tokens in millionths of your currency. Setting one needs the scope `admin`."""

    @endpoint("GET", "/projects/{ref}/prices")
    def list(self, *, cursor: str | None = None, project: str | None = None) -> Call[PriceList]:
        """`page_info.next` is the next page's cursor."""

    iter = every(list, Price)

    @endpoint("PUT", "/projects/{ref}/prices")
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
        """Set the price of a model; `*`: of the provider's other models.

        Prices are for a million tokens, in millionths of your currency: an `input` of 2_500_000 is 2.50. Without
        `cached`, cached input costs as much as input. Without `reasoning`, reasoning costs as much as output. 409
        PRICE_LIMIT_REACHED.
        """

    @endpoint("DELETE", "/projects/{ref}/prices")
    def delete(self, provider: str, model: str, *, project: str | None = None) -> Call[DeletedPrice]: ...
