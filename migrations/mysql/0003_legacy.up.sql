-- What the legacy surfaces keep of an app. A server may know no ADD COLUMN IF NOT EXISTS: whether the step was done is asked
-- first, so that it can be repeated. surface: where the app was made; empty is /v1. step: seconds; 0, and -1 in retry_total: the
-- surface's default.
SET @sql = IF((SELECT COUNT(*) FROM information_schema.columns WHERE table_schema = DATABASE() AND table_name = 'apps' AND column_name = 'surface') = 0,
  'ALTER TABLE apps ADD COLUMN surface VARCHAR(16) NOT NULL DEFAULT '''', ADD COLUMN step INT NOT NULL DEFAULT 0, ADD COLUMN retry_total INT NOT NULL DEFAULT -1, ADD COLUMN remark VARCHAR(255) NOT NULL DEFAULT '''', ADD COLUMN header_style VARCHAR(16) NOT NULL DEFAULT '''', ADD COLUMN signature_mode VARCHAR(16) NOT NULL DEFAULT ''''', 'DO 0');
PREPARE change_apps FROM @sql;
EXECUTE change_apps;
DEALLOCATE PREPARE change_apps;
