-- Webhooks stop when whoever answers for them loses the right.
ALTER TABLE subscriptions ADD COLUMN responsible TEXT;
CREATE INDEX IF NOT EXISTS subscriptions_by_owner ON subscriptions (coalesce(responsible, created_by));
