-- The texts of lifecycle policies as clients of the ECR API sent them, and the previews that these clients start.

ALTER TABLE lifecycle_policies ADD COLUMN text TEXT;

CREATE TABLE IF NOT EXISTS lifecycle_previews (
  repository_id INTEGER PRIMARY KEY,
  policy TEXT NOT NULL,
  text TEXT NOT NULL,
  started_at INTEGER NOT NULL
) STRICT;
