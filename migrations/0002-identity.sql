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

-- The name of a deleted repository, in the row of its policy.
ALTER TABLE policies ADD COLUMN repository TEXT;

UPDATE policies SET repository = (SELECT repository FROM trash WHERE kind = 'repository' AND 'trash:' || repository_id = subject)
WHERE subject LIKE 'trash:%';

-- Marks names in statements that nobody has: whoever takes such a name later gains nothing by it.
UPDATE policies SET version = version + 1, statements = (
  SELECT json_group_array(json(CASE WHEN s.value ->> 'effect' = 'allow' AND json_type(s.value, '$.principals') = 'array'
    THEN json_set(s.value, '$.principals', json((SELECT json_group_array(iif((p.value = '*' OR EXISTS (SELECT 1 FROM accounts WHERE subject = p.value AND disabled <> 2) OR EXISTS (SELECT 1 FROM teams WHERE subject = p.value)), p.value, '?' || p.value))
      FROM json_each(s.value, '$.principals') p)))
    ELSE s.value END)) FROM json_each(statements) s)
WHERE (subject LIKE 'repository:%' OR subject LIKE 'trash:%')
  AND EXISTS (SELECT 1 FROM json_each(statements) s, json_each(s.value, '$.principals') p
    WHERE s.value ->> 'effect' = 'allow' AND NOT (p.value = '*' OR EXISTS (SELECT 1 FROM accounts WHERE subject = p.value AND disabled <> 2) OR EXISTS (SELECT 1 FROM teams WHERE subject = p.value)));

DELETE FROM policy_principals WHERE NOT EXISTS (
  SELECT 1 FROM policies, json_each(statements) s, json_each(s.value, '$.principals') p
  WHERE subject = 'repository:' || policy_principals.repository AND p.value = policy_principals.principal);
