"""How long the newest page of a list of runs takes, as a client sees it.

    python bench/pages.py --key $KEY

Prints the median and the 99th percentile of each list in ms.
"""

import argparse
import statistics
import time
from typing import Final

import httpx2

LISTS: Final = ["", "status=completed", "status=failed", "status=pending", "status=running&status=waiting"]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--url", default="http://127.0.0.1:8720")
    parser.add_argument("--key", required=True)
    parser.add_argument("--project", default="default")
    parser.add_argument("--times", type=int, default=200)
    told = parser.parse_args()
    with httpx2.Client(
        base_url=told.url, headers={"Authorization": f"Bearer {told.key}"}, timeout=60
    ) as client:
        for filters in LISTS:
            path = f"/projects/{told.project}/runs?limit=50&{filters}"
            took = []
            for _ in range(told.times):
                began = time.perf_counter()
                answer = client.get(path)
                took.append((time.perf_counter() - began) * 1000)
                answer.raise_for_status()
            found = len(answer.json()["data"])
            p99 = statistics.quantiles(took, n=100)[98]
            print(f"{statistics.median(took):6.1f} ms  p99 {p99:6.1f} ms  {found:3} runs  {filters or 'all'}")


if __name__ == "__main__":
    main()
