"""A received request, as endpoints read it."""

from collections.abc import AsyncIterator
from typing import Protocol

from runstead.core.identity.principal import Origin

Headers = dict[bytes, bytes]


class Request(Protocol):
    """A received request: over ASGI (`asgi.py`), or from the parser itself (`protocol.py`)."""

    @property
    def method(self) -> str: ...
    @property
    def path(self) -> str:
        """The path, percent-decoded."""

    @property
    def path_params(self) -> dict[str, str]: ...
    @property
    def query_string(self) -> bytes: ...
    @property
    def headers(self) -> Headers:
        """Headers by their lower-case names."""

    @property
    def origin(self) -> Origin: ...
    @property
    def scheme(self) -> str:
        """Http or https."""

    async def body(self, bytes_max: int) -> bytes:
        """Read the whole body. Raises BODY_TOO_LARGE; Disconnected if it ends early."""
        ...

    def chunks(self) -> AsyncIterator[bytes]:
        """Yield the body as it arrives. Raises Disconnected if it ends early."""
        ...

    async def is_disconnected(self) -> bool:
        """Return whether the caller has disconnected."""
        ...
