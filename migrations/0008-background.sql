-- Quotas count unfinished uploads, and may be those of users.
ALTER TABLE usage ADD COLUMN staged INTEGER NOT NULL DEFAULT 0;
ALTER TABLE usage ADD COLUMN leading TEXT;
ALTER TABLE usage ADD COLUMN kind TEXT NOT NULL DEFAULT 'organization' CHECK (kind IN ('organization', 'user'));
