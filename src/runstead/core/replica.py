"""A server of the store: one of those that run side by side. Times are ms."""

from typing import Final

import msgspec


class Replica(msgspec.Struct, frozen=True):
    """`id` is the name under which it leads (`leadership.Lead.owner`); `url` is where it listens, as it sees it itself."""

    id: str
    host: str
    pid: int
    url: str
    version: str
    started_at: int = 0
    seen_at: int = 0


REPLICA_FIELDS: Final = Replica.__struct_fields__
