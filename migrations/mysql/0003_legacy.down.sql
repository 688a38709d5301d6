SET @sql = IF((SELECT COUNT(*) FROM information_schema.columns WHERE table_schema = DATABASE() AND table_name = 'apps' AND column_name = 'surface') = 1,
  'ALTER TABLE apps DROP COLUMN surface, DROP COLUMN step, DROP COLUMN retry_total, DROP COLUMN remark, DROP COLUMN header_style, DROP COLUMN signature_mode', 'DO 0');
PREPARE change_apps FROM @sql;
EXECUTE change_apps;
DEALLOCATE PREPARE change_apps;
