"""The bodies that webhooks receive: Standard Webhooks, a message of Slack, or a CloudEvent."""

from collections.abc import Mapping
from typing import Any, Final, Literal, NamedTuple

import msgspec

from runstead.core.clock import iso

BodyFormat = Literal["standard", "slack", "cloudevents"]

CONTENT_TYPES: Final[Mapping[BodyFormat, str]] = {
    "standard": "application/json",
    "slack": "application/json",
    "cloudevents": "application/cloudevents+json; charset=utf-8",
}
_encode = msgspec.json.Encoder().encode


class Message(NamedTuple):
    """An event with its content. `at` in ms; `text` is one sentence for people; `subject` is a path in the project."""

    type: str
    at: int
    project_id: str
    subject: str
    text: str
    data: Any

    def body(self, body_format: BodyFormat, delivery_id: str) -> bytes:
        """Encode it for a webhook of this format."""
        if body_format == "slack":
            return _encode({"text": _escaped(self.text)})
        if body_format == "cloudevents":
            return _encode(
                {
                    "specversion": "1.0",
                    "id": delivery_id,
                    "source": f"/projects/{self.project_id}",
                    "type": self.type,
                    "subject": self.subject,
                    "time": iso(self.at),
                    "datacontenttype": "application/json",
                    "data": self.data,
                }
            )
        return _encode({"type": self.type, "timestamp": iso(self.at), "data": self.data})


def _escaped(text: str) -> str:
    """Escape the control characters of Slack's mrkdwn, so that a name is never a mention or a link.

    https://docs.slack.dev/messaging/formatting-message-text#escaping
    """
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
