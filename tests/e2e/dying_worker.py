"""A worker that claims runs, appends some events, prints its leases, and hangs until it is killed.

Arguments: the server's URL, the key, the project, a worker key, a lease in seconds, the targets.
"""

import json
import sys
import time

from runstead.sdk import Client

url, key, project, worker_key, lease_s, *targets = sys.argv[1:]
with Client(url, key, project=project) as client:
    worker = client.workers.register("e2e", worker_key).worker
    held = []
    for target in targets:
        job = client.workers.claim(worker.id, targets=[target], lease_duration_seconds=int(lease_s)).run
        events = [{"type": "CUSTOM", "name": "note", "value": number} for number in range(3)]
        client.events.append(job.run_id, events, attempt=job.attempt)
        held.append(
            {
                "run_id": job.run_id,
                "worker_id": worker.id,
                "attempt": job.attempt,
                "lease_token": job.lease_token,
            }
        )
    sys.stdout.write(json.dumps(held) + "\n")
    sys.stdout.flush()
    time.sleep(600)
