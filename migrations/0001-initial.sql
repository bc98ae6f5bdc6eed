-- The first numbered schema. Later files change it, in the order of their numbers; schema.sql explains the tables.

-- ── registry ─────────────────────────────────────────────────────────────────────────────────────────────────────────

CREATE TABLE IF NOT EXISTS repositories (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  name TEXT NOT NULL UNIQUE,
  created_at INTEGER NOT NULL
) STRICT;

CREATE TABLE IF NOT EXISTS repository_pages (
  repository_id INTEGER PRIMARY KEY,
  description TEXT NOT NULL DEFAULT '',
  overview TEXT NOT NULL DEFAULT '',
  version INTEGER NOT NULL DEFAULT 1
) STRICT;

CREATE TABLE IF NOT EXISTS blobs (
  digest TEXT PRIMARY KEY,
  size INTEGER NOT NULL,
  object_key TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  missing_since INTEGER
) STRICT, WITHOUT ROWID;

CREATE INDEX IF NOT EXISTS blobs_streamed ON blobs (object_key) WHERE object_key >= 'blobs/stream/' AND object_key < 'blobs/stream0';

CREATE TABLE IF NOT EXISTS repository_blobs (
  digest TEXT NOT NULL,
  repository_id INTEGER NOT NULL,
  leased_until INTEGER NOT NULL,
  PRIMARY KEY (digest, repository_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS manifests (
  repository_id INTEGER NOT NULL,
  digest TEXT NOT NULL,
  media_type TEXT NOT NULL,
  artifact_type TEXT NOT NULL,
  subject TEXT,
  size INTEGER NOT NULL,
  pushed_at INTEGER NOT NULL,
  leased_until INTEGER NOT NULL DEFAULT 0,
  attempt TEXT,
  object_key TEXT,
  content TEXT,
  PRIMARY KEY (repository_id, digest),
  CHECK ((object_key IS NULL) <> (content IS NULL))
) STRICT, WITHOUT ROWID;

CREATE INDEX IF NOT EXISTS manifests_by_subject
  ON manifests (repository_id, subject, artifact_type, digest) WHERE subject IS NOT NULL;

CREATE INDEX IF NOT EXISTS manifests_stored ON manifests (object_key) WHERE object_key IS NOT NULL;

CREATE TABLE IF NOT EXISTS manifest_references (
  repository_id INTEGER NOT NULL,
  child TEXT NOT NULL,
  parent TEXT NOT NULL,
  PRIMARY KEY (repository_id, child, parent)
) STRICT, WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS tags (
  repository_id INTEGER NOT NULL,
  name TEXT NOT NULL,
  digest TEXT NOT NULL,
  updated_at INTEGER NOT NULL,
  PRIMARY KEY (repository_id, name)
) STRICT, WITHOUT ROWID;

CREATE INDEX IF NOT EXISTS tags_by_digest ON tags (repository_id, digest);

CREATE TABLE IF NOT EXISTS tag_history (
  repository_id INTEGER NOT NULL,
  tag TEXT NOT NULL,
  point INTEGER NOT NULL,
  at INTEGER NOT NULL,
  digest TEXT,
  previous TEXT,
  actor TEXT NOT NULL,
  key_id TEXT,
  attempt TEXT,
  reserved INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY (repository_id, tag, point)
) STRICT, WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS tag_mutability (
  repository_id INTEGER PRIMARY KEY,
  rule TEXT NOT NULL,
  version INTEGER NOT NULL DEFAULT 1
) STRICT;

CREATE TABLE IF NOT EXISTS lifecycle_policies (
  repository_id INTEGER PRIMARY KEY,
  policy TEXT NOT NULL,
  ran_at INTEGER NOT NULL DEFAULT 0,
  report TEXT,
  version INTEGER NOT NULL DEFAULT 1
) STRICT;

CREATE INDEX IF NOT EXISTS lifecycle_policies_due ON lifecycle_policies (ran_at);

CREATE TABLE IF NOT EXISTS trash (
  repository_id INTEGER NOT NULL,
  kind TEXT NOT NULL CHECK (kind IN ('tag', 'manifest', 'repository')),
  name TEXT NOT NULL,
  repository TEXT NOT NULL,
  digest TEXT,
  tags TEXT NOT NULL DEFAULT '[]',
  reason TEXT,
  actor TEXT NOT NULL,
  key_id TEXT,
  deleted_at INTEGER NOT NULL,
  created_at INTEGER,
  purging INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY (repository_id, kind, name)
) STRICT, WITHOUT ROWID;

CREATE INDEX IF NOT EXISTS trash_by_time ON trash (deleted_at);
CREATE INDEX IF NOT EXISTS trash_of_repositories ON trash (repository) WHERE kind = 'repository';

CREATE TABLE IF NOT EXISTS trashed_manifests (
  repository_id INTEGER NOT NULL,
  digest TEXT NOT NULL,
  media_type TEXT NOT NULL,
  artifact_type TEXT NOT NULL,
  subject TEXT,
  size INTEGER NOT NULL,
  pushed_at INTEGER NOT NULL,
  attempt TEXT,
  object_key TEXT,
  content TEXT,
  PRIMARY KEY (repository_id, digest)
) STRICT, WITHOUT ROWID;

CREATE INDEX IF NOT EXISTS trashed_manifests_by_subject ON trashed_manifests (repository_id, subject) WHERE subject IS NOT NULL;
CREATE INDEX IF NOT EXISTS trashed_manifests_stored ON trashed_manifests (object_key) WHERE object_key IS NOT NULL;

CREATE TABLE IF NOT EXISTS trashed_references (
  child TEXT NOT NULL,
  repository_id INTEGER NOT NULL,
  parent TEXT NOT NULL,
  PRIMARY KEY (child, repository_id, parent)
) STRICT, WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS pulls (
  repository_id INTEGER NOT NULL,
  digest TEXT NOT NULL,
  day INTEGER NOT NULL,
  count INTEGER NOT NULL,
  PRIMARY KEY (repository_id, digest, day)
) STRICT, WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS usage (
  namespace TEXT PRIMARY KEY,
  bytes INTEGER NOT NULL DEFAULT 0,
  blobs INTEGER NOT NULL DEFAULT 0,
  counted_at INTEGER NOT NULL DEFAULT 0,
  max_bytes INTEGER,
  warn_percent INTEGER NOT NULL DEFAULT 80,
  warned INTEGER NOT NULL DEFAULT 0,
  version INTEGER NOT NULL DEFAULT 1
) STRICT, WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS maintenance (
  job TEXT PRIMARY KEY,
  cursor TEXT NOT NULL,
  started_at INTEGER NOT NULL,
  report TEXT NOT NULL,
  finished TEXT,
  version INTEGER NOT NULL DEFAULT 1
) STRICT, WITHOUT ROWID;

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

CREATE TABLE IF NOT EXISTS tombstones (
  object_key TEXT PRIMARY KEY,
  made_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- ── auth ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

CREATE TABLE IF NOT EXISTS accounts (
  subject TEXT PRIMARY KEY,
  likeness TEXT UNIQUE,
  administrator INTEGER NOT NULL DEFAULT 0,
  disabled INTEGER NOT NULL DEFAULT 0,
  epoch INTEGER NOT NULL DEFAULT 0,
  description TEXT NOT NULL DEFAULT '',
  invitation TEXT,
  invited_until INTEGER,
  created_at INTEGER NOT NULL,
  version INTEGER NOT NULL DEFAULT 1
) STRICT, WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS members (
  user TEXT NOT NULL,
  organization TEXT NOT NULL,
  role TEXT NOT NULL CHECK (role IN ('owner', 'member')),
  PRIMARY KEY (user, organization)
) STRICT, WITHOUT ROWID;

CREATE INDEX IF NOT EXISTS members_by_organization ON members (organization, user);

CREATE TABLE IF NOT EXISTS teams (
  subject TEXT PRIMARY KEY,
  description TEXT NOT NULL DEFAULT '',
  created_at INTEGER NOT NULL,
  version INTEGER NOT NULL DEFAULT 1
) STRICT, WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS team_members (
  user TEXT NOT NULL,
  team TEXT NOT NULL,
  PRIMARY KEY (user, team)
) STRICT, WITHOUT ROWID;

CREATE INDEX IF NOT EXISTS team_members_by_team ON team_members (team, user);

CREATE TABLE IF NOT EXISTS policies (
  subject TEXT PRIMARY KEY,
  statements TEXT NOT NULL,
  version INTEGER NOT NULL DEFAULT 1
) STRICT, WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS policy_principals (
  principal TEXT NOT NULL,
  repository TEXT NOT NULL,
  PRIMARY KEY (principal, repository)
) STRICT, WITHOUT ROWID;

CREATE INDEX IF NOT EXISTS policy_principals_by_repository ON policy_principals (repository, principal);

CREATE TABLE IF NOT EXISTS access_keys (
  id TEXT PRIMARY KEY,
  owner TEXT NOT NULL,
  name TEXT NOT NULL,
  statements TEXT,
  created_at INTEGER NOT NULL,
  created_by TEXT NOT NULL,
  expires_at INTEGER NOT NULL,
  revoked_at INTEGER,
  last_used_day INTEGER,
  version INTEGER NOT NULL DEFAULT 1
) STRICT, WITHOUT ROWID;

CREATE INDEX IF NOT EXISTS access_keys_by_owner ON access_keys (owner, id);

CREATE TABLE IF NOT EXISTS logins (
  id TEXT PRIMARY KEY,
  subject TEXT NOT NULL,
  generation INTEGER NOT NULL DEFAULT 0,
  ended INTEGER NOT NULL DEFAULT 0,
  expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS trust_rules (
  subject TEXT PRIMARY KEY,
  issuer TEXT NOT NULL,
  audience TEXT NOT NULL,
  claims TEXT NOT NULL,
  statements TEXT NOT NULL,
  description TEXT NOT NULL DEFAULT '',
  created_at INTEGER NOT NULL,
  version INTEGER NOT NULL DEFAULT 1
) STRICT, WITHOUT ROWID;

CREATE INDEX IF NOT EXISTS trust_rules_by_issuer ON trust_rules (issuer, subject);

-- ── events ───────────────────────────────────────────────────────────────────────────────────────────────────────────

CREATE TABLE IF NOT EXISTS refusals (
  reason TEXT NOT NULL CONSTRAINT precondition CHECK (reason IS NULL)
) STRICT;

CREATE TABLE IF NOT EXISTS events (
  id INTEGER PRIMARY KEY,
  at INTEGER NOT NULL,
  type TEXT NOT NULL,
  about TEXT NOT NULL,
  sequence INTEGER NOT NULL,
  target TEXT NOT NULL,
  actor TEXT NOT NULL,
  key_id TEXT
) STRICT;

CREATE INDEX IF NOT EXISTS events_by_about ON events (about);

-- ── webhooks ─────────────────────────────────────────────────────────────────────────────────────────────────────────

CREATE TABLE IF NOT EXISTS subscriptions (
  id TEXT PRIMARY KEY,
  scope TEXT NOT NULL,
  description TEXT NOT NULL,
  endpoint TEXT NOT NULL,
  filter TEXT NOT NULL,
  format TEXT NOT NULL,
  origin TEXT NOT NULL,
  generation INTEGER NOT NULL DEFAULT 1,
  previous_until INTEGER NOT NULL DEFAULT 0,
  disabled TEXT,
  failures INTEGER NOT NULL DEFAULT 0,
  open_until INTEGER NOT NULL DEFAULT 0,
  first_event INTEGER NOT NULL,
  last_event INTEGER,
  created_at INTEGER NOT NULL,
  created_by TEXT NOT NULL,
  version INTEGER NOT NULL DEFAULT 1
) STRICT, WITHOUT ROWID;

CREATE INDEX IF NOT EXISTS subscriptions_by_scope ON subscriptions (scope, id);

CREATE TABLE IF NOT EXISTS deliveries (
  subscription TEXT NOT NULL,
  event INTEGER NOT NULL,
  event_data TEXT NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('waiting', 'delivered', 'failed')),
  created_at INTEGER NOT NULL,
  due_at INTEGER NOT NULL,
  claimed_until INTEGER NOT NULL DEFAULT 0,
  tries INTEGER NOT NULL DEFAULT 0,
  first_tried_at INTEGER,
  attempts TEXT NOT NULL DEFAULT '[]',
  PRIMARY KEY (subscription, event)
) STRICT, WITHOUT ROWID;

CREATE INDEX IF NOT EXISTS deliveries_waiting ON deliveries (subscription, event) WHERE state = 'waiting';

CREATE TABLE IF NOT EXISTS match_cursor (
  one INTEGER PRIMARY KEY CHECK (one = 1),
  event INTEGER NOT NULL
) STRICT;
