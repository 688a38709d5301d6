-- Bells of limit keys become plain ones: what waits is started, without limits.
UPDATE bells SET kind = CASE kind WHEN 4 THEN 0 ELSE 2 END WHERE kind IN (4, 5);
SET @sql = IF((SELECT COUNT(*) FROM information_schema.columns WHERE table_schema = DATABASE() AND table_name = 'bells' AND column_name = 'flow') = 1,
  'ALTER TABLE bells DROP KEY flow, DROP COLUMN flow', 'DO 0');
PREPARE change_bells FROM @sql;
EXECUTE change_bells;
DEALLOCATE PREPARE change_bells;
DELETE FROM ids WHERE name = 'limits';
DROP TABLE IF EXISTS limits;
CREATE TABLE IF NOT EXISTS limits (
  k VARBINARY(80) NOT NULL PRIMARY KEY,
  max INT NOT NULL,
  running INT NOT NULL
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
