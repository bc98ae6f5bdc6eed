-- The database of Berth. One section per owning folder of src/; no other folder names its tables.
-- The files of migrations/ produce it, one after the other; a test compares the two. A change goes into both.
-- Times are seconds since the epoch on the database's clock. Applying this file twice does no harm.
-- STRICT everywhere; WITHOUT ROWID for text keys, as D1 bills each index entry as a row written.

-- ── ownership.ts ─────────────────────────────────────────────────────────────────────────────────────────────────────

-- The registry that this database belongs to: one row. id is also in the bucket. secret_mark is derived from REGISTRY_SECRET; a
-- deployment whose secret gives another mark is another registry.
CREATE TABLE IF NOT EXISTS registry (
  one INTEGER PRIMARY KEY CHECK (one = 1),
  id TEXT NOT NULL,
  secret_mark TEXT NOT NULL,
  created_at INTEGER NOT NULL
) STRICT;

-- ── registry ─────────────────────────────────────────────────────────────────────────────────────────────────────────

-- A row is created by an explicit call or by the first push. AUTOINCREMENT: an id is never reused, so rows of a deleted repository that
-- the collector has not removed yet cannot appear in a new one.
CREATE TABLE IF NOT EXISTS repositories (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  name TEXT NOT NULL UNIQUE,
  created_at INTEGER NOT NULL
) STRICT;

-- Description and overview (Markdown) of a repository, in a table of their own because every pull reads the row in repositories.
-- version is for conditional updates and counts changes of the repository as a whole.
CREATE TABLE IF NOT EXISTS repository_pages (
  repository_id INTEGER PRIMARY KEY,
  description TEXT NOT NULL DEFAULT '',
  overview TEXT NOT NULL DEFAULT '',
  version INTEGER NOT NULL DEFAULT 1
) STRICT;

-- One row per digest whose verified bytes are in R2 under object_key (invariants 1 and 7). missing_since: when a reader found the
-- object gone; from then on the blob counts as absent until it is pushed again.
CREATE TABLE IF NOT EXISTS blobs (
  digest TEXT PRIMARY KEY,
  size INTEGER NOT NULL,
  object_key TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  missing_since INTEGER
) STRICT, WITHOUT ROWID;

-- Index for the scrub, which finds rows by the key of an object: blobs whose key does not begin with their digest.
CREATE INDEX IF NOT EXISTS blobs_streamed ON blobs (object_key) WHERE object_key >= 'blobs/stream/' AND object_key < 'blobs/stream0';

-- Links: which repository holds which blob. The digest comes first in the key, so that the key answers both "does this repository hold
-- it" and "does any repository hold it". leased_until: the collector keeps the link until then, because a client was told that it need not
-- upload the blob (invariant 8).
CREATE TABLE IF NOT EXISTS repository_blobs (
  digest TEXT NOT NULL,
  repository_id INTEGER NOT NULL,
  leased_until INTEGER NOT NULL,
  PRIMARY KEY (digest, repository_id)
) STRICT, WITHOUT ROWID;

-- One row per manifest of a repository. artifact_type is empty if the document has none. content holds a document of up to 128 KiB,
-- object_key names the R2 object of a larger one and is empty once a reader found that object gone. leased_until: no lifecycle rule
-- deletes the manifest as untagged until then (invariant 8). pushed_at, attempt: time and id of its last put. content is the last
-- column, so that lists do not read it.
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

-- Index for the referrers of a subject, with or without a filter, in the order of the list.
CREATE INDEX IF NOT EXISTS manifests_by_subject
  ON manifests (repository_id, subject, artifact_type, digest) WHERE subject IS NOT NULL;

-- Index for the collector and the scrub, which find rows by the key of an object: manifests whose document is in R2.
CREATE INDEX IF NOT EXISTS manifests_stored ON manifests (object_key) WHERE object_key IS NOT NULL;

-- What a manifest references within its repository (invariant 2): child is a blob or a manifest. The child comes first, because the
-- question is always whether a manifest still references it.
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

-- History of each tag, written by the batch that changes it. point numbers the changes. digest: what the tag names from then on, NULL
-- if it was deleted; previous: what it named before. attempt: the id of the put, by which a put whose answer was lost finds out that
-- it was carried out. reserved: the tag was immutable when it was deleted, so its name may only name the same digest again.
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

-- Which tags of a repository are immutable. rule (JSON): one of ECR's four values and its filters; empty if every tag may move. A batch
-- requires that the rule has the same text as when the decision was made. version is for conditional updates.
CREATE TABLE IF NOT EXISTS tag_mutability (
  repository_id INTEGER PRIMARY KEY,
  rule TEXT NOT NULL,
  version INTEGER NOT NULL DEFAULT 1
) STRICT;

-- Lifecycle policy (JSON) of a repository. ran_at, report (JSON): its last complete run. pass (JSON): the progress of a run through a
-- large repository. tried_at, attempts: when the schedule last started it, and how often since it last made progress; a policy that
-- makes none is retried less and less often.
CREATE TABLE IF NOT EXISTS lifecycle_policies (
  repository_id INTEGER PRIMARY KEY,
  policy TEXT NOT NULL,
  ran_at INTEGER NOT NULL DEFAULT 0,
  report TEXT,
  version INTEGER NOT NULL DEFAULT 1,
  pass TEXT,
  tried_at INTEGER NOT NULL DEFAULT 0,
  attempts INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE INDEX IF NOT EXISTS lifecycle_policies_due ON lifecycle_policies (ran_at);

-- Deleted content that can be restored for a while. name: the tag, the manifest's digest, or empty for a repository, which is restored
-- with all rows under its id and with its created_at. digest: what a tag named. tags (JSON): the tags that named a manifest. reason:
-- the lifecycle rule that deleted it, NULL if a user did. purging: its content is being deleted, so it cannot be restored any more.
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

-- Manifests in the trash, with the columns that they had.
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

-- What manifests in the trash reference. They keep blobs as other references do, so that the manifest can be restored. The child comes
-- first, because the question is whether the trash of any repository still needs it.
CREATE TABLE IF NOT EXISTS trashed_references (
  child TEXT NOT NULL,
  repository_id INTEGER NOT NULL,
  parent TEXT NOT NULL,
  PRIMARY KEY (child, repository_id, parent)
) STRICT, WITHOUT ROWID;

-- Pulls of an image on a day (days since the epoch): exact for few pulls, an estimate for many (src/registry/usage/pulls.ts).
CREATE TABLE IF NOT EXISTS pulls (
  repository_id INTEGER NOT NULL,
  digest TEXT NOT NULL,
  day INTEGER NOT NULL,
  count INTEGER NOT NULL,
  PRIMARY KEY (repository_id, digest, day)
) STRICT, WITHOUT ROWID;

-- The last day on which a client checked a manifest (HEAD), as nodes do that have the image already: the image is in use.
CREATE TABLE IF NOT EXISTS manifest_checks (
  repository_id INTEGER NOT NULL,
  digest TEXT NOT NULL,
  day INTEGER NOT NULL,
  PRIMARY KEY (repository_id, digest)
) STRICT, WITHOUT ROWID;

-- What the repositories of a namespace hold, each blob counted once. The empty namespace is that of names without a slash. Every batch
-- that changes the content of a namespace with a limit updates bytes and blobs; the collector counts all namespaces anew. max_bytes:
-- the limit, NULL for none. warned: 1 if the warning was given since usage was last below its threshold. staged: bytes of unfinished
-- uploads, kept like bytes. leading: the unfinished upload that may continue whatever the others have staged. kind: the owner's kind.
CREATE TABLE IF NOT EXISTS usage (
  namespace TEXT PRIMARY KEY,
  bytes INTEGER NOT NULL DEFAULT 0,
  blobs INTEGER NOT NULL DEFAULT 0,
  counted_at INTEGER NOT NULL DEFAULT 0,
  max_bytes INTEGER,
  warn_percent INTEGER NOT NULL DEFAULT 80,
  warned INTEGER NOT NULL DEFAULT 0,
  version INTEGER NOT NULL DEFAULT 1,
  staged INTEGER NOT NULL DEFAULT 0,
  leading TEXT,
  kind TEXT NOT NULL DEFAULT 'organization' CHECK (kind IN ('organization', 'user'))
) STRICT, WITHOUT ROWID;

-- Progress of jobs that go through everything in slices. cursor: where the next slice begins. report (JSON): of the current pass;
-- finished (JSON): of the last complete pass. version: of two concurrent slices only one is saved.
CREATE TABLE IF NOT EXISTS maintenance (
  job TEXT PRIMARY KEY,
  cursor TEXT NOT NULL,
  started_at INTEGER NOT NULL,
  report TEXT NOT NULL,
  finished TEXT,
  version INTEGER NOT NULL DEFAULT 1
) STRICT, WITHOUT ROWID;

-- Uploads that have received bytes. Before that, an upload exists only as its signed location. version grows with every write
-- (compare-and-swap, invariant 5). staged: where the bytes are (src/storage/staging.ts). The row of an ended upload stays until
-- expires_at, so that its location is not mistaken for that of a new upload.
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

-- R2 objects whose last row was deleted. The collector deletes them: rows first, bytes after (invariant 1).
CREATE TABLE IF NOT EXISTS tombstones (
  object_key TEXT PRIMARY KEY,
  made_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- ── auth ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

-- Accounts. subject: `user:<name>`, `organization:<name>` or `robot:<organization>/<name>`. Rows are never deleted, so that nobody
-- else can take a name that something still names. likeness: the confusable skeleton of the name (UTS 39), unique among users and
-- organizations. disabled: 1, or 2 for a deleted account. epoch: grows when all logins are ended; every token names the epoch in
-- which it was made. version: for conditional updates. invitation: the id of the open one-time link.
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

-- Members of organizations. The key begins with the user, because every request reads what its caller belongs to.
CREATE TABLE IF NOT EXISTS members (
  user TEXT NOT NULL,
  organization TEXT NOT NULL,
  role TEXT NOT NULL CHECK (role IN ('owner', 'member')),
  PRIMARY KEY (user, organization)
) STRICT, WITHOUT ROWID;

CREATE INDEX IF NOT EXISTS members_by_organization ON members (organization, user);

-- Open invitations to join an organization, until the user accepts or declines. They end at expires_at.
CREATE TABLE IF NOT EXISTS organization_invitations (
  user TEXT NOT NULL,
  organization TEXT NOT NULL,
  role TEXT NOT NULL CHECK (role IN ('owner', 'member')),
  invited_by TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  expires_at INTEGER NOT NULL,
  PRIMARY KEY (user, organization)
) STRICT, WITHOUT ROWID;

CREATE INDEX IF NOT EXISTS organization_invitations_by_organization ON organization_invitations (organization, user);

-- Teams. subject: `team:<organization>/<name>`.
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

-- Policies: the statements (JSON) of a user, team, robot or repository (`repository:<name>`), read and saved as one document. `?` marks
-- a name that nobody had when the policy was saved (src/auth/rights/policy-names.ts). The policy of a repository in the trash has the
-- subject `trash:<id>`; its column repository has the name.
CREATE TABLE IF NOT EXISTS policies (
  subject TEXT PRIMARY KEY,
  statements TEXT NOT NULL,
  version INTEGER NOT NULL DEFAULT 1,
  repository TEXT
) STRICT, WITHOUT ROWID;

-- Index of the principals that repositories' policies name, for lists of visible repositories. Written with the policy. pull: 1 if the
-- policy allows them to pull, plus 2 if it denies it; NULL in rows of an earlier version, for which the policy is read.
CREATE TABLE IF NOT EXISTS policy_principals (
  principal TEXT NOT NULL,
  repository TEXT NOT NULL,
  pull INTEGER,
  PRIMARY KEY (principal, repository)
) STRICT, WITHOUT ROWID;

CREATE INDEX IF NOT EXISTS policy_principals_by_repository ON policy_principals (repository, principal);

-- Access keys. The secret is derived from the id and the registry's secret, and not stored. statements (JSON): limits what the owner
-- may do with the key; NULL: no limit. last_used_day: days since the epoch, written once a day. replaces: the key that this one
-- replaced. made_with: another key that was used to create this one.
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
  version INTEGER NOT NULL DEFAULT 1,
  replaces TEXT,
  made_with TEXT
) STRICT, WITHOUT ROWID;

CREATE INDEX IF NOT EXISTS access_keys_by_owner ON access_keys (owner, id);
CREATE INDEX IF NOT EXISTS access_keys_by_replaced ON access_keys (replaces) WHERE replaces IS NOT NULL;
CREATE INDEX IF NOT EXISTS access_keys_by_maker ON access_keys (made_with) WHERE made_with IS NOT NULL;

-- Logins with a refresh token. generation: how often the token was rotated. Using a token of an earlier generation ends the login,
-- because somebody has stolen it.
CREATE TABLE IF NOT EXISTS logins (
  id TEXT PRIMARY KEY,
  subject TEXT NOT NULL,
  generation INTEGER NOT NULL DEFAULT 0,
  ended INTEGER NOT NULL DEFAULT 0,
  expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX IF NOT EXISTS logins_by_subject ON logins (subject);

-- Use of each account by day (days since the epoch): rows that its requests read and wrote, and replayed deliveries. Kept for a week.
CREATE TABLE IF NOT EXISTS account_days (
  account TEXT NOT NULL,
  day INTEGER NOT NULL,
  kind TEXT NOT NULL,
  count INTEGER NOT NULL,
  PRIMARY KEY (account, day, kind)
) STRICT, WITHOUT ROWID;

CREATE INDEX IF NOT EXISTS account_days_by_day ON account_days (day);

-- Trust rules: which tokens of an outside issuer are admitted, and what they may do. subject: `ci:<organization>/<name>`, or
-- `ci:<name>` for a rule of the registry as a whole; organization: empty for such a rule. claims and statements: JSON
-- (src/auth/outside/oidc.ts). lifetime: seconds that a job's login lasts. revision: the id of the event of the current version, which
-- admits only later logins. keyed: the version whose keys are in trust_rule_keys. If it is not the current one, the rule is
-- read for every token of its issuer.
CREATE TABLE IF NOT EXISTS trust_rules (
  subject TEXT PRIMARY KEY,
  issuer TEXT NOT NULL,
  audience TEXT NOT NULL,
  claims TEXT NOT NULL,
  statements TEXT NOT NULL,
  description TEXT NOT NULL DEFAULT '',
  created_at INTEGER NOT NULL,
  version INTEGER NOT NULL DEFAULT 1,
  lifetime INTEGER NOT NULL DEFAULT 3600,
  disabled INTEGER NOT NULL DEFAULT 0,
  organization TEXT NOT NULL DEFAULT '',
  revision INTEGER NOT NULL DEFAULT 0,
  keyed INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;

CREATE INDEX IF NOT EXISTS trust_rules_by_issuer ON trust_rules (issuer, subject);
CREATE INDEX IF NOT EXISTS trust_rules_unkeyed ON trust_rules (issuer, organization) WHERE keyed <> version;

-- Index of trust rules by one claim that identifies their jobs, with each value that the rule accepts.
CREATE TABLE IF NOT EXISTS trust_rule_keys (
  issuer TEXT NOT NULL,
  claim TEXT NOT NULL,
  value TEXT NOT NULL,
  organization TEXT NOT NULL,
  subject TEXT NOT NULL,
  PRIMARY KEY (issuer, claim, value, organization, subject)
) STRICT, WITHOUT ROWID;

CREATE INDEX IF NOT EXISTS trust_rule_keys_by_subject ON trust_rule_keys (subject);

-- Outside tokens that were used as a password while they were valid. id: SHA-256 of the token. since: the newest event at that time.
CREATE TABLE IF NOT EXISTS outside_logins (
  id TEXT PRIMARY KEY,
  began_at INTEGER NOT NULL,
  since INTEGER NOT NULL,
  expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX IF NOT EXISTS outside_logins_by_end ON outside_logins (expires_at);

-- ── events ───────────────────────────────────────────────────────────────────────────────────────────────────────────

-- Always empty: it refuses every row, so that a batch can have preconditions. A statement that would insert a row here aborts its batch,
-- and nothing is written. The constraint that fails has the name of the reason (vocabulary/reasons.ts), which D1's error contains. The
-- last constraint is for reasons without one of their own.
CREATE TABLE IF NOT EXISTS refusals (
  reason TEXT NOT NULL,
  CONSTRAINT not_found CHECK (reason <> 'not-found'),
  CONSTRAINT repository_unknown CHECK (reason <> 'repository-unknown'),
  CONSTRAINT manifest_unknown CHECK (reason <> 'manifest-unknown'),
  CONSTRAINT blob_unknown CHECK (reason <> 'blob-unknown'),
  CONSTRAINT upload_unknown CHECK (reason <> 'upload-unknown'),
  CONSTRAINT references_unknown CHECK (reason <> 'references-unknown'),
  CONSTRAINT manifest_invalid CHECK (reason <> 'manifest-invalid'),
  CONSTRAINT content_referenced CHECK (reason <> 'content-referenced'),
  CONSTRAINT content_gone CHECK (reason <> 'content-gone'),
  CONSTRAINT tag_immutable CHECK (reason <> 'tag-immutable'),
  CONSTRAINT quota_exceeded CHECK (reason <> 'quota-exceeded'),
  CONSTRAINT condition_failed CHECK (reason <> 'condition-failed'),
  CONSTRAINT forbidden CHECK (reason <> 'forbidden'),
  CONSTRAINT version_mismatch CHECK (reason <> 'version-mismatch'),
  CONSTRAINT name_taken CHECK (reason <> 'name-taken'),
  CONSTRAINT limit_reached CHECK (reason <> 'limit-reached'),
  CONSTRAINT last_owner CHECK (reason <> 'last-owner'),
  CONSTRAINT last_administrator CHECK (reason <> 'last-administrator'),
  CONSTRAINT disabled CHECK (reason <> 'disabled'),
  CONSTRAINT not_empty CHECK (reason <> 'not-empty'),
  CONSTRAINT conflict CHECK (reason <> 'conflict'),
  CONSTRAINT overtaken CHECK (reason <> 'overtaken'),
  CONSTRAINT precondition CHECK (reason IS NULL)
) STRICT;

-- Events in order: one row for each committed change, written by the batch of the change (invariant 6). This is both the outbox and the
-- audit log. about: the name of a repository, `organization:<name>`, or empty for the registry itself. sequence numbers the events of
-- one `about` without gaps. The newest event of each is never deleted, so that no id and no sequence is used twice. changes (JSON):
-- the fields that changed, with the old and the new value. address: the client's address, for logins and requests to the API only; it is
-- removed after some days. For events about logins, about is `logins:` or `logins:<organization>`.
CREATE TABLE IF NOT EXISTS events (
  id INTEGER PRIMARY KEY,
  at INTEGER NOT NULL,
  type TEXT NOT NULL,
  about TEXT NOT NULL,
  sequence INTEGER NOT NULL,
  target TEXT NOT NULL,
  actor TEXT NOT NULL,
  key_id TEXT,
  changes TEXT,
  address TEXT
) STRICT;

-- Index for the events of one `about`, newest last: SQLite adds the id as the last column.
CREATE INDEX IF NOT EXISTS events_by_about ON events (about);

-- Index for the job that removes old addresses.
CREATE INDEX IF NOT EXISTS events_with_address ON events (id) WHERE address IS NOT NULL;

-- ── webhooks ─────────────────────────────────────────────────────────────────────────────────────────────────────────

-- Subscriptions (webhooks). scope: `repository:<name>`, `organization:<name>` or `registry`. endpoint: URL and headers, which may hold
-- credentials, encrypted with a key derived from the registry's secret. filter: JSON. origin: the registry's address that its creator
-- used. generation: number of its secret, which is derived as well; until previous_until the secret before it signs, too. disabled: the
-- reason, NULL while it is enabled. failures: failed attempts in a row; nothing is sent before open_until. It gets events after
-- first_event, and only up to last_event once it or its scope was deleted. responsible: the user whose rights it needs: who last set its
-- endpoint or enabled it; NULL: its creator.
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
  version INTEGER NOT NULL DEFAULT 1,
  responsible TEXT
) STRICT, WITHOUT ROWID;

CREATE INDEX IF NOT EXISTS subscriptions_by_scope ON subscriptions (scope, id);

-- Index for the webhooks of a user who leaves.
CREATE INDEX IF NOT EXISTS subscriptions_by_owner ON subscriptions (coalesce(responsible, created_by));

-- Deliveries: at most one row for an event and a subscription. event_data (JSON): the event as recorded, with what its format needs to
-- know about the repository. state: a waiting delivery is tried at due_at, by the process that claimed it until claimed_until. tries:
-- attempts since it was created or replayed; first_tried_at: the first of them, from which its lifetime counts. attempts (JSON): the
-- attempts that people see. replayed_at: the last replay. reminded: how often the schedule has sent it to the queue again since its last
-- attempt.
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
  replayed_at INTEGER,
  reminded INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY (subscription, event)
) STRICT, WITHOUT ROWID;

-- Index for the schedule's search for waiting deliveries, and for the oldest one of an endpoint that failed. It leaves due_at out, so that
-- claims and reminders do not have to write the index.
CREATE INDEX IF NOT EXISTS deliveries_waiting ON deliveries (subscription, event) WHERE state = 'waiting';

-- Deliveries that the webhooks of an organization or user have sent on a day (days since the epoch). Kept for two days.
CREATE TABLE IF NOT EXISTS delivery_days (
  owner TEXT NOT NULL,
  day INTEGER NOT NULL,
  count INTEGER NOT NULL,
  PRIMARY KEY (owner, day)
) STRICT, WITHOUT ROWID;

-- The last event that was matched with subscriptions. The batch that creates the deliveries moves it. One row.
CREATE TABLE IF NOT EXISTS match_cursor (
  one INTEGER PRIMARY KEY CHECK (one = 1),
  event INTEGER NOT NULL
) STRICT;

-- ── background ───────────────────────────────────────────────────────────────────────────────────────────────────────

-- Use of the budget of background jobs by day (days since the epoch). spent (JSON): rows read, rows written and queue operations of
-- each job.
CREATE TABLE IF NOT EXISTS background_days (
  day INTEGER PRIMARY KEY,
  spent TEXT NOT NULL
) STRICT;
