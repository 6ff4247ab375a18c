"""What SQLite and PostgreSQL share: statement files, columns, the index of runs."""
