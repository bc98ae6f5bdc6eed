-- For each principal of a repository's policy, whether the policy lets it pull (1) or denies that (2), as a sum. So lists of repositories
-- need not read the policies. Rows that an earlier version writes have NULL. For them the policy is read.
ALTER TABLE policy_principals ADD COLUMN pull INTEGER;

INSERT INTO policy_principals (principal, repository, pull)
SELECT p.value, substr(q.subject, length('repository:') + 1),
  max(instr(s.value -> 'actions', '"pull"') > 0 AND s.value ->> 'effect' <> 'deny')
  + 2 * max(instr(s.value -> 'actions', '"pull"') > 0 AND s.value ->> 'effect' = 'deny')
FROM policies q, json_each(q.statements) s, json_each(s.value, '$.principals') p
WHERE q.subject LIKE 'repository:%'
GROUP BY p.value, q.subject
ON CONFLICT DO UPDATE SET pull = excluded.pull;
