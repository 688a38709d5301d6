-- Rules that create tasks. next_at: the first planned slot without a row in slots, 2^62 while there is none (paused, ended).
-- pause: 0 no, 1 by a person, 2 after failures.
CREATE TABLE IF NOT EXISTS schedules (
  id BIGINT NOT NULL PRIMARY KEY,
  app_id INT NOT NULL,
  shard SMALLINT NOT NULL,
  name VARCHAR(100) NOT NULL,
  version BIGINT NOT NULL,
  pause TINYINT NOT NULL,
  next_at BIGINT NOT NULL,
  failures INT NOT NULL,
  created_at BIGINT NOT NULL,
  updated_at BIGINT NOT NULL,
  definition MEDIUMBLOB NOT NULL,
  UNIQUE KEY app_name (app_id, name),
  KEY app (app_id, id),
  KEY due (next_at, shard)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- One row per planned, manual or backfilled fire time; inserting it is the trigger. n > 1: a range of skipped ones up to last_at.
CREATE TABLE IF NOT EXISTS slots (
  schedule_id BIGINT NOT NULL,
  origin BIGINT NOT NULL,
  slot_at BIGINT NOT NULL,
  last_at BIGINT NOT NULL,
  n BIGINT NOT NULL,
  task_id BIGINT NOT NULL,
  outcome TINYINT NOT NULL,
  fired_at BIGINT NOT NULL,
  detail VARCHAR(255) NOT NULL,
  PRIMARY KEY (schedule_id, origin, slot_at),
  KEY newest (schedule_id, slot_at, origin),
  KEY fired (fired_at)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- Slots whose outcome is held, as long as it is.
CREATE TABLE IF NOT EXISTS held_slots (
  schedule_id BIGINT NOT NULL,
  slot_at BIGINT NOT NULL,
  origin BIGINT NOT NULL,
  PRIMARY KEY (schedule_id, slot_at, origin)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- Tasks of schedules that must know when their runs end. state: 0 open, 1 ended and not counted yet, 2 counted. result: the
-- final state of the task.
CREATE TABLE IF NOT EXISTS schedule_runs (
  task_id BIGINT NOT NULL PRIMARY KEY,
  schedule_id BIGINT NOT NULL,
  state TINYINT NOT NULL,
  result TINYINT NOT NULL,
  KEY schedule (schedule_id, state),
  KEY state (state, task_id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- Deleted schedules whose slots and runs are still to be purged.
CREATE TABLE IF NOT EXISTS schedules_deleted (
  id BIGINT NOT NULL PRIMARY KEY
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

INSERT IGNORE INTO ids (name, next) VALUES ('schedule', 16);
