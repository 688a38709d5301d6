-- One narrow, fixed-width row per task from birth to purge. The only secondary index holds columns that never change.
CREATE TABLE IF NOT EXISTS tasks (
  id INTEGER PRIMARY KEY,
  app_id INTEGER NOT NULL,
  lane_id INTEGER NOT NULL,
  kind_id INTEGER NOT NULL,
  state INTEGER NOT NULL,
  reason INTEGER NOT NULL DEFAULT 0,
  epoch INTEGER NOT NULL DEFAULT 0,
  failures INTEGER NOT NULL DEFAULT 0,
  losses INTEGER NOT NULL DEFAULT 0,
  flags INTEGER NOT NULL DEFAULT 0,
  created_at INTEGER NOT NULL,
  due_at INTEGER NOT NULL,
  expires_at INTEGER NOT NULL DEFAULT 0,
  timeout_ms INTEGER NOT NULL,
  holder INTEGER NOT NULL,
  worker_id INTEGER NOT NULL DEFAULT 0,
  started_at INTEGER NOT NULL DEFAULT 0,
  finished_at INTEGER NOT NULL DEFAULT 0,
  attempt_id INTEGER NOT NULL DEFAULT 0,
  cancel_at INTEGER NOT NULL DEFAULT 0,
  http_status INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX IF NOT EXISTS tasks_app ON tasks (app_id, id);

-- What is written once beside a task (task.Body).
CREATE TABLE IF NOT EXISTS payloads (
  id INTEGER PRIMARY KEY,
  body BLOB NOT NULL
);

-- A batch of waiting tasks of one lane, app, epoch and due time. kind: 0 start, 1 expire.
CREATE TABLE IF NOT EXISTS bells (
  id INTEGER PRIMARY KEY,
  kind INTEGER NOT NULL,
  shard INTEGER NOT NULL,
  lane_id INTEGER NOT NULL,
  app_id INTEGER NOT NULL,
  epoch INTEGER NOT NULL,
  due_at INTEGER NOT NULL,
  direct INTEGER NOT NULL,
  n INTEGER NOT NULL,
  task_ids TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS bells_due ON bells (shard, kind, due_at);
CREATE INDEX IF NOT EXISTS bells_fair ON bells (lane_id, app_id, kind, due_at);

-- A batch of running tasks of one worker.
CREATE TABLE IF NOT EXISTS claims (
  id INTEGER PRIMARY KEY,
  worker_id INTEGER NOT NULL,
  lane_id INTEGER NOT NULL,
  claimed_at INTEGER NOT NULL,
  n INTEGER NOT NULL,
  task_ids TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS claims_worker ON claims (worker_id);

-- state: 1 alive, 2 draining, 3 gone.
CREATE TABLE IF NOT EXISTS workers (
  id INTEGER PRIMARY KEY,
  state INTEGER NOT NULL,
  beat_at INTEGER NOT NULL,
  host TEXT NOT NULL,
  slots INTEGER NOT NULL,
  info TEXT NOT NULL
);

CREATE TABLE IF NOT EXISTS unique_keys (
  k BLOB NOT NULL PRIMARY KEY,
  task_id INTEGER NOT NULL,
  scope INTEGER NOT NULL,
  expires_at INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS idempotency (
  k BLOB NOT NULL PRIMARY KEY,
  request BLOB NOT NULL,
  task_id INTEGER NOT NULL,
  items BLOB,
  expires_at INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS idempotency_expiry ON idempotency (expires_at);

-- Every attempt but a running one and a plain first success.
CREATE TABLE IF NOT EXISTS attempts (
  task_id INTEGER NOT NULL,
  epoch INTEGER NOT NULL,
  id INTEGER NOT NULL,
  worker_id INTEGER NOT NULL,
  started_at INTEGER NOT NULL,
  finished_at INTEGER NOT NULL,
  outcome INTEGER NOT NULL,
  http_status INTEGER NOT NULL,
  detail BLOB,
  PRIMARY KEY (task_id, epoch)
) WITHOUT ROWID;
CREATE UNIQUE INDEX IF NOT EXISTS attempts_id ON attempts (id);

CREATE TABLE IF NOT EXISTS results (
  id INTEGER PRIMARY KEY,
  epoch INTEGER NOT NULL,
  body BLOB NOT NULL
);

-- Failed and cancelled tasks.
CREATE TABLE IF NOT EXISTS ends (
  app_id INTEGER NOT NULL,
  state INTEGER NOT NULL,
  id INTEGER NOT NULL,
  finished_at INTEGER NOT NULL,
  fingerprint BLOB NOT NULL,
  PRIMARY KEY (app_id, state, id)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS ends_print ON ends (app_id, fingerprint, id);

CREATE TABLE IF NOT EXISTS limits (
  k BLOB NOT NULL PRIMARY KEY,
  max INTEGER NOT NULL,
  running INTEGER NOT NULL
) WITHOUT ROWID;

-- mode: 0 open, 1 paused.
CREATE TABLE IF NOT EXISTS lanes (
  id INTEGER PRIMARY KEY,
  queue TEXT NOT NULL,
  priority INTEGER NOT NULL,
  mode INTEGER NOT NULL,
  credit INTEGER NOT NULL,
  bell_size INTEGER NOT NULL
);
CREATE UNIQUE INDEX IF NOT EXISTS lanes_name ON lanes (queue, priority);

CREATE TABLE IF NOT EXISTS queues (
  name TEXT NOT NULL PRIMARY KEY,
  paused INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS leases (
  name TEXT NOT NULL PRIMARY KEY,
  owner INTEGER NOT NULL,
  term INTEGER NOT NULL,
  until INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS stats (
  minute INTEGER NOT NULL,
  app_id INTEGER NOT NULL,
  lane_id INTEGER NOT NULL,
  kind_id INTEGER NOT NULL,
  writer INTEGER NOT NULL,
  submitted INTEGER NOT NULL,
  succeeded INTEGER NOT NULL,
  failed INTEGER NOT NULL,
  retried INTEGER NOT NULL,
  timed_out INTEGER NOT NULL,
  cancelled INTEGER NOT NULL,
  lost INTEGER NOT NULL,
  hist BLOB NOT NULL,
  PRIMARY KEY (minute, app_id, lane_id, kind_id, writer)
) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS task_labels (
  app_id INTEGER NOT NULL,
  k TEXT NOT NULL,
  v TEXT NOT NULL,
  id INTEGER NOT NULL,
  PRIMARY KEY (app_id, k, v, id)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS task_labels_id ON task_labels (id);

CREATE TABLE IF NOT EXISTS ids (
  name TEXT NOT NULL PRIMARY KEY,
  next INTEGER NOT NULL
) WITHOUT ROWID;

INSERT OR IGNORE INTO ids (name, next) VALUES ('task', 1), ('run', 1), ('worker', 1), ('lane', 1), ('kind', 1), ('app', 1), ('key', 1);

CREATE TABLE IF NOT EXISTS apps (
  id INTEGER PRIMARY KEY,
  app_key TEXT NOT NULL,
  name TEXT NOT NULL,
  callback_url TEXT NOT NULL,
  paused INTEGER NOT NULL,
  weight INTEGER NOT NULL,
  secret BLOB NOT NULL,
  created_at INTEGER NOT NULL
);
CREATE UNIQUE INDEX IF NOT EXISTS apps_app_key ON apps (app_key);

CREATE TABLE IF NOT EXISTS api_keys (
  id INTEGER PRIMARY KEY,
  app_id INTEGER NOT NULL,
  hash BLOB NOT NULL,
  hint TEXT NOT NULL,
  name TEXT NOT NULL,
  scope INTEGER NOT NULL,
  bootstrap INTEGER NOT NULL,
  created_at INTEGER NOT NULL,
  revoked_at INTEGER NOT NULL DEFAULT 0
);
CREATE UNIQUE INDEX IF NOT EXISTS api_keys_hash ON api_keys (hash);
CREATE INDEX IF NOT EXISTS api_keys_app ON api_keys (app_id);

CREATE TABLE IF NOT EXISTS kinds (
  id INTEGER PRIMARY KEY,
  name TEXT NOT NULL
);
CREATE UNIQUE INDEX IF NOT EXISTS kinds_name ON kinds (name);
