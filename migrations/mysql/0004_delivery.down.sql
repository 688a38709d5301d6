SET @sql = IF((SELECT COUNT(*) FROM information_schema.columns WHERE table_schema = DATABASE() AND table_name = 'apps' AND column_name = 'old_secret') = 1,
  'ALTER TABLE apps DROP COLUMN old_secret, DROP COLUMN old_secret_until, DROP COLUMN keep_deliveries', 'DO 0');
PREPARE change_apps FROM @sql;
EXECUTE change_apps;
DEALLOCATE PREPARE change_apps;
