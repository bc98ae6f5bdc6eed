-- The day on which a client last asked for a manifest without getting it (HEAD), as nodes do that have the image: it is in use.
CREATE TABLE IF NOT EXISTS manifest_checks (
  repository_id INTEGER NOT NULL,
  digest TEXT NOT NULL,
  day INTEGER NOT NULL,
  PRIMARY KEY (repository_id, digest)
) STRICT, WITHOUT ROWID;
