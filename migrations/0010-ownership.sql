-- The registry that a database belongs to. An existing database is claimed by the first deployment that uses it.

CREATE TABLE IF NOT EXISTS registry (
  one INTEGER PRIMARY KEY CHECK (one = 1),
  id TEXT NOT NULL,
  secret_mark TEXT NOT NULL,
  created_at INTEGER NOT NULL
) STRICT;
