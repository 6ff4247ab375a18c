"""The tenant and the request for which the current task works.

Engines share their capacity fairly between tenants.
"""

from contextvars import ContextVar
from typing import Final

SERVER: Final = ""  # the server's own work, such as that of its loops
AUTHENTICATION: Final = "authentication"  # while a request has no caller yet

#: The caller's project, or the caller where it has several projects. Set where a request is authenticated.
tenant: Final[ContextVar[str]] = ContextVar("tenant", default=SERVER)

#: The id of the request that the current task answers, which the log shows.
current_request_id: Final[ContextVar[str | None]] = ContextVar("request_id", default=None)
