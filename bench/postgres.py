"""Starts an empty PostgreSQL with default settings, prints its URL, and removes it at Ctrl-C.

python bench/postgres.py
"""

import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from tests.support.postgres_server import PostgresServer

#: The tests' server is small and not durable. These are PostgreSQL's default values.
DEFAULTS = {
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "shared_buffers": "128MB",
    "max_wal_size": "1GB",
    "autovacuum_naptime": "1min",
}


def main() -> None:
    server = PostgresServer(**DEFAULTS)
    try:
        print(server.url(), flush=True)
        signal.sigwait({signal.SIGINT, signal.SIGTERM})
    finally:
        server.remove()


if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    main()
