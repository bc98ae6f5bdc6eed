-- The last day on which a client checked a manifest without pulling it (HEAD), as nodes do that have the image already: it is in use.
CREATE TABLE IF NOT EXISTS manifest_checks (
  repository_id INTEGER NOT NULL,
  digest TEXT NOT NULL,
  day INTEGER NOT NULL,
  PRIMARY KEY (repository_id, digest)
) STRICT, WITHOUT ROWID;
