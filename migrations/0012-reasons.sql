-- Each precondition of a batch has a constraint of its own, whose name is in the error. The table is always empty.

DROP TABLE refusals;

CREATE TABLE IF NOT EXISTS refusals (
  reason TEXT NOT NULL,
  CONSTRAINT not_found CHECK (reason <> 'not-found'),
  CONSTRAINT repository_unknown CHECK (reason <> 'repository-unknown'),
  CONSTRAINT manifest_unknown CHECK (reason <> 'manifest-unknown'),
  CONSTRAINT blob_unknown CHECK (reason <> 'blob-unknown'),
  CONSTRAINT upload_unknown CHECK (reason <> 'upload-unknown'),
  CONSTRAINT references_unknown CHECK (reason <> 'references-unknown'),
  CONSTRAINT manifest_invalid CHECK (reason <> 'manifest-invalid'),
  CONSTRAINT content_referenced CHECK (reason <> 'content-referenced'),
  CONSTRAINT content_gone CHECK (reason <> 'content-gone'),
  CONSTRAINT tag_immutable CHECK (reason <> 'tag-immutable'),
  CONSTRAINT quota_exceeded CHECK (reason <> 'quota-exceeded'),
  CONSTRAINT condition_failed CHECK (reason <> 'condition-failed'),
  CONSTRAINT forbidden CHECK (reason <> 'forbidden'),
  CONSTRAINT version_mismatch CHECK (reason <> 'version-mismatch'),
  CONSTRAINT name_taken CHECK (reason <> 'name-taken'),
  CONSTRAINT limit_reached CHECK (reason <> 'limit-reached'),
  CONSTRAINT last_owner CHECK (reason <> 'last-owner'),
  CONSTRAINT last_administrator CHECK (reason <> 'last-administrator'),
  CONSTRAINT disabled CHECK (reason <> 'disabled'),
  CONSTRAINT not_empty CHECK (reason <> 'not-empty'),
  CONSTRAINT conflict CHECK (reason <> 'conflict'),
  CONSTRAINT overtaken CHECK (reason <> 'overtaken'),
  CONSTRAINT precondition CHECK (reason IS NULL)
) STRICT;
