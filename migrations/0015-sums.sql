-- The sums of each repository. For existing repositories they are counted here; the collector counts again what the previous version
-- pushes meanwhile.

CREATE TABLE IF NOT EXISTS repository_usage (
  repository_id INTEGER PRIMARY KEY,
  bytes INTEGER NOT NULL DEFAULT 0,
  tags INTEGER NOT NULL DEFAULT 0,
  manifests INTEGER NOT NULL DEFAULT 0
) STRICT;

INSERT INTO repository_usage (repository_id, bytes, tags, manifests)
SELECT repository_id, sum(bytes), sum(tags), sum(manifests) FROM (
  SELECT repository_id, 0 AS bytes, count(*) AS tags, 0 AS manifests FROM tags GROUP BY repository_id
  UNION ALL SELECT repository_id, sum(size), 0, count(*) FROM manifests GROUP BY repository_id
  UNION ALL SELECT c.repository_id, sum(b.size), 0, 0
    FROM (SELECT DISTINCT repository_id, child FROM manifest_references) c
    CROSS JOIN repository_blobs l ON l.digest = c.child AND l.repository_id = c.repository_id
    CROSS JOIN blobs b ON b.digest = c.child GROUP BY c.repository_id)
GROUP BY repository_id;
