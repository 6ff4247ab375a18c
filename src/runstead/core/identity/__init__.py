"""Projects, members, keys, browser sessions, and the scopes of a principal."""
