-- Rules that create tasks. next_at: the first planned slot without a row in slots, 2^62 while there is none (paused, ended).
-- pause: 0 no, 1 by a person, 2 after failures.
CREATE TABLE IF NOT EXISTS schedules (
  id INTEGER PRIMARY KEY,
  app_id INTEGER NOT NULL,
  shard INTEGER NOT NULL,
  name TEXT NOT NULL,
  version INTEGER NOT NULL,
  pause INTEGER NOT NULL,
  next_at INTEGER NOT NULL,
  failures INTEGER NOT NULL,
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL,
  definition BLOB NOT NULL
);
CREATE UNIQUE INDEX IF NOT EXISTS schedules_app_name ON schedules (app_id, name);
CREATE INDEX IF NOT EXISTS schedules_app ON schedules (app_id, id);
CREATE INDEX IF NOT EXISTS schedules_due ON schedules (next_at, shard);

-- One row per planned, manual or backfilled fire time; inserting it is the trigger. n > 1: a range of skipped ones up to last_at.
CREATE TABLE IF NOT EXISTS slots (
  schedule_id INTEGER NOT NULL,
  origin INTEGER NOT NULL,
  slot_at INTEGER NOT NULL,
  last_at INTEGER NOT NULL,
  n INTEGER NOT NULL,
  task_id INTEGER NOT NULL,
  outcome INTEGER NOT NULL,
  fired_at INTEGER NOT NULL,
  detail TEXT NOT NULL,
  PRIMARY KEY (schedule_id, origin, slot_at)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS slots_newest ON slots (schedule_id, slot_at, origin);
CREATE INDEX IF NOT EXISTS slots_fired ON slots (fired_at);

-- Slots whose outcome is held, as long as it is.
CREATE TABLE IF NOT EXISTS held_slots (
  schedule_id INTEGER NOT NULL,
  slot_at INTEGER NOT NULL,
  origin INTEGER NOT NULL,
  PRIMARY KEY (schedule_id, slot_at, origin)
) WITHOUT ROWID;

-- Tasks of schedules that must know when their runs end. state: 0 open, 1 ended and not counted yet, 2 counted. result: the
-- final state of the task.
CREATE TABLE IF NOT EXISTS schedule_runs (
  task_id INTEGER PRIMARY KEY,
  schedule_id INTEGER NOT NULL,
  state INTEGER NOT NULL,
  result INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS schedule_runs_schedule ON schedule_runs (schedule_id, state);
CREATE INDEX IF NOT EXISTS schedule_runs_state ON schedule_runs (state, task_id);

-- Deleted schedules whose slots and runs are still to be purged.
CREATE TABLE IF NOT EXISTS schedules_deleted (
  id INTEGER PRIMARY KEY
);

INSERT OR IGNORE INTO ids (name, next) VALUES ('schedule', 16);
