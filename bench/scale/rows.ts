/**
 * The statements that fill a database, in order. Parameters such as `:tags` are numbers of the shape. Rows are inserted in the
 * order of their keys, which is many times as fast as any other order.
 */

const HOUR = 3600;
const NOW = 'unixepoch()';

/** Returns SQL for a table `n` with a column `i`, which has the values from 0 up to the parameter (exclusive). */
function upTo(limit: string): string {
  return `(WITH RECURSIVE n(i) AS (SELECT 0 WHERE ${limit} > 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < ${limit})
    SELECT i FROM n)`;
}

/**
 * SQL expression: the name of repository number `i`. `big/tags` has the number 0, and the repositories of `big` come before all
 * others.
 */
const REPOSITORY = `CASE WHEN i = 0 THEN 'big/tags' WHEN i < :ofBig THEN printf('big/app-%05d', i)
  ELSE printf('org-%d/app-%02d', i % :organizations, i / :organizations) END`;

/** SQL expression: the number of bytes of an image. `shape.ts` has the same numbers. */
const CONTENT_SIZE = '7000000';

const SELECTION = { tagStatus: 'untagged', countType: 'sinceImagePushed', countUnit: 'days', countNumber: 14 };
const LIFECYCLE = JSON.stringify({ rules: [{ rulePriority: 1, selection: SELECTION, action: { type: 'expire' } }] });

export const CONTENT: readonly string[] = [
  `CREATE TEMP TABLE numbered_blobs AS SELECT i, blob_digest(i) AS digest FROM ${upTo(':blobs')}`,
  'CREATE UNIQUE INDEX temp.numbered_blobs_i ON numbered_blobs (i)',
  `CREATE TEMP TABLE images AS SELECT i, iif(i < :tags, 1, i - :tags + 2) AS repository_id,
     iif(i < :tags, printf('v%06d', i), 'latest') AS tag, (i * 7) % :blobs AS first, image_manifest((i * 7) % :blobs,
     :blobs) AS content,
     '' AS digest FROM ${upTo(':tags + :repositories - 1')}`,
  'UPDATE images SET digest = text_digest(content)',

  `INSERT INTO repositories (id, name, created_at) SELECT i + 1, ${REPOSITORY}, ${NOW} - 90 * 24 * ${HOUR}
     FROM ${upTo(':repositories')}`,
  `INSERT INTO repository_pages (repository_id, description) SELECT i + 1, 'The service number ' || i
     FROM ${upTo(':repositories')}
   WHERE i % 2 = 0`,
  `INSERT INTO blobs (digest, size, object_key, created_at)
   SELECT digest, 1000000, 'blobs/sha256/' || substr(digest, 8) || '/' || substr(digest, 8, 32), ${NOW} - 30 * 24 * ${HOUR}
   FROM numbered_blobs ORDER BY digest`,
  `INSERT INTO manifest_references (repository_id, child, parent)
   SELECT m.repository_id, b.digest, m.digest FROM images m CROSS JOIN (SELECT value AS k FROM json_each('[0,1,2,3,4,5,6]'))
     CROSS JOIN numbered_blobs b ON b.i = (m.first + k) % :blobs ORDER BY 1, 2, 3`,
  `INSERT OR IGNORE INTO repository_blobs (digest, repository_id, leased_until)
   SELECT child, repository_id, 0 FROM manifest_references ORDER BY 1, 2`,
  `INSERT INTO manifests (repository_id, digest, media_type, artifact_type, size, pushed_at, content, content_size, platform)
   SELECT repository_id, digest, 'application/vnd.oci.image.manifest.v1+json', '', length(content),
     ${NOW} - 30 * 24 * ${HOUR} + i,
     content, ${CONTENT_SIZE}, 'linux/amd64' FROM images ORDER BY repository_id, digest`,
  `INSERT INTO tags (repository_id, name, digest, updated_at)
   SELECT repository_id, tag, digest, ${NOW} - 30 * 24 * ${HOUR} + i FROM images ORDER BY 1, 2`,
  `INSERT INTO tag_history (repository_id, tag, point, at, digest, previous, actor, attempt, cause)
   SELECT repository_id, tag, p.value, ${NOW} - (40 - p.value) * 24 * ${HOUR}, digest, iif(p.value = 1, NULL, digest),
     'user:admin',
     substr(digest, 8, 36), 'push' FROM images CROSS JOIN json_each('[1,2,3]') p ORDER BY 1, 2, 3`,
  `INSERT INTO pulls (repository_id, digest, day, count)
   SELECT repository_id, digest, ${NOW} / 86400 - d.value, 3 FROM images CROSS JOIN json_each('[9,8,7,6,5,4,3,2,1]') d
   WHERE i % 3 = 0 ORDER BY 1, 2, 3`,
  `INSERT INTO manifest_checks (repository_id, digest, day) SELECT repository_id, digest, ${NOW} / 86400 FROM images
   WHERE i % 3 = 0 ORDER BY 1, 2`,
  `INSERT INTO repository_usage (repository_id, bytes, tags, manifests)
   SELECT repository_id, sum(size + content_size), count(*), count(*) FROM manifests GROUP BY 1`,
  `INSERT INTO usage (namespace, bytes, blobs, counted_at)
   SELECT iif(r.id <= :ofBig, 'big', 'org-' || ((r.id - 1) % :organizations)), sum(u.bytes), sum(u.manifests) * 7, ${NOW}
   FROM repositories r JOIN repository_usage u ON u.repository_id = r.id GROUP BY 1 ORDER BY 1`,
  `INSERT INTO usage (namespace, bytes, blobs, counted_at) SELECT '', sum(bytes), sum(blobs), ${NOW} FROM usage`,
  `UPDATE repository_pages SET stars = :users, last_comment = :comments WHERE repository_id = 1`,
  `INSERT INTO stars (repository_id, subject, starred_at) SELECT 1, 'user:person-' || i, ${NOW}
     FROM ${upTo(':users')} ORDER BY 1, 2`,
  `INSERT INTO comments (repository_id, id, author, source, html, created_at)
   SELECT 1, i + 1, 'user:person-' || (i % :users), 'It works.', '<p>It works.</p>', ${NOW} FROM ${upTo(':comments')}`,
  `INSERT INTO lifecycle_policies (repository_id, policy, ran_at)
   SELECT i * 10 + 2, '${LIFECYCLE}',
     ${NOW} FROM ${upTo(':repositories / 20')}`,
  `INSERT INTO trash (repository_id, kind, name, repository, digest, actor, deleted_at)
   SELECT 1, 'tag', printf('old%06d', i), 'big/tags', (SELECT digest FROM images m WHERE m.rowid = n.i + 1), 'user:admin',
     ${NOW} - i
   FROM ${upTo(':trash')} n`,
  `INSERT INTO trash (repository_id, kind, name, repository, actor, deleted_at, created_at)
   SELECT :repositories + 1 + i, 'repository', '', printf('big/deleted-%05d', i), 'user:admin', ${NOW} - i,
     ${NOW} - 90 * 24 * ${HOUR}
   FROM ${upTo(':trash')}`,
  // A new repository must not get the id of a repository in the trash.
  "UPDATE sqlite_sequence SET seq = :repositories + :trash WHERE name = 'repositories'",
];

const TARGET = `'{"digest":"sha256:' || printf('%064x', i) || '","mediaType":"application/vnd.oci.image.manifest.v1+json","size":1113,"tag":"v'
  || i || '","cause":"push"}'`;

/**
 * Every tenth event is about `big/tags`. The others are spread over all repositories, so that the events of each repository are
 * numbered without gaps.
 */
export const EVENTS: readonly string[] = [
  `INSERT INTO events (id, at, type, about, sequence, target, actor, key_id)
   SELECT i + 1, ${NOW} - 80 * 24 * ${HOUR} + i * 80 * 24 * ${HOUR} / :events, iif(i % 2 = 0, 'manifest.pushed', 'tag.pushed'),
     (SELECT name FROM repositories WHERE id = about), sequence, ${TARGET}, 'user:person-' || (i % :users),
     'BRTH' || printf('%016d', i % :keys)
   FROM (SELECT i, iif(i % 10 = 0, 1, (i - i / 10 - 1) % (:repositories - 1) + 2) AS about,
     iif(i % 10 = 0, i / 10, (i - i / 10 - 1) / (:repositories - 1)) + 1 AS sequence FROM ${upTo(':events')})`,
  'INSERT OR REPLACE INTO match_cursor (one, event) SELECT 1, max(id) FROM events',
];

const STATEMENT = (repositories: string, more = '') =>
  `'[{"effect":"allow","actions":["pull"],"repositories":["' || ${repositories} || '"]${more}}]'`;

export const ACCOUNTS: readonly string[] = [
  `INSERT INTO accounts (subject, likeness, created_at)
   SELECT 'organization:' || name, name, ${NOW} FROM (SELECT 'big' AS name UNION ALL SELECT 'org-' || i
     FROM ${upTo(':organizations')})
   ORDER BY 1`,
  `INSERT INTO accounts (subject, likeness, created_at) SELECT 'user:person-' || i, 'person-' || i, ${NOW}
     FROM ${upTo(':users')}
   ORDER BY 1`,
  `INSERT INTO accounts (subject, created_at) SELECT 'robot:org-' || i || '/ci', ${NOW}
     FROM ${upTo(':organizations')} ORDER BY 1`,
  `INSERT INTO accounts (subject, created_at) SELECT 'robot:big/ci-' || i, ${NOW}
     FROM ${upTo(':organizations / 10')} ORDER BY 1`,
  `INSERT INTO members (user, organization, role)
   SELECT 'user:person-' || i, 'organization:org-' || (i % :organizations), iif(i < :organizations, 'owner', 'member')
   FROM ${upTo(':users')} ORDER BY 1, 2`,
  `INSERT INTO members (user, organization, role)
   SELECT 'user:person-' || i, 'organization:big', 'member' FROM ${upTo(':users')} WHERE i % 2 = 0 ORDER BY 1, 2`,
  `INSERT INTO teams (subject, created_at)
   SELECT iif(i < :teamsOfBig, printf('team:big/team-%04d', i), printf('team:org-%d/team-%d', i % :organizations,
     i / :organizations)),
     ${NOW} FROM ${upTo(':teams')} ORDER BY 1`,
  `INSERT INTO policies (subject, statements)
   SELECT subject, ${STATEMENT(`substr(subject, 6, instr(subject, '/') - 6) || '/app-*'`)} FROM teams ORDER BY 1`,
  `INSERT INTO team_members (user, team)
   SELECT 'user:person-' || i, printf('team:big/team-%04d', (i / 2 + k.value) % :teamsOfBig)
   FROM ${upTo(':users')} CROSS JOIN json_each('[0,7,31]') k WHERE i % 2 = 0 ORDER BY 1, 2`,
  `INSERT INTO policies (subject, statements)
   SELECT 'repository:' || name, ${STATEMENT('name', `,"principals":["' || iif(id % 2 = 0, '*', 'user:person-' || (id % :users)) || '"]`)}
   FROM repositories WHERE id BETWEEN 2 AND :policies + 1 ORDER BY 1`,
  `INSERT INTO policy_principals (principal, repository, pull)
   SELECT iif(id % 2 = 0, '*', 'user:person-' || (id % :users)), name, 1 FROM repositories WHERE id BETWEEN 2 AND :policies + 1
   ORDER BY 1, 2`,
  `INSERT INTO access_keys (id, owner, name, created_at, created_by, expires_at, last_used_day)
   SELECT 'BRTH' || printf('%016d', i), 'user:person-' || (i % :users), 'laptop', ${NOW}, 'user:person-' || (i % :users),
     ${NOW} + 90 * 24 * ${HOUR}, ${NOW} / 86400 FROM ${upTo(':keys')}`,
  `INSERT INTO logins (id, subject, expires_at) SELECT printf('login-%08d', i), 'user:person-' || (i % :users),
     ${NOW} + 24 * ${HOUR}
   FROM ${upTo(':logins')}`,
  `INSERT INTO subscriptions (id, scope, description, endpoint, filter, format, origin, first_event, created_at, created_by)
   SELECT printf('wh_%020d', i), iif(i % 2 = 0, 'organization:org-' || (i % :organizations),
     'repository:' || (SELECT name FROM repositories
     WHERE id = :repositories - i)), '', '', '{}', 'berth', 'http://127.0.0.1', 0, ${NOW},
     'user:person-' || (i % :users) FROM ${upTo(':webhooks')}`,
  `INSERT INTO deliveries (subscription, event, event_data, state, created_at, due_at)
   SELECT printf('wh_%020d', i % :webhooks), :events - i / :webhooks, '{}', 'delivered', ${NOW}, ${NOW}
     FROM ${upTo(':deliveries')} ORDER BY 1, 2`,
];
