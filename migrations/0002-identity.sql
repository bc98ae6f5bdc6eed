-- Organizations that have asked a user to join, until that user accepts or declines. After expires_at it counts for nothing.
CREATE TABLE IF NOT EXISTS organization_invitations (
  user TEXT NOT NULL,
  organization TEXT NOT NULL,
  role TEXT NOT NULL CHECK (role IN ('owner', 'member')),
  invited_by TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  expires_at INTEGER NOT NULL,
  PRIMARY KEY (user, organization)
) STRICT, WITHOUT ROWID;

CREATE INDEX IF NOT EXISTS organization_invitations_by_organization ON organization_invitations (organization, user);
