"""Runs `runstead` with a wall clock that is off by WRONG_CLOCK_S seconds, like a machine with a wrong clock.

Only `time.time` and `time.time_ns` are changed, before the program is imported. The program reads no other
wall clock (tests/faults/test_wrong_clock.py).
"""

import os
import time

OFF_S = int(os.environ["WRONG_CLOCK_S"])
_time, _time_ns = time.time, time.time_ns
time.time = lambda: _time() + OFF_S
time.time_ns = lambda: _time_ns() + OFF_S * 1_000_000_000

if __name__ == "__main__":
    from runstead.cli import main

    main()
