-- Labels of repositories, and the flag that asks for a scan of pushed images. Clients of the ECR API set and read them.

ALTER TABLE repository_pages ADD COLUMN scan_on_push INTEGER NOT NULL DEFAULT 0;

CREATE TABLE IF NOT EXISTS repository_labels (
  repository_id INTEGER NOT NULL,
  key TEXT NOT NULL,
  value TEXT NOT NULL,
  PRIMARY KEY (repository_id, key)
) STRICT, WITHOUT ROWID;
