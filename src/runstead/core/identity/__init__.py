"""Projects, members, keys, sessions, and what a principal may do."""
