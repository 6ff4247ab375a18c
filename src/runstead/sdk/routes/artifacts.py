"""Storing the artifacts of a run, and reading them."""

import os
from typing import Any

from runstead.sdk.models.artifact import ArtifactStored, Upload
from runstead.sdk.routes.call import Call, fence, path, query
from runstead.sdk.routes.route import Resource, S_co, route


class Artifacts(Resource[S_co]):
    """The artifacts of runs. 404 for a run or an artifact that is unknown or not visible to the caller."""

    @route
    def store(
        self,
        run_id: str,
        name: str,
        content: bytes | str | os.PathLike[str] | Upload,
        *,
        media_type: str = "application/octet-stream",
        sha256: str | None = None,
        attempt: int | None = None,
        lease_token: str | None = None,
    ) -> Call[ArtifactStored]:
        """`PUT /runs/{run_id}/artifacts/{name}`: store bytes, or the file at a path, for a run that has not ended.

        The same bytes under the same name change nothing; other bytes replace them. With `sha256` (hex) bytes with
        another digest are refused: 400 ARTIFACT_MISMATCH. Other errors: 413 ARTIFACT_TOO_LARGE, 409 ATTEMPT_SUPERSEDED,
        ARTIFACT_LIMIT_REACHED or ARTIFACTS_NOT_KEPT, 410 RUN_NOT_ACTIVE.
        """
        upload = content if isinstance(content, Upload) else Upload(content)
        return Call(
            "PUT",
            path("runs", run_id, "artifacts", name),
            ArtifactStored,
            query(attempt=attempt, sha256=sha256),
            body=upload,
            headers={"Content-Type": media_type, "Content-Length": str(upload.size), **fence(lease_token)},
            extra_wait_s=60.0,
        )

    @route
    def read(self, run_id: str, name: str, *, start: int = 0, end: int | None = None) -> Call[bytes]:
        """`GET /runs/{run_id}/artifacts/{name}`: the bytes from `start` to before `end`, in memory.

        404 where the server does not store it; 416 RANGE_NOT_SATISFIABLE where `start` is after the end.
        """
        headers: dict[str, Any] = {"Accept": "*/*"}
        if start or end is not None:
            headers["Range"] = f"bytes={start}-{'' if end is None else end - 1}"
        return Call("GET", path("runs", run_id, "artifacts", name), bytes, headers=headers)
