-- Bells of limit keys become plain ones: what waits is started, without limits.
UPDATE bells SET kind = CASE kind WHEN 4 THEN 0 ELSE 2 END WHERE kind IN (4, 5);
DROP INDEX IF EXISTS bells_flow;
ALTER TABLE bells DROP COLUMN flow;
DELETE FROM ids WHERE name = 'limits';
DROP TABLE IF EXISTS limits;
CREATE TABLE limits (
  k BLOB NOT NULL PRIMARY KEY,
  max INTEGER NOT NULL,
  running INTEGER NOT NULL
) WITHOUT ROWID;
