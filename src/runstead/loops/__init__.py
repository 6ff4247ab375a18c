"""Background loops of the server: one file for each, with a bounded amount of work per tick."""
