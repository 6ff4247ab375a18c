"""For tests of what an app does: `Testbed(app)` is the real server and the real worker in memory, with a clock that is
moved. `BlockingTestbed` is the same for plain functions.
"""

from runstead.testing.blocking import BlockingTestbed
from runstead.testing.testbed import START, Testbed

__all__ = ["START", "BlockingTestbed", "Testbed"]
