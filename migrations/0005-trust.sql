-- Trust rules are found by organization and claim, and have a lifetime. A new version of a rule ends the logins of the version before.
ALTER TABLE trust_rules ADD COLUMN lifetime INTEGER NOT NULL DEFAULT 3600;
ALTER TABLE trust_rules ADD COLUMN disabled INTEGER NOT NULL DEFAULT 0;
ALTER TABLE trust_rules ADD COLUMN organization TEXT NOT NULL DEFAULT '';
ALTER TABLE trust_rules ADD COLUMN revision INTEGER NOT NULL DEFAULT 0;
ALTER TABLE trust_rules ADD COLUMN keyed INTEGER NOT NULL DEFAULT 0;
UPDATE trust_rules SET organization = substr(subject, 4, instr(subject, '/') - 4) WHERE instr(subject, '/') > 0;
CREATE INDEX IF NOT EXISTS trust_rules_unkeyed ON trust_rules (issuer, organization) WHERE keyed <> version;
CREATE TABLE IF NOT EXISTS trust_rule_keys (
  issuer TEXT NOT NULL,
  claim TEXT NOT NULL,
  value TEXT NOT NULL,
  organization TEXT NOT NULL,
  subject TEXT NOT NULL,
  PRIMARY KEY (issuer, claim, value, organization, subject)
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS trust_rule_keys_by_subject ON trust_rule_keys (subject);
CREATE TABLE IF NOT EXISTS outside_logins (
  id TEXT PRIMARY KEY,
  began_at INTEGER NOT NULL,
  since INTEGER NOT NULL,
  expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS outside_logins_by_end ON outside_logins (expires_at);
