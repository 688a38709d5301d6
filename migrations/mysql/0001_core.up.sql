-- One narrow, fixed-width row per task from birth to purge. The only secondary index holds columns that never change.
CREATE TABLE IF NOT EXISTS tasks (
  id BIGINT NOT NULL PRIMARY KEY,
  app_id INT NOT NULL,
  lane_id INT NOT NULL,
  kind_id INT NOT NULL,
  state TINYINT NOT NULL,
  reason SMALLINT NOT NULL DEFAULT 0,
  epoch INT NOT NULL DEFAULT 0,
  failures SMALLINT NOT NULL DEFAULT 0,
  losses SMALLINT NOT NULL DEFAULT 0,
  flags INT NOT NULL DEFAULT 0,
  created_at BIGINT NOT NULL,
  due_at BIGINT NOT NULL,
  expires_at BIGINT NOT NULL DEFAULT 0,
  timeout_ms INT NOT NULL,
  holder BIGINT NOT NULL,
  worker_id BIGINT NOT NULL DEFAULT 0,
  started_at BIGINT NOT NULL DEFAULT 0,
  finished_at BIGINT NOT NULL DEFAULT 0,
  attempt_id BIGINT NOT NULL DEFAULT 0,
  cancel_at BIGINT NOT NULL DEFAULT 0,
  http_status SMALLINT NOT NULL DEFAULT 0,
  KEY app (app_id, id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- What is written once beside a task (task.Body).
CREATE TABLE IF NOT EXISTS payloads (
  id BIGINT NOT NULL PRIMARY KEY,
  body MEDIUMBLOB NOT NULL
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- A batch of waiting tasks of one lane, app, epoch and due time. kind: 0 start, 1 expire.
CREATE TABLE IF NOT EXISTS bells (
  id BIGINT NOT NULL PRIMARY KEY,
  kind TINYINT NOT NULL,
  shard SMALLINT NOT NULL,
  lane_id INT NOT NULL,
  app_id INT NOT NULL,
  epoch INT NOT NULL,
  due_at BIGINT NOT NULL,
  direct TINYINT NOT NULL,
  n SMALLINT NOT NULL,
  task_ids TEXT NOT NULL,
  KEY due (shard, kind, due_at),
  KEY fair (lane_id, app_id, kind, due_at)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- A batch of running tasks of one worker.
CREATE TABLE IF NOT EXISTS claims (
  id BIGINT NOT NULL PRIMARY KEY,
  worker_id BIGINT NOT NULL,
  lane_id INT NOT NULL,
  claimed_at BIGINT NOT NULL,
  n SMALLINT NOT NULL,
  task_ids TEXT NOT NULL,
  KEY worker (worker_id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- state: 1 alive, 2 draining, 3 gone.
CREATE TABLE IF NOT EXISTS workers (
  id BIGINT NOT NULL PRIMARY KEY,
  state TINYINT NOT NULL,
  beat_at BIGINT NOT NULL,
  host VARCHAR(255) NOT NULL,
  slots INT NOT NULL,
  info TEXT NOT NULL
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE IF NOT EXISTS unique_keys (
  k BINARY(32) NOT NULL PRIMARY KEY,
  task_id BIGINT NOT NULL,
  scope TINYINT NOT NULL,
  expires_at BIGINT NOT NULL
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE IF NOT EXISTS idempotency (
  k BINARY(32) NOT NULL PRIMARY KEY,
  request BINARY(32) NOT NULL,
  task_id BIGINT NOT NULL,
  items BLOB NULL,
  expires_at BIGINT NOT NULL,
  KEY expiry (expires_at)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- Every attempt but a running one and a plain first success.
CREATE TABLE IF NOT EXISTS attempts (
  task_id BIGINT NOT NULL,
  epoch INT NOT NULL,
  id BIGINT NOT NULL,
  worker_id BIGINT NOT NULL,
  started_at BIGINT NOT NULL,
  finished_at BIGINT NOT NULL,
  outcome TINYINT NOT NULL,
  http_status SMALLINT NOT NULL,
  detail MEDIUMBLOB NULL,
  PRIMARY KEY (task_id, epoch),
  UNIQUE KEY id (id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE IF NOT EXISTS results (
  id BIGINT NOT NULL PRIMARY KEY,
  epoch INT NOT NULL,
  body MEDIUMBLOB NOT NULL
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- Failed and cancelled tasks.
CREATE TABLE IF NOT EXISTS ends (
  app_id INT NOT NULL,
  state TINYINT NOT NULL,
  id BIGINT NOT NULL,
  finished_at BIGINT NOT NULL,
  fingerprint BINARY(8) NOT NULL,
  PRIMARY KEY (app_id, state, id),
  KEY print (app_id, fingerprint, id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE IF NOT EXISTS limits (
  k VARBINARY(80) NOT NULL PRIMARY KEY,
  max INT NOT NULL,
  running INT NOT NULL
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- mode: 0 open, 1 paused.
CREATE TABLE IF NOT EXISTS lanes (
  id INT NOT NULL PRIMARY KEY,
  queue VARCHAR(48) NOT NULL,
  priority TINYINT NOT NULL,
  mode TINYINT NOT NULL,
  credit INT NOT NULL,
  bell_size SMALLINT NOT NULL,
  UNIQUE KEY name (queue, priority)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE IF NOT EXISTS queues (
  name VARCHAR(48) NOT NULL PRIMARY KEY,
  paused TINYINT NOT NULL
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE IF NOT EXISTS leases (
  name VARCHAR(40) NOT NULL PRIMARY KEY,
  owner BIGINT NOT NULL,
  term BIGINT NOT NULL,
  until BIGINT NOT NULL
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE IF NOT EXISTS stats (
  minute INT NOT NULL,
  app_id INT NOT NULL,
  lane_id INT NOT NULL,
  kind_id INT NOT NULL,
  writer BIGINT NOT NULL,
  submitted INT NOT NULL,
  succeeded INT NOT NULL,
  failed INT NOT NULL,
  retried INT NOT NULL,
  timed_out INT NOT NULL,
  cancelled INT NOT NULL,
  lost INT NOT NULL,
  hist VARBINARY(512) NOT NULL,
  PRIMARY KEY (minute, app_id, lane_id, kind_id, writer)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE IF NOT EXISTS task_labels (
  app_id INT NOT NULL,
  k VARCHAR(63) NOT NULL,
  v VARCHAR(255) NOT NULL,
  id BIGINT NOT NULL,
  PRIMARY KEY (app_id, k, v, id),
  KEY id (id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE IF NOT EXISTS ids (
  name VARCHAR(32) NOT NULL PRIMARY KEY,
  next BIGINT NOT NULL
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

INSERT IGNORE INTO ids (name, next) VALUES ('task', 1), ('run', 1), ('worker', 1), ('lane', 1), ('kind', 1), ('app', 1), ('key', 1);

CREATE TABLE IF NOT EXISTS apps (
  id INT NOT NULL PRIMARY KEY,
  app_key VARCHAR(16) NOT NULL,
  name VARCHAR(255) NOT NULL,
  callback_url VARCHAR(2048) NOT NULL,
  paused TINYINT NOT NULL,
  weight INT NOT NULL,
  secret BLOB NOT NULL,
  created_at BIGINT NOT NULL,
  UNIQUE KEY app_key (app_key)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE IF NOT EXISTS api_keys (
  id BIGINT NOT NULL PRIMARY KEY,
  app_id INT NOT NULL,
  hash BINARY(32) NOT NULL,
  hint VARCHAR(16) NOT NULL,
  name VARCHAR(255) NOT NULL,
  scope TINYINT NOT NULL,
  bootstrap TINYINT NOT NULL,
  created_at BIGINT NOT NULL,
  revoked_at BIGINT NOT NULL DEFAULT 0,
  UNIQUE KEY hash (hash),
  KEY app (app_id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE IF NOT EXISTS kinds (
  id INT NOT NULL PRIMARY KEY,
  name VARCHAR(64) NOT NULL,
  UNIQUE KEY name (name)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
