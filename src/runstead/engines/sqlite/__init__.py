"""The engine for one machine: SQLite in WAL mode, one writer thread with group commit, readers beside it."""
