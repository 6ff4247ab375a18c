"""Executors run handlers on clusters. The worker keeps the lease, the steps and the handling of cancels.

The worker listens at an address. Each task of the cluster connects to it, with a token that is valid for one run.
"""

from urllib.parse import parse_qs, urlsplit

from runstead.sdk.isolation.parent_side import Executor


def executor_from(url: str) -> Executor:
    """Return the executor of a URL: `ray://head:10001`, `ray://auto`, `ray://local`, `dask://scheduler:8786`,
    `dask://local`. Raise ValueError.

    Query parameters: `callback=host:port` is the worker's address for the cluster (default: the address of the network
    interface towards the cluster, and any free port). For Ray, `num_cpus`, `num_gpus` and `memory` (bytes) are the
    resources of each run. `workers` is the number of processes of a local cluster.
    """
    parts = urlsplit(url)
    options = {name: values[-1] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
    if parts.path not in ("", "/"):
        raise ValueError(
            f"An executor's address has no path, as in ray://head:10001, but this one has: {url!r}"
        )
    if parts.scheme == "ray":
        from runstead.sdk.executors.ray import RayExecutor  # noqa: PLC0415 - an extra that may not be installed

        return RayExecutor(parts.netloc, **_known(url, options, RayExecutor.OPTIONS))
    if parts.scheme == "dask":
        from runstead.sdk.executors.dask import DaskExecutor  # noqa: PLC0415

        return DaskExecutor(parts.netloc, **_known(url, options, DaskExecutor.OPTIONS))
    raise ValueError(f"An executor's address begins with ray:// or dask://, not {url!r}")


def _known(url: str, options: dict[str, str], known: frozenset[str]) -> dict[str, str]:
    unknown = options.keys() - known
    if unknown:
        raise ValueError(f"{url!r} has {', '.join(sorted(unknown))}; known are {', '.join(sorted(known))}")
    return options
