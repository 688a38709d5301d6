-- Limits. A row for each queue ('q:name'), app ('a:id') and limit key ('k:app:flow') that is limited or paused, and for a
-- while after it was, so that every process hears of it: version orders the changes. running: tasks that hold a place.
-- ended_at: since when the row holds nothing back, ms; 0: it does. tat: until when what was started has used the rate up, in ns. bells.flow: the limit key that the tasks of a bell share; 0: none.
DROP TABLE IF EXISTS limits;
CREATE TABLE limits (
  k TEXT NOT NULL PRIMARY KEY,
  version INTEGER NOT NULL,
  ended_at INTEGER NOT NULL,
  app_id INTEGER NOT NULL,
  name TEXT NOT NULL,
  flow INTEGER NOT NULL,
  paused INTEGER NOT NULL,
  max INTEGER NOT NULL,
  rate_tasks INTEGER NOT NULL,
  rate_ms INTEGER NOT NULL,
  rate_burst INTEGER NOT NULL,
  running INTEGER NOT NULL,
  tat INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX limits_version ON limits (version);
CREATE INDEX limits_named ON limits (app_id, ended_at, name);
CREATE INDEX limits_ended ON limits (ended_at);

INSERT OR IGNORE INTO ids (name, next) VALUES ('limits', 1);

-- What is paused stays paused.
INSERT OR IGNORE INTO limits SELECT 'q:' || name, 1, 0, 0, name, 0, 1, 0, 0, 0, 0, 0, 0 FROM queues WHERE paused = 1;
INSERT OR IGNORE INTO limits SELECT 'a:' || id, 1, 0, id, '', 0, 1, 0, 0, 0, 0, 0, 0 FROM apps WHERE paused = 1;

ALTER TABLE bells ADD COLUMN flow INTEGER NOT NULL DEFAULT 0;
CREATE INDEX bells_flow ON bells (lane_id, app_id, kind, flow, due_at);
