"""A copy of the migrated schema in which tables are partitioned by hash of project_id, derived from the catalog.

It stands for a database that is distributed by project_id: there, too, every unique key contains that column.
"""

import re

PARTITIONS = 4
#: Tables with project_id that stay whole, and why. docs/distribution.md lists the same.
WHOLE = {
    "push_services": "project_id is NULL for the services of all projects",
    "audit_entries": "a trigger guards it, and old entries are deleted across projects",
    "rollup_entries": "the leader takes the oldest entries across projects, by ctid",
    "usage_rollups": "empty sums are deleted by ctid",
    "activity_rollups": "empty sums are deleted by ctid",
}

_TABLES = """
SELECT c.oid, c.relname, coalesce(c.reloptions, '{}') AS options,
  pg_get_serial_sequence(c.relname::text, (
    SELECT attname::text FROM pg_attribute WHERE attrelid = c.oid AND attidentity <> ''
  )) AS sequence
FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attname = 'project_id' AND NOT a.attisdropped
WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind = 'r' ORDER BY c.relname
"""
_INDEXES = """
SELECT indexrelid::regclass::text AS name, pg_get_indexdef(indexrelid) AS text, indisunique AS is_unique,
  indisprimary AS is_primary,
  ARRAY(
    SELECT attname::text FROM unnest(indkey) WITH ORDINALITY AS k (number, place)
    JOIN pg_attribute ON attrelid = indrelid AND attnum = number ORDER BY place
  ) AS columns
FROM pg_index WHERE indrelid = $1 ORDER BY 1
"""


async def partition(connection):
    """Partition the tables with project_id. Returns their names."""
    tables = [table for table in await connection.fetch(_TABLES) if table["relname"] not in WHOLE]
    for table in tables:
        await _partition(connection, **table)
    return [table["relname"] for table in tables]


async def unique_keys(connection):
    """Table → the columns of its unique keys, sorted."""
    tables = await connection.fetch(
        "SELECT oid, relname FROM pg_class WHERE relnamespace = current_schema()::regnamespace"
        " AND relkind IN ('r', 'p') AND NOT relispartition"
    )
    return {
        name: sorted(
            tuple(index["columns"]) for index in await connection.fetch(_INDEXES, oid) if index["is_unique"]
        )
        for oid, name in tables
    }


async def _partition(connection, oid, relname, options, sequence):
    indexes = await connection.fetch(_INDEXES, oid)
    await connection.execute(f"ALTER TABLE {relname} RENAME TO whole")
    if sequence is not None:
        await connection.execute(f"ALTER SEQUENCE {sequence} RENAME TO whole_seq")
    # Foreign keys that refer to the table go with it: their target would need project_id too.
    await connection.execute(
        f"CREATE TABLE {relname} (LIKE whole INCLUDING ALL EXCLUDING INDEXES) PARTITION BY HASH (project_id)"
    )
    await connection.execute("DROP TABLE whole CASCADE")
    for number in range(PARTITIONS):
        storage = f" WITH ({', '.join(options)})" if options else ""
        await connection.execute(
            f"CREATE TABLE {relname}_{number} PARTITION OF {relname}"
            f" FOR VALUES WITH (MODULUS {PARTITIONS}, REMAINDER {number}){storage}"
        )
    for index in indexes:
        text = re.sub(r" WITH \([^)]*\)", "", index["text"])
        columns = index["columns"]
        if index["is_unique"] and "project_id" not in columns:
            columns = [*columns, "project_id"]
            text = re.sub(r" USING btree \(([^()]*)\)", r" USING btree (\1, project_id)", text)
        if index["is_primary"]:
            text = f"ALTER TABLE {relname} ADD CONSTRAINT {index['name']} PRIMARY KEY ({', '.join(columns)})"
        await connection.execute(text)
