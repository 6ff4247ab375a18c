"""The store and the notifier in memory: for tests, yours included, and for a look around. Nothing survives a stop.

All of a command happens between two awaits, so one event loop needs no lock. Not for use from several threads.
"""

from runstead.engines.memory.store import MemoryStore
from runstead.engines.notifiers.local import MemoryNotifier

__all__ = ["MemoryNotifier", "MemoryStore"]
