"""Notifications of the changes of a project."""

from runstead.sdk.models.notification import Notification
from runstead.sdk.models.run import Status
from runstead.sdk.routes.route import Resource, S_co, stream
from runstead.sdk.transport.followers import NotificationFollower
from runstead.sdk.transport.stream_follower import StreamFollower


class Notifications(Resource[S_co]):
    """Notifications of the changes of a project. 404 for a project that is unknown or not visible to the caller."""

    @stream
    def follow(
        self, project: str | None = None, *, after: str | None = None, status: Status | None = None
    ) -> StreamFollower[Notification]:
        """Yield notifications of the project's changes, from now on or after a notification's `cursor`.

        With a `status`, only the changes that leave a run in it.

        A broken or silent connection is replaced by a new one after the last notification. Where some may have been
        missed, one of the type `resync` comes first. Raise RunsteadError when the server is unavailable for longer
        than the client's retries.

        To leave the loop of an `AsyncClient` early, use `contextlib.aclosing(...)`: it closes the connection at once.
        """
        return NotificationFollower(self._project(project), after, status)
