-- Which key was used to make a key: whoever revokes a stolen one must see what the thief made with it. Unknown of keys that are there.

ALTER TABLE access_keys ADD COLUMN made_with TEXT;

CREATE INDEX IF NOT EXISTS access_keys_by_maker ON access_keys (made_with) WHERE made_with IS NOT NULL;
