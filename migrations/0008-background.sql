-- Quotas count unfinished uploads, and may be those of users.
ALTER TABLE usage ADD COLUMN staged INTEGER NOT NULL DEFAULT 0;
ALTER TABLE usage ADD COLUMN leading TEXT;
ALTER TABLE usage ADD COLUMN kind TEXT NOT NULL DEFAULT 'organization' CHECK (kind IN ('organization', 'user'));

-- What the jobs of the schedule have spent of a day.
CREATE TABLE IF NOT EXISTS background_days (
  day INTEGER PRIMARY KEY,
  spent TEXT NOT NULL
) STRICT;

-- How often the schedule has reminded the queue of a delivery: what it was reminded of in vain, the schedule tries by itself.
ALTER TABLE deliveries ADD COLUMN reminded INTEGER NOT NULL DEFAULT 0;

-- How far a run of lifecycle rules has come, and how often it was begun in vain.
ALTER TABLE lifecycle_policies ADD COLUMN pass TEXT;
ALTER TABLE lifecycle_policies ADD COLUMN tried_at INTEGER NOT NULL DEFAULT 0;
ALTER TABLE lifecycle_policies ADD COLUMN attempts INTEGER NOT NULL DEFAULT 0;
