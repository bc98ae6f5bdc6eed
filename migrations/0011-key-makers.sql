-- The key that was used to create a key, so that whoever revokes a stolen key sees what the thief created with it. NULL for existing keys.

ALTER TABLE access_keys ADD COLUMN made_with TEXT;

CREATE INDEX IF NOT EXISTS access_keys_by_maker ON access_keys (made_with) WHERE made_with IS NOT NULL;
