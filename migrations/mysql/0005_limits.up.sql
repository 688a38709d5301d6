-- Limits. A row for each queue ('q:name'), app ('a:id') and limit key ('k:app:flow') that is limited or paused, and for a
-- while after it was, so that every process hears of it: version orders the changes. running: tasks that hold a place.
-- ended_at: since when the row holds nothing back, ms; 0: it does. tat: until when what was started has used the rate up, in ns. bells.flow: the limit key that the tasks of a bell share; 0: none.
DROP TABLE IF EXISTS limits;
CREATE TABLE IF NOT EXISTS limits (
  k VARBINARY(80) NOT NULL PRIMARY KEY,
  version BIGINT NOT NULL,
  ended_at BIGINT NOT NULL,
  app_id INT NOT NULL,
  name VARCHAR(64) NOT NULL,
  flow BIGINT NOT NULL,
  paused TINYINT NOT NULL,
  max INT NOT NULL,
  rate_tasks INT NOT NULL,
  rate_ms BIGINT NOT NULL,
  rate_burst INT NOT NULL,
  running INT NOT NULL,
  tat BIGINT NOT NULL,
  KEY version (version),
  KEY named (app_id, ended_at, name),
  KEY ended (ended_at)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

INSERT IGNORE INTO ids (name, next) VALUES ('limits', 1);

-- What is paused stays paused.
INSERT IGNORE INTO limits SELECT CONCAT('q:', name), 1, 0, 0, name, 0, 1, 0, 0, 0, 0, 0, 0 FROM queues WHERE paused = 1;
INSERT IGNORE INTO limits SELECT CONCAT('a:', id), 1, 0, id, '', 0, 1, 0, 0, 0, 0, 0, 0 FROM apps WHERE paused = 1;

SET @sql = IF((SELECT COUNT(*) FROM information_schema.columns WHERE table_schema = DATABASE() AND table_name = 'bells' AND column_name = 'flow') = 0,
  'ALTER TABLE bells ADD COLUMN flow BIGINT NOT NULL DEFAULT 0, ADD KEY flow (lane_id, app_id, kind, flow, due_at)', 'DO 0');
PREPARE change_bells FROM @sql;
EXECUTE change_bells;
DEALLOCATE PREPARE change_bells;
