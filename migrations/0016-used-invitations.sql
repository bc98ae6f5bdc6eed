-- The last invitation that each user has accepted, and when. NULL for users who joined before.

ALTER TABLE accounts ADD COLUMN accepted_invitation TEXT;
ALTER TABLE accounts ADD COLUMN accepted_at INTEGER;
