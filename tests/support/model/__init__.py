"""A store in memory, as plain as possible: the model with which the state machine tests compare the engines.

A command runs between two awaits, so one event loop needs no lock. Not for use from several threads.
"""

from tests.support.model.store import ModelStore

__all__ = ["ModelStore"]
