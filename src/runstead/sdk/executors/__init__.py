"""Clusters that handlers run on: the lease, the steps and the cancel stay with the worker.

A worker listens at one address; what the cluster runs calls back there, with a token that is good for one run.
"""

from urllib.parse import parse_qs, urlsplit

from runstead.sdk.isolation.parent_side import Executor


def executor_from(url: str) -> Executor:
    """`ray://head:10001`, `ray://auto`, `ray://local`; `dask://scheduler:8786`, `dask://local`. ValueError.

    In its query: `callback=host:port` is the worker's address as the cluster reaches it (default: that of the way to the
    cluster, and any free port). For Ray `num_cpus`, `num_gpus`, `memory` (bytes) are what each run takes. `workers` is how
    many processes a local cluster has.
    """
    parts = urlsplit(url)
    options = {name: values[-1] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
    if parts.path not in ("", "/"):
        raise ValueError(f"An executor's address has no path, as in ray://head:10001: {url!r}")
    if parts.scheme == "ray":
        from runstead.sdk.executors.ray import RayExecutor  # noqa: PLC0415 - an extra, which may be missing

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
