-- The database of Berth. Each section contains the tables of one folder of src/. No other folder names these tables in SQL.
-- The files of migrations/, applied in order, produce the same schema, and a test compares the two. Make each change in both.
-- Times are in seconds since the epoch, on the clock of the database. Days are numbered since the epoch, in UTC.
-- Applying this file to a database that has the schema changes nothing.
-- All tables are STRICT. Tables with a text key are WITHOUT ROWID, because D1 bills every index entry as a written row.
-- A column `version` counts the changes of its row. A conditional update compares it with the version that the client has read.

-- ── ownership.ts ─────────────────────────────────────────────────────────────────────────────────────────────────────

-- The registry that this database belongs to. The table has one row.
--   id: the id of the registry, which is also stored in the bucket.
--   secret_mark: a text derived from REGISTRY_SECRET. A deployment whose secret gives another mark is another registry.
CREATE TABLE IF NOT EXISTS registry (
  one INTEGER PRIMARY KEY CHECK (one = 1),
  id TEXT NOT NULL,
  secret_mark TEXT NOT NULL,
  created_at INTEGER NOT NULL
) STRICT;

-- ── registry ─────────────────────────────────────────────────────────────────────────────────────────────────────────

-- Repositories. A row is created by a request to the API or by the first push.
--   id: never reused (AUTOINCREMENT). So the rows of a deleted repository that the collector has not removed yet cannot appear
--     in a new repository.
CREATE TABLE IF NOT EXISTS repositories (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  name TEXT NOT NULL UNIQUE,
  created_at INTEGER NOT NULL
) STRICT;

-- The descriptions of repositories. They are not in the table repositories, because every pull reads its row there.
--   overview: Markdown.
--   version: counts all changes of the repository through the API, also those of its visibility.
--   overview_html: the HTML of the overview.
--   rendered_version: the version whose overview was rendered. If it is not the present version, the HTML may be of an older
--     overview, and is made again when the overview is shown.
--   stars: the number of rows in the table stars.
--   last_comment: the id of the newest comment that was ever written, or 0.
CREATE TABLE IF NOT EXISTS repository_pages (
  repository_id INTEGER PRIMARY KEY,
  description TEXT NOT NULL DEFAULT '',
  overview TEXT NOT NULL DEFAULT '',
  version INTEGER NOT NULL DEFAULT 1,
  overview_html TEXT,
  rendered_version INTEGER,
  stars INTEGER NOT NULL DEFAULT 0,
  last_comment INTEGER NOT NULL DEFAULT 0,
  scan_on_push INTEGER NOT NULL DEFAULT 0
) STRICT;

-- Labels of repositories, which clients of the ECR API set.
CREATE TABLE IF NOT EXISTS repository_labels (
  repository_id INTEGER NOT NULL,
  key TEXT NOT NULL,
  value TEXT NOT NULL,
  PRIMARY KEY (repository_id, key)
) STRICT, WITHOUT ROWID;

-- The people who have starred a repository.
CREATE TABLE IF NOT EXISTS stars (
  repository_id INTEGER NOT NULL,
  subject TEXT NOT NULL,
  starred_at INTEGER NOT NULL,
  PRIMARY KEY (repository_id, subject)
) STRICT, WITHOUT ROWID;

-- Comments on repositories.
--   id: numbers the comments of a repository, from 1. It is not reused.
--   author: `user:alice`.
--   source, html: Markdown, and the HTML that it renders to.
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

-- Blobs: one row for each digest whose verified bytes are in R2 (invariants 1 and 7).
--   object_key: the key of the R2 object.
--   missing_since: the time when a reader found that the object is missing. From then on the blob counts as absent, until it is
--     pushed again. NULL if the object is not known to be missing.
CREATE TABLE IF NOT EXISTS blobs (
  digest TEXT PRIMARY KEY,
  size INTEGER NOT NULL,
  object_key TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  missing_since INTEGER
) STRICT, WITHOUT ROWID;

-- Index for the scrub, which looks up blobs by the key of an object. It contains the blobs whose key does not have the digest.
CREATE INDEX IF NOT EXISTS blobs_streamed ON blobs (object_key) WHERE object_key >= 'blobs/stream/' AND object_key < 'blobs/stream0';

-- Links: one row for each blob that a repository holds. The digest is the first column of the key. So the key serves both the
-- question whether one repository holds a blob, and the question whether any repository holds it.
--   leased_until: the collector keeps the link until this time, because a client was told that it need not upload the blob
--     (invariant 8).
CREATE TABLE IF NOT EXISTS repository_blobs (
  digest TEXT NOT NULL,
  repository_id INTEGER NOT NULL,
  leased_until INTEGER NOT NULL,
  PRIMARY KEY (digest, repository_id)
) STRICT, WITHOUT ROWID;

-- Manifests: one row for each manifest of a repository.
--   artifact_type: empty if the manifest has none.
--   pushed_at: the time of the last push of the manifest.
--   attempt: the id of the request that pushed the manifest last.
--   leased_until: until this time, no lifecycle rule deletes the manifest as untagged (invariant 8).
--   content: the document, if it has up to 128 KiB.
--   object_key: the R2 object of a larger document. Empty if a reader has found that the object is missing.
--   content_size: the bytes of all blobs that the document references. A blob counts once, and foreign layers do not count.
--     NULL if it is not known yet.
--   platform: the platform of an image, for example `linux/arm64/v8`. NULL until the config of the image is first read.
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
  content_size INTEGER,
  platform TEXT,
  PRIMARY KEY (repository_id, digest),
  CHECK ((object_key IS NULL) <> (content IS NULL))
) STRICT, WITHOUT ROWID;

-- Index for the list of the referrers of a subject, in the order of the list, with or without a filter for the artifact type.
CREATE INDEX IF NOT EXISTS manifests_by_subject
  ON manifests (repository_id, subject, artifact_type, digest) WHERE subject IS NOT NULL;

-- Index for the collector and the scrub, which look up manifests by the key of an object. It contains the manifests in R2.
CREATE INDEX IF NOT EXISTS manifests_stored ON manifests (object_key) WHERE object_key IS NOT NULL;

-- The references of manifests to content of the same repository (invariant 2). The child precedes the parent in the key,
-- because queries always ask whether a manifest still references a child.
--   child: the digest of the blob or manifest that is referenced.
--   parent: the digest of the manifest that references it.
CREATE TABLE IF NOT EXISTS manifest_references (
  repository_id INTEGER NOT NULL,
  child TEXT NOT NULL,
  parent TEXT NOT NULL,
  PRIMARY KEY (repository_id, child, parent)
) STRICT, WITHOUT ROWID;

-- Tags. A tag names a manifest of its own repository (invariant 3).
CREATE TABLE IF NOT EXISTS tags (
  repository_id INTEGER NOT NULL,
  name TEXT NOT NULL,
  digest TEXT NOT NULL,
  updated_at INTEGER NOT NULL,
  PRIMARY KEY (repository_id, name)
) STRICT, WITHOUT ROWID;

CREATE INDEX IF NOT EXISTS tags_by_digest ON tags (repository_id, digest);
-- Index for lists of tags in the order of the time of their push.
CREATE INDEX IF NOT EXISTS tags_by_time ON tags (repository_id, updated_at, name);

-- The history of tags: one row for each change of a tag, written in the batch of the change.
--   point: the number of the change, from 1 for each tag.
--   digest: the digest that the tag names after the change. NULL if the change deleted the tag.
--   previous: the digest that the tag named before the change.
--   attempt: the id of the push. If the answer of the database is lost, the push finds by this id that it was carried out.
--   reserved: 1 if the tag was immutable when it was deleted. Then the tag can only be created again with the same digest.
--   cause: the cause of the change (src/vocabulary/causes.ts). NULL for changes by a version that did not record causes.
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
  cause TEXT,
  PRIMARY KEY (repository_id, tag, point)
) STRICT, WITHOUT ROWID;

-- The setting of a repository that says which of its tags are immutable.
--   rule: JSON with one of the four values of ECR and its filters. Empty if every tag is mutable. A push reads the rule before
--     it writes, and its batch requires that the rule still has the same text.
CREATE TABLE IF NOT EXISTS tag_mutability (
  repository_id INTEGER PRIMARY KEY,
  rule TEXT NOT NULL,
  version INTEGER NOT NULL DEFAULT 1
) STRICT;

-- The lifecycle policies of repositories.
--   policy: JSON.
--   ran_at: the time of the last complete run. 0 if there was none.
--   report: the result of the last complete run, as JSON.
--   pass: the progress of a run through a large repository, as JSON. NULL if no such run is under way.
--   tried_at: the time when the schedule last started the policy.
--   attempts: how often the schedule has started the policy since it last made progress. A policy that makes no progress is
--     started less and less often.
--   text: the policy as a client of the ECR API sent it. NULL if it was saved in another way.
CREATE TABLE IF NOT EXISTS lifecycle_policies (
  repository_id INTEGER PRIMARY KEY,
  policy TEXT NOT NULL,
  ran_at INTEGER NOT NULL DEFAULT 0,
  report TEXT,
  version INTEGER NOT NULL DEFAULT 1,
  pass TEXT,
  tried_at INTEGER NOT NULL DEFAULT 0,
  attempts INTEGER NOT NULL DEFAULT 0,
  text TEXT
) STRICT;

-- The previews of lifecycle policies that clients of the ECR API have started.
--   policy: JSON.
--   text: the policy as the client sent it.
CREATE TABLE IF NOT EXISTS lifecycle_previews (
  repository_id INTEGER PRIMARY KEY,
  policy TEXT NOT NULL,
  text TEXT NOT NULL,
  started_at INTEGER NOT NULL
) STRICT;

CREATE INDEX IF NOT EXISTS lifecycle_policies_due ON lifecycle_policies (ran_at);

-- The trash: deleted content that can be restored for some days. The rows of a deleted repository stay in the other tables
-- under its id, and its restore makes them visible again.
--   name: the tag, or the digest of the manifest. Empty for a repository.
--   repository: the name of the repository.
--   digest: the digest that the tag named. NULL for a manifest or a repository.
--   tags: the tags that named the manifest, as a JSON list.
--   reason: the lifecycle rule that deleted the entry. NULL if a user deleted it.
--   created_at: the time when the repository was created. NULL for a tag or a manifest.
--   purging: 1 while the content is being deleted for good. The entry can then no longer be restored.
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

-- The manifests in the trash, with the columns of the table manifests.
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
  content_size INTEGER,
  platform TEXT,
  PRIMARY KEY (repository_id, digest)
) STRICT, WITHOUT ROWID;

CREATE INDEX IF NOT EXISTS trashed_manifests_by_subject ON trashed_manifests (repository_id, subject) WHERE subject IS NOT NULL;
CREATE INDEX IF NOT EXISTS trashed_manifests_stored ON trashed_manifests (object_key) WHERE object_key IS NOT NULL;

-- The references of the manifests in the trash. As long as such a reference exists, the referenced blob is kept, so that the
-- manifest can be restored. The child is the first column of the key, because queries ask whether any manifest in the trash
-- still needs it.
CREATE TABLE IF NOT EXISTS trashed_references (
  child TEXT NOT NULL,
  repository_id INTEGER NOT NULL,
  parent TEXT NOT NULL,
  PRIMARY KEY (child, repository_id, parent)
) STRICT, WITHOUT ROWID;

-- The number of pulls of an image on a day. Small numbers are exact, and large numbers are estimates
-- (src/registry/usage/pulls.ts).
CREATE TABLE IF NOT EXISTS pulls (
  repository_id INTEGER NOT NULL,
  digest TEXT NOT NULL,
  day INTEGER NOT NULL,
  count INTEGER NOT NULL,
  PRIMARY KEY (repository_id, digest, day)
) STRICT, WITHOUT ROWID;

-- The last day on which a client checked a manifest with HEAD. A node that has the image already does that, so it is in use.
CREATE TABLE IF NOT EXISTS manifest_checks (
  repository_id INTEGER NOT NULL,
  digest TEXT NOT NULL,
  day INTEGER NOT NULL,
  PRIMARY KEY (repository_id, digest)
) STRICT, WITHOUT ROWID;

-- The usage and the limit of each namespace. If a namespace has a limit, every batch that changes its content also updates
-- bytes and blobs. The collector counts all namespaces again in each pass.
--   namespace: the part of repository names before the slash. Empty for repositories without a slash in their name.
--   bytes, blobs: the content of all repositories of the namespace. A blob counts once.
--   max_bytes: the limit. NULL if there is none.
--   warn_percent: the percentage of the limit at which a warning is recorded.
--   warned: 1 if the warning was recorded since the usage was last below that percentage.
--   staged: the bytes of unfinished uploads, updated like bytes.
--   leading: the id of the unfinished upload that may use the rest of the limit, regardless of what other uploads have staged.
--   kind: the kind of the owner of the namespace.
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

-- What each repository holds now. Every batch that changes the content changes the row.
--   bytes: the bytes of the manifests and of the blobs that they reference, each blob once. The trash does not count.
CREATE TABLE IF NOT EXISTS repository_usage (
  repository_id INTEGER PRIMARY KEY,
  bytes INTEGER NOT NULL DEFAULT 0,
  tags INTEGER NOT NULL DEFAULT 0,
  manifests INTEGER NOT NULL DEFAULT 0
) STRICT;

-- The progress of jobs that process the whole registry in slices.
--   cursor: the place where the next slice begins.
--   started_at: the time when the current pass began.
--   report: the totals of the current pass, as JSON.
--   finished: the totals of the last complete pass, as JSON.
--   version: compared by each slice before it saves, so that only one of two concurrent slices is saved.
CREATE TABLE IF NOT EXISTS maintenance (
  job TEXT PRIMARY KEY,
  cursor TEXT NOT NULL,
  started_at INTEGER NOT NULL,
  report TEXT NOT NULL,
  finished TEXT,
  version INTEGER NOT NULL DEFAULT 1
) STRICT, WITHOUT ROWID;

-- Uploads that have received bytes. Before that, an upload exists only as its signed location. The row of an ended upload stays
-- until expires_at, so that its location is not mistaken for that of a new upload.
--   state: `open`, then `committed` (finished) or `closed` (cancelled, or refused for good).
--   version: grows with every write (compare-and-swap, invariant 5).
--   size: the number of bytes received.
--   staged: the places of these bytes in R2 (src/storage/staging.ts).
--   digest: the digest of the finished blob.
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

-- The keys of R2 objects whose last row was deleted. The collector deletes the objects later (invariant 1).
CREATE TABLE IF NOT EXISTS tombstones (
  object_key TEXT PRIMARY KEY,
  made_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- ── auth ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

-- Accounts. Rows are never deleted, so that nobody else can take a name that policies or events still contain.
--   subject: `user:<name>`, `organization:<name>` or `robot:<organization>/<name>`.
--   likeness: the confusable skeleton of the name (UTS 39), unique among users and organizations. NULL for robots.
--   disabled: 0 for an enabled account, 1 for a disabled one, 2 for a deleted one.
--   epoch: grows when all logins of the account are ended. Every token contains the epoch at its creation, and is valid only as
--     long as the account has that epoch.
--   invitation: the id of the open invitation of a user. NULL if there is none.
--   invited_until: the time when that invitation expires.
--   accepted_invitation: the id of the last invitation that the user has accepted, and accepted_at: the time.
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
  version INTEGER NOT NULL DEFAULT 1,
  accepted_invitation TEXT,
  accepted_at INTEGER
) STRICT, WITHOUT ROWID;

-- The members of organizations. The key begins with the user, because every request reads the organizations of its caller.
CREATE TABLE IF NOT EXISTS members (
  user TEXT NOT NULL,
  organization TEXT NOT NULL,
  role TEXT NOT NULL CHECK (role IN ('owner', 'member')),
  PRIMARY KEY (user, organization)
) STRICT, WITHOUT ROWID;

CREATE INDEX IF NOT EXISTS members_by_organization ON members (organization, user);

-- Open invitations of users to organizations. A row is deleted when the user accepts or declines. It is valid until expires_at.
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

-- Policies. A policy is read and saved as one document.
--   subject: the user, team, robot or repository (`repository:<name>`) that the policy belongs to. `trash:<id>` for the policy
--     of a repository in the trash.
--   statements: JSON. The prefix `?` marks a principal that did not exist when the policy was saved
--     (src/auth/rights/policy-names.ts).
--   repository: the name of the repository in the trash. NULL for other policies.
--   text: the policy as a client of the ECR API sent it. NULL if it was saved in another way.
CREATE TABLE IF NOT EXISTS policies (
  subject TEXT PRIMARY KEY,
  statements TEXT NOT NULL,
  version INTEGER NOT NULL DEFAULT 1,
  repository TEXT,
  text TEXT
) STRICT, WITHOUT ROWID;

-- The principals that the policies of repositories name, for lists of the repositories that a caller may see. The rows are
-- written together with the policy.
--   pull: 1 if the policy allows the principal to pull, plus 2 if it denies that. NULL in rows of an earlier version of Berth,
--     for which the policy itself is read.
CREATE TABLE IF NOT EXISTS policy_principals (
  principal TEXT NOT NULL,
  repository TEXT NOT NULL,
  pull INTEGER,
  PRIMARY KEY (principal, repository)
) STRICT, WITHOUT ROWID;

CREATE INDEX IF NOT EXISTS policy_principals_by_repository ON policy_principals (repository, principal);

-- Access keys. The secret of a key is derived from its id and REGISTRY_SECRET, and is not stored.
--   statements: JSON that limits what the key may do. NULL if the key may do everything that its owner may do.
--   last_used_day: the last day on which the key was used. It is written at most once a day.
--   replaces: the id of the key that this key has replaced. NULL if it has replaced none.
--   made_with: the id of the key with which this key was created. NULL if another credential was used.
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

-- Logins with a refresh token.
--   generation: how often the token was replaced. The use of a token of an earlier generation ends the login, because the token
--     may have been stolen.
--   ended: 1 if the login has ended.
CREATE TABLE IF NOT EXISTS logins (
  id TEXT PRIMARY KEY,
  subject TEXT NOT NULL,
  generation INTEGER NOT NULL DEFAULT 0,
  ended INTEGER NOT NULL DEFAULT 0,
  expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX IF NOT EXISTS logins_by_subject ON logins (subject);

-- Identities at sign-in providers, and the accounts that they sign in to (src/auth/outside/identities.ts).
--   issuer, subject: the claims `iss` and `sub` of the provider's tokens.
CREATE TABLE IF NOT EXISTS identities (
  issuer TEXT NOT NULL,
  subject TEXT NOT NULL,
  account TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  PRIMARY KEY (issuer, subject)
) STRICT, WITHOUT ROWID;

CREATE INDEX IF NOT EXISTS identities_by_account ON identities (account);

-- The use of the database by each account on each day. Rows are kept for a week.
--   kind: database rows read, database rows written, or replayed deliveries (src/auth/allowance.ts).
CREATE TABLE IF NOT EXISTS account_days (
  account TEXT NOT NULL,
  day INTEGER NOT NULL,
  kind TEXT NOT NULL,
  count INTEGER NOT NULL,
  PRIMARY KEY (account, day, kind)
) STRICT, WITHOUT ROWID;

CREATE INDEX IF NOT EXISTS account_days_by_day ON account_days (day);

-- Trust rules. A rule says which tokens of an outside issuer are accepted, and what their holders may do.
--   subject: `ci:<organization>/<name>`, or `ci:<name>` for a rule of the registry.
--   claims, statements: JSON (src/auth/outside/oidc.ts).
--   lifetime: the number of seconds that a login lasts.
--   organization: empty for a rule of the registry.
--   revision: the id of the event of the last change. Saving the same rule again does not count. Earlier logins are not valid.
--   keyed: the version of the rule whose keys are in trust_rule_keys. If it differs from version, the rule is read for every
--     token of its issuer.
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

-- Index of trust rules by a claim that identifies jobs. There is one row for each value of the claim that the rule accepts.
CREATE TABLE IF NOT EXISTS trust_rule_keys (
  issuer TEXT NOT NULL,
  claim TEXT NOT NULL,
  value TEXT NOT NULL,
  organization TEXT NOT NULL,
  subject TEXT NOT NULL,
  PRIMARY KEY (issuer, claim, value, organization, subject)
) STRICT, WITHOUT ROWID;

CREATE INDEX IF NOT EXISTS trust_rule_keys_by_subject ON trust_rule_keys (subject);

-- Logins with the token of an outside issuer as the password.
--   id: the SHA-256 of the token.
--   began_at: the time of the login.
--   since: the id of the newest event at the login.
CREATE TABLE IF NOT EXISTS outside_logins (
  id TEXT PRIMARY KEY,
  began_at INTEGER NOT NULL,
  since INTEGER NOT NULL,
  expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX IF NOT EXISTS outside_logins_by_end ON outside_logins (expires_at);

-- ── events ───────────────────────────────────────────────────────────────────────────────────────────────────────────

-- The preconditions of batches. This table is always empty, because its constraints refuse every row. A statement that inserts
-- a row here aborts its batch, and nothing is written. The name of the failed constraint is the reason
-- (src/vocabulary/reasons.ts), and the error of D1 contains it. The last constraint refuses reasons without a constraint of
-- their own.
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

-- Events: one row for each committed change, written in the batch of the change (invariant 6). The table is the outbox and the
-- audit log.
--   id: grows with every event.
--   about: the subject of the event: the name of a repository, `organization:<name>`, or empty for the registry itself. For
--     logins it is `logins:` or `logins:<organization>`.
--   sequence: the number of the event among the events with the same subject, without gaps. The newest event of each subject is
--     never deleted, so that no id and no sequence is used twice.
--   target: the thing that was changed, as JSON.
--   changes: the fields that were changed, with the old and the new value, as JSON.
--   address: the address of the client, recorded for logins and requests to the API only. It is removed after some days.
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

-- Index for the events of one subject in their order. SQLite adds the id as the last column.
CREATE INDEX IF NOT EXISTS events_by_about ON events (about);

-- Index for the job that removes the addresses of old events.
CREATE INDEX IF NOT EXISTS events_with_address ON events (id) WHERE address IS NOT NULL;

-- ── webhooks ─────────────────────────────────────────────────────────────────────────────────────────────────────────

-- Subscriptions (webhooks).
--   scope: the source of the events: `repository:<name>`, `organization:<name>` or `registry`.
--   endpoint: the URL and the headers, which may contain credentials. Encrypted with a key derived from REGISTRY_SECRET.
--   filter: JSON that selects events.
--   origin: the address of the registry that the creator of the webhook used.
--   generation: the number of the current secret. Secrets are derived from REGISTRY_SECRET and not stored.
--   previous_until: until this time, deliveries are also signed with the previous secret.
--   disabled: the reason why the webhook is disabled. NULL if it is enabled.
--   failures: the number of failed attempts since the last successful one.
--   open_until: nothing is sent before this time.
--   first_event: the webhook gets events with a greater id.
--   last_event: the id of the last event that the webhook gets. NULL unless the webhook or its scope was deleted.
--   responsible: the user whose rights the webhook needs, who last set the endpoint or enabled it. NULL if that is the creator.
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

-- Index for the webhooks of a user who loses rights.
CREATE INDEX IF NOT EXISTS subscriptions_by_owner ON subscriptions (coalesce(responsible, created_by));

-- The webhooks of repositories in the trash, with the columns of the table subscriptions that a restore needs.
--   repository_id: the id of the repository, which is also the id of its entry in the trash.
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

-- Deliveries: at most one row for each event and subscription.
--   event_data: the event as it was recorded, with the data about the repository that the format needs, as JSON.
--   due_at: the time of the next attempt of a waiting delivery.
--   claimed_until: until this time, only the process that has claimed the delivery may send it.
--   tries: the number of attempts since the delivery was created or replayed.
--   first_tried_at: the time of the first attempt, or of the replay. A fixed time later, the delivery is given up.
--   attempts: the attempts that users see, as JSON.
--   replayed_at: the time of the last replay. NULL if there was none.
--   reminded: how often the schedule has sent the delivery to the queue again since the last attempt.
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

-- Index for waiting deliveries: the schedule searches for them, and an endpoint that has failed is tried with its oldest one.
-- The index does not contain due_at, so claims and reminders do not have to write it.
CREATE INDEX IF NOT EXISTS deliveries_waiting ON deliveries (subscription, event) WHERE state = 'waiting';

-- The number of deliveries that the webhooks of an organization or user have sent on a day. Rows are kept for two days.
CREATE TABLE IF NOT EXISTS delivery_days (
  owner TEXT NOT NULL,
  day INTEGER NOT NULL,
  count INTEGER NOT NULL,
  PRIMARY KEY (owner, day)
) STRICT, WITHOUT ROWID;

-- The id of the last event that was matched with subscriptions. The table has one row. The batch that creates the deliveries
-- updates it.
CREATE TABLE IF NOT EXISTS match_cursor (
  one INTEGER PRIMARY KEY CHECK (one = 1),
  event INTEGER NOT NULL
) STRICT;

-- ── background ───────────────────────────────────────────────────────────────────────────────────────────────────────

-- The use of the budget of background jobs on each day.
--   spent: the rows read, the rows written and the queue operations of each job, as JSON.
CREATE TABLE IF NOT EXISTS background_days (
  day INTEGER PRIMARY KEY,
  spent TEXT NOT NULL
) STRICT;
