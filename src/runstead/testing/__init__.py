"""A server and a worker for users' tests, in one process, with a clock that the test moves.

`Testbed(app)` is for asynchronous tests, `BlockingTestbed(app)` for plain functions.
"""

from runstead.testing.blocking import BlockingTestbed
from runstead.testing.testbed import START, Testbed

__all__ = ["START", "BlockingTestbed", "Testbed"]
