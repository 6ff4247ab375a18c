"""Schedules that the code of an app defines, and their check where the code is read."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final, Literal, TypedDict
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from runstead.sdk.durable.context import RunFailed
from runstead.sdk.models.lease import ClaimedRun
from runstead.sdk.worker.arguments import Arguments

#: Of what the cron library accepts, the server takes numbers, English names, `*`, `-`, `,` and `/`.
_FIELD: Final = re.compile(r"(?:\*|\d{1,2}|[A-Za-z]{3}|[-,/])+")
_TIMEOUT_S_MAX: Final = 30 * 86_400


class Cron(TypedDict, total=False):
    """`cron="30 2 * * *"` starts runs at these times: minute, hour, day of month, month and day of week.

    They are times of `time_zone`, an IANA name such as Europe/Berlin (default UTC). `config` holds the handler's
    arguments. `concurrency_policy` is for a time at which the last run has not ended: "Forbid" (default) starts none,
    "Allow" another one, "Replace" cancels the last one. A worker that starts puts the schedule on the server.
    """

    cron: str | None
    time_zone: str
    config: Mapping[str, Any]
    concurrency_policy: Literal["Allow", "Forbid", "Replace"]


def definition(target: str, options: Cron, arguments: Arguments) -> dict[str, Any] | None:
    """Return the schedule as the server takes it; None without `cron`. Raise ValueError where it cannot be right."""
    cron = options.get("cron")
    if cron is None:
        if options.keys() - {"cron"}:
            raise ValueError(f"{', '.join(sorted(options.keys() - {'cron'}))} needs cron")
        return None
    zone = options.get("time_zone", "UTC")
    _check_cron(cron)
    _check_zone(zone)
    kind, _, name = target.partition(":")
    if kind not in ("task", "workflow"):
        raise ValueError(f"cron starts tasks and workflows, and {target} is neither")
    config = _checked_config(target, options.get("config", {}), arguments)
    return {
        "source_trigger_id": target,
        "name": name,
        "target": {"kind": kind, "id": name},
        "schedule": cron,
        "timezone": zone,
        "config": config,
        # The app bounds each try itself, and a schedule without a number gets 300.
        "timeout_seconds": _TIMEOUT_S_MAX,
        "concurrency_policy": options.get("concurrency_policy", "Forbid"),
    }


def _check_cron(cron: str) -> None:
    from cronsim import CronSim, CronSimError  # noqa: PLC0415 - only apps with schedules need it

    fields = cron.split()
    if len(fields) != 5:
        raise ValueError(
            f'cron has five fields, minute, hour, day of month, month and day of week, as in "30 2 * * *", not'
            f" {len(fields)} as in {cron!r}"
        )
    try:
        CronSim(cron, datetime(1970, 1, 1, tzinfo=UTC))
        wrong = next((field for field in fields if not _FIELD.fullmatch(field)), None)
    except CronSimError as error:
        raise ValueError(f"cron {cron!r} names no time: {error}") from None
    if wrong is not None:
        raise ValueError(f"The field {wrong!r} of cron {cron!r} is not *, a-b, a,b, a-b/n or an English name")


def _check_zone(name: str) -> None:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(
            f"{name!r} is not an IANA time zone: use a name such as Europe/Berlin or UTC"
        ) from None


def _checked_config(target: str, config: Mapping[str, Any], arguments: Arguments) -> dict[str, Any]:
    """Return the config as JSON members. Raise ValueError where the handler could not be called with it."""
    try:
        found = msgspec.json.decode(msgspec.json.encode(config), type=dict[str, Any])
        arguments.of(ClaimedRun(run_id="", status="running", target=target, attempt=1, config=found))
    except RunFailed as error:
        raise ValueError(f"The schedule of {target} would fail: {error.message}") from None
    except (TypeError, ValueError, msgspec.MsgspecError) as error:
        raise ValueError(f"The config of the schedule of {target} is not a JSON object: {error}") from None
    return found
