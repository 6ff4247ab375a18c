"""For tests of an app: `Testbed(app)` runs the real server and the real worker in one process, with a clock that the test
moves. `BlockingTestbed` is the same for plain functions.
"""

from runstead.testing.blocking import BlockingTestbed
from runstead.testing.testbed import START, Testbed

__all__ = ["START", "BlockingTestbed", "Testbed"]
