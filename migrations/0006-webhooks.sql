-- Webhooks stop when whoever answers for them loses the right.
ALTER TABLE subscriptions ADD COLUMN responsible TEXT;
CREATE INDEX IF NOT EXISTS subscriptions_by_owner ON subscriptions (coalesce(responsible, created_by));

-- What one account may use up of a day.
CREATE INDEX IF NOT EXISTS logins_by_subject ON logins (subject);
CREATE TABLE IF NOT EXISTS account_days (
  account TEXT NOT NULL,
  day INTEGER NOT NULL,
  kind TEXT NOT NULL,
  count INTEGER NOT NULL,
  PRIMARY KEY (account, day, kind)
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS account_days_by_day ON account_days (day);

-- The log says what changed, and from where.
ALTER TABLE events ADD COLUMN changes TEXT;
ALTER TABLE events ADD COLUMN address TEXT;
CREATE INDEX IF NOT EXISTS events_with_address ON events (id) WHERE address IS NOT NULL;

-- A replay of many does not send one delivery again and again.
ALTER TABLE deliveries ADD COLUMN replayed_at INTEGER;

-- How many deliveries one owner's webhooks make in a day.
CREATE TABLE IF NOT EXISTS delivery_days (
  owner TEXT NOT NULL,
  day INTEGER NOT NULL,
  count INTEGER NOT NULL,
  PRIMARY KEY (owner, day)
) STRICT, WITHOUT ROWID;
