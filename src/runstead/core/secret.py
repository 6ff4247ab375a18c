"""Where the store holds secrets that the server must be able to read, such as keys that it signs with."""

from typing import Final, NamedTuple

#: `<table>.<column>` of every such secret. An encrypted value is bound to its place and to the id of its row.
SIGNING_KEY: Final = "signing_keys.pem"
TRIGGER_SECRET: Final = "triggers.secret"  # noqa: S105 - the name of a column
WEBHOOK_SECRET: Final = "webhooks.secret"  # noqa: S105
WEBHOOK_OLD_SECRET: Final = "webhooks.old_secret"  # noqa: S105
INPUT_SECRETS: Final = "input_secrets.secrets"
PLACES: Final = (SIGNING_KEY, TRIGGER_SECRET, WEBHOOK_SECRET, WEBHOOK_OLD_SECRET, INPUT_SECRETS)


class StoredSecret(NamedTuple):
    """One value as the store holds it: encrypted, or in plain text."""

    row: str
    value: str


class SecretCount(NamedTuple):
    """How many values of a place are encrypted with the key `key_id` (None: are in plain text). `readable`: this
    program has the key. `current`: it is the key that encrypts new values.
    """

    place: str
    key_id: str | None
    number: int
    readable: bool
    current: bool
