-- Stars and comments of repositories.

ALTER TABLE repository_pages ADD COLUMN stars INTEGER NOT NULL DEFAULT 0;
ALTER TABLE repository_pages ADD COLUMN last_comment INTEGER NOT NULL DEFAULT 0;

CREATE TABLE IF NOT EXISTS stars (
  repository_id INTEGER NOT NULL,
  subject TEXT NOT NULL,
  starred_at INTEGER NOT NULL,
  PRIMARY KEY (repository_id, subject)
) STRICT, WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS comments (
  repository_id INTEGER NOT NULL,
  id INTEGER NOT NULL,
  author TEXT NOT NULL,
  source TEXT NOT NULL,
  html TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  edited_at INTEGER,
  PRIMARY KEY (repository_id, id)
) STRICT, WITHOUT ROWID;
