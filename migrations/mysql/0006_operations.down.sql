SET @sql = IF((SELECT COUNT(*) FROM information_schema.columns WHERE table_schema = DATABASE() AND table_name = 'apps' AND column_name = 'disabled') = 1,
  'ALTER TABLE apps DROP COLUMN disabled', 'DO 0');
PREPARE change_apps FROM @sql;
EXECUTE change_apps;
DEALLOCATE PREPARE change_apps;
DELETE FROM ids WHERE name = 'bulk';
DROP TABLE IF EXISTS audit_trail;
DROP TABLE IF EXISTS bulk_operations;
DROP TABLE IF EXISTS stat_sums;
