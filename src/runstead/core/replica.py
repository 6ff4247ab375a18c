"""A replica: one of the server processes that use the same store. Times are ms."""

import msgspec


class Replica(msgspec.Struct, frozen=True):
    """`id` is also its name in leader election (`leadership.Lead.owner`).

    `url` is its own listening address.
    """

    id: str
    host: str
    pid: int
    url: str
    version: str
    started_at: int = 0
    seen_at: int = 0
