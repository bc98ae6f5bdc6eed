-- The key that an access key replaced: revoking that key revokes this one too. Earlier replacements are read from the events.
ALTER TABLE access_keys ADD COLUMN replaces TEXT;

CREATE INDEX IF NOT EXISTS access_keys_by_replaced ON access_keys (replaces) WHERE replaces IS NOT NULL;

UPDATE access_keys SET replaces = made.old
FROM (SELECT target ->> 'id' AS id, target ->> 'replaces' AS old FROM events WHERE type = 'key.created') made
WHERE access_keys.id = made.id AND made.old IS NOT NULL;
