-- The database of Berth. One section per owning folder of src/; no other folder names its tables.
-- Times are seconds since the epoch on the database's clock. Applying this file twice does no harm.
-- STRICT everywhere; WITHOUT ROWID for text keys, as D1 bills each index entry as a row written.

-- ── registry ─────────────────────────────────────────────────────────────────────────────────────────────────────────

-- Refuses every row: a statement that would insert here ends its batch. So a D1 batch, which knows no IF, states a
-- precondition, and what it guards is written as one or not at all. Always empty.
CREATE TABLE IF NOT EXISTS refusals (
  reason TEXT NOT NULL CONSTRAINT precondition CHECK (reason IS NULL)
) STRICT;

-- Written with the first content of a repository. AUTOINCREMENT: an id is never used again, so what the collector has
-- not yet swept of a deleted repository cannot turn up in the next one.
CREATE TABLE IF NOT EXISTS repositories (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  name TEXT NOT NULL UNIQUE,
  created_at INTEGER NOT NULL
) STRICT;

-- One row a digest whose bytes are in R2 under object_key, verified (invariants 1 and 7). missing_since: a reader found
-- the object gone; the blob then counts as absent until somebody pushes it again.
CREATE TABLE IF NOT EXISTS blobs (
  digest TEXT PRIMARY KEY,
  size INTEGER NOT NULL,
  object_key TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  missing_since INTEGER
) STRICT, WITHOUT ROWID;

-- Which repository holds which blob. Digest first: it answers "is it here" as well as "does anybody still hold it".
-- leased_until: until then the collector leaves it alone, because a client was told it need not upload (invariant 8).
CREATE TABLE IF NOT EXISTS repository_blobs (
  digest TEXT NOT NULL,
  repository_id INTEGER NOT NULL,
  leased_until INTEGER NOT NULL,
  PRIMARY KEY (digest, repository_id)
) STRICT, WITHOUT ROWID;

-- One row a manifest of a repository. artifact_type is empty where the document has none. content holds the document up
-- to 128 KiB, object_key the R2 object of a larger one: empty once a reader found that object gone.
-- content stands last, so that lists do not read it.
CREATE TABLE IF NOT EXISTS manifests (
  repository_id INTEGER NOT NULL,
  digest TEXT NOT NULL,
  media_type TEXT NOT NULL,
  artifact_type TEXT NOT NULL,
  subject TEXT,
  size INTEGER NOT NULL,
  pushed_at INTEGER NOT NULL,
  object_key TEXT,
  content TEXT,
  PRIMARY KEY (repository_id, digest),
  CHECK ((object_key IS NULL) <> (content IS NULL))
) STRICT, WITHOUT ROWID;

-- Referrers of a subject, filtered or not, in the order of their pages.
CREATE INDEX IF NOT EXISTS manifests_by_subject
  ON manifests (repository_id, subject, artifact_type, digest) WHERE subject IS NOT NULL;

-- What a manifest points at within its repository (invariant 2): child is a blob or a manifest. Child first: the question
-- is always whether something still points at it.
CREATE TABLE IF NOT EXISTS manifest_references (
  repository_id INTEGER NOT NULL,
  child TEXT NOT NULL,
  parent TEXT NOT NULL,
  PRIMARY KEY (repository_id, child, parent)
) STRICT, WITHOUT ROWID;

-- A tag names a manifest of its own repository (invariant 3).
CREATE TABLE IF NOT EXISTS tags (
  repository_id INTEGER NOT NULL,
  name TEXT NOT NULL,
  digest TEXT NOT NULL,
  updated_at INTEGER NOT NULL,
  PRIMARY KEY (repository_id, name)
) STRICT, WITHOUT ROWID;

CREATE INDEX IF NOT EXISTS tags_by_digest ON tags (repository_id, digest);

-- Uploads that have received something. Until then an upload lives in its signed location alone. version grows with every
-- write: the compare-and-swap of invariant 5. staged: where the bytes are (src/storage/staging.ts). A row outlives its
-- end until expires_at, so that its location cannot pass for a fresh one.
CREATE TABLE IF NOT EXISTS uploads (
  id TEXT PRIMARY KEY,
  repository TEXT NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('open', 'committed', 'closed')),
  version INTEGER NOT NULL,
  size INTEGER NOT NULL,
  staged TEXT NOT NULL,
  digest TEXT,
  expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- R2 objects whose last row has gone, to be deleted by the collector: rows first, bytes after (invariant 1).
CREATE TABLE IF NOT EXISTS tombstones (
  object_key TEXT PRIMARY KEY,
  made_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- ── events ───────────────────────────────────────────────────────────────────────────────────────────────────────────

-- What happened, in order: one row a committed change, written by the batch that made it (invariant 6).
CREATE TABLE IF NOT EXISTS events (
  id INTEGER PRIMARY KEY,
  at INTEGER NOT NULL,
  type TEXT NOT NULL,
  repository TEXT NOT NULL,
  target TEXT NOT NULL,
  actor TEXT NOT NULL
) STRICT;
