-- The cause of each change of a tag, and the webhooks of repositories in the trash, which come back disabled with their repository.
-- NULL for changes that were recorded before.

ALTER TABLE tag_history ADD COLUMN cause TEXT;

CREATE TABLE IF NOT EXISTS trashed_subscriptions (
  repository_id INTEGER NOT NULL,
  id TEXT NOT NULL,
  scope TEXT NOT NULL,
  description TEXT NOT NULL,
  endpoint TEXT NOT NULL,
  filter TEXT NOT NULL,
  format TEXT NOT NULL,
  origin TEXT NOT NULL,
  generation INTEGER NOT NULL,
  previous_until INTEGER NOT NULL,
  disabled TEXT,
  created_at INTEGER NOT NULL,
  created_by TEXT NOT NULL,
  version INTEGER NOT NULL,
  responsible TEXT,
  PRIMARY KEY (repository_id, id)
) STRICT, WITHOUT ROWID;
