"""What SQLite and PostgreSQL share: nouns beside runs, their statements with a driver for each engine, the index of runs."""
