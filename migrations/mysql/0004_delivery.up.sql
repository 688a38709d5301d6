-- Deliveries. old_secret: the signing secret before the present one, sealed; callbacks are signed with both until
-- old_secret_until. keep_deliveries: first successes are kept for inspection too.
SET @sql = IF((SELECT COUNT(*) FROM information_schema.columns WHERE table_schema = DATABASE() AND table_name = 'apps' AND column_name = 'old_secret') = 0,
  'ALTER TABLE apps ADD COLUMN old_secret VARBINARY(512) NOT NULL DEFAULT '''', ADD COLUMN old_secret_until BIGINT NOT NULL DEFAULT 0, ADD COLUMN keep_deliveries TINYINT NOT NULL DEFAULT 0', 'DO 0');
PREPARE change_apps FROM @sql;
EXECUTE change_apps;
DEALLOCATE PREPARE change_apps;
