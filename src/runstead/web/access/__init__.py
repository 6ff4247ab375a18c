"""Sign-in, keys, members and limits."""
