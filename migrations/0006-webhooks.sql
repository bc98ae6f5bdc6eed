-- The user whose rights a webhook needs: the webhook is disabled when that user loses them.
ALTER TABLE subscriptions ADD COLUMN responsible TEXT;
CREATE INDEX IF NOT EXISTS subscriptions_by_owner ON subscriptions (coalesce(responsible, created_by));

-- Use of each account by day, for the daily limits of an account.
CREATE INDEX IF NOT EXISTS logins_by_subject ON logins (subject);
CREATE TABLE IF NOT EXISTS account_days (
  account TEXT NOT NULL,
  day INTEGER NOT NULL,
  kind TEXT NOT NULL,
  count INTEGER NOT NULL,
  PRIMARY KEY (account, day, kind)
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS account_days_by_day ON account_days (day);

-- Events say which fields changed, and from which address.
ALTER TABLE events ADD COLUMN changes TEXT;
ALTER TABLE events ADD COLUMN address TEXT;
CREATE INDEX IF NOT EXISTS events_with_address ON events (id) WHERE address IS NOT NULL;

-- The time of the last replay, so that replays of many do not send one delivery again and again.
ALTER TABLE deliveries ADD COLUMN replayed_at INTEGER;

-- Deliveries of each owner's webhooks by day.
CREATE TABLE IF NOT EXISTS delivery_days (
  owner TEXT NOT NULL,
  day INTEGER NOT NULL,
  count INTEGER NOT NULL,
  PRIMARY KEY (owner, day)
) STRICT, WITHOUT ROWID;
