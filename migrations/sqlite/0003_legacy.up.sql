-- What the legacy surfaces keep of an app. surface: where the app was made; empty is /v1. step: seconds; 0, and -1 in
-- retry_total: the surface's default.
ALTER TABLE apps ADD COLUMN surface TEXT NOT NULL DEFAULT '';
ALTER TABLE apps ADD COLUMN step INTEGER NOT NULL DEFAULT 0;
ALTER TABLE apps ADD COLUMN retry_total INTEGER NOT NULL DEFAULT -1;
ALTER TABLE apps ADD COLUMN remark TEXT NOT NULL DEFAULT '';
ALTER TABLE apps ADD COLUMN header_style TEXT NOT NULL DEFAULT '';
ALTER TABLE apps ADD COLUMN signature_mode TEXT NOT NULL DEFAULT '';
