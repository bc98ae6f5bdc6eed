-- What a repository's policy says about pulling, beside whom it names: lists are judged without reading the policies.
-- 1: it allows it, 2: it denies it, added up. Rows that an earlier version writes have NULL, and the policy is asked.
ALTER TABLE policy_principals ADD COLUMN pull INTEGER;

INSERT INTO policy_principals (principal, repository, pull)
SELECT p.value, substr(q.subject, length('repository:') + 1),
  max(instr(s.value -> 'actions', '"pull"') > 0 AND s.value ->> 'effect' <> 'deny')
  + 2 * max(instr(s.value -> 'actions', '"pull"') > 0 AND s.value ->> 'effect' = 'deny')
FROM policies q, json_each(q.statements) s, json_each(s.value, '$.principals') p
WHERE q.subject LIKE 'repository:%'
GROUP BY p.value, q.subject
ON CONFLICT DO UPDATE SET pull = excluded.pull;
