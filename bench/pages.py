"""Measures the newest page of lists of runs, over HTTP.

    python bench/pages.py --key $KEY
    python bench/pages.py --key $KEY --dashboard

With `--dashboard` it requests the dashboard's page and its chart. Prints the median and the 99th percentile in ms.
"""

import argparse
import statistics
import time
from typing import Final

import httpx2

CHARTS: Final = ["", "span=15m", "span=7d"]
LISTS: Final = ["", "status=completed", "status=failed", "status=pending", "status=running&status=waiting"]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--url", default="http://127.0.0.1:8720")
    parser.add_argument("--key", required=True)
    parser.add_argument("--project", default="default")
    parser.add_argument("--times", type=int, default=200)
    parser.add_argument("--dashboard", action="store_true")
    options = parser.parse_args()
    headers = {} if options.dashboard else {"Authorization": f"Bearer {options.key}"}
    with httpx2.Client(base_url=options.url, headers=headers, timeout=60) as client:
        if not options.dashboard:
            for filters in LISTS:
                measure(client, f"/projects/{options.project}/runs?limit=50&{filters}", options.times)
            return
        client.post("/ui/sign-in", data={"credential": options.key})
        for filters in LISTS:
            measure(client, f"/ui/projects/{options.project}/runs?{filters}", options.times)
        for filters in CHARTS:
            measure(client, f"/ui/projects/{options.project}/list/chart.json?{filters}", options.times)


def measure(client: httpx2.Client, path: str, times: int) -> None:
    took = []
    for _ in range(times):
        began = time.perf_counter()
        answer = client.get(path)
        took.append((time.perf_counter() - began) * 1000)
        if answer.status_code != 200:
            raise SystemExit(f"{path}: {answer.status_code}")
    p99 = statistics.quantiles(took, n=100)[98]
    print(f"{statistics.median(took):6.1f} ms  p99 {p99:6.1f} ms  {len(answer.content):7,} bytes  {path}")


if __name__ == "__main__":
    main()
