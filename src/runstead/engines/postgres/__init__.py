"""The engine for many replicas: PostgreSQL through asyncpg, commands committed in batches, one clock for all."""
