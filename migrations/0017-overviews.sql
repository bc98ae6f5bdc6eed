-- The HTML of overviews. NULL for existing overviews, which are rendered when they are first shown.

ALTER TABLE repository_pages ADD COLUMN overview_html TEXT;
ALTER TABLE repository_pages ADD COLUMN rendered_version INTEGER;
