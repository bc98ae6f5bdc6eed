-- Quotas count unfinished uploads, and users can have quotas too.
ALTER TABLE usage ADD COLUMN staged INTEGER NOT NULL DEFAULT 0;
ALTER TABLE usage ADD COLUMN leading TEXT;
ALTER TABLE usage ADD COLUMN kind TEXT NOT NULL DEFAULT 'organization' CHECK (kind IN ('organization', 'user'));

-- Use of the budget of background jobs by day.
CREATE TABLE IF NOT EXISTS background_days (
  day INTEGER PRIMARY KEY,
  spent TEXT NOT NULL
) STRICT;

-- How often the schedule has sent a delivery to the queue again. If that does not help, the schedule sends the delivery itself.
ALTER TABLE deliveries ADD COLUMN reminded INTEGER NOT NULL DEFAULT 0;

-- Progress of a run of lifecycle rules, and how often it was started without making any.
ALTER TABLE lifecycle_policies ADD COLUMN pass TEXT;
ALTER TABLE lifecycle_policies ADD COLUMN tried_at INTEGER NOT NULL DEFAULT 0;
ALTER TABLE lifecycle_policies ADD COLUMN attempts INTEGER NOT NULL DEFAULT 0;
