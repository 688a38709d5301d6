-- Closed minutes summed up. level: 1 minutes, 2 hours, 3 days; at: the first minute of the span; app_id 0: all apps but the
-- system's; dim: 0 everything, 1 by lane, 2 by kind; key_id: the lane or kind. hist: waiting and run times in buckets.
CREATE TABLE stat_sums (
  app_id INTEGER NOT NULL,
  level INTEGER NOT NULL,
  dim INTEGER NOT NULL,
  at INTEGER NOT NULL,
  key_id INTEGER NOT NULL,
  submitted INTEGER NOT NULL,
  succeeded INTEGER NOT NULL,
  failed INTEGER NOT NULL,
  retried INTEGER NOT NULL,
  timed_out INTEGER NOT NULL,
  cancelled INTEGER NOT NULL,
  lost INTEGER NOT NULL,
  hist BLOB NOT NULL,
  PRIMARY KEY (app_id, level, dim, at, key_id)
) WITHOUT ROWID;
CREATE INDEX stat_sums_age ON stat_sums (level, at);

-- Bulk operations and how far they are. action: 1 cancel, 2 retry, 3 delete. state: 1 running, 2 stopping, 3 done, 4 failed,
-- 5 stopped. next_id: where the walk goes on; until_id: the last task that was there at the time of the request.
CREATE TABLE bulk_operations (
  id INTEGER PRIMARY KEY,
  app_id INTEGER NOT NULL,
  action INTEGER NOT NULL,
  state INTEGER NOT NULL,
  dry_run INTEGER NOT NULL,
  next_id INTEGER NOT NULL,
  until_id INTEGER NOT NULL,
  matched INTEGER NOT NULL,
  changed INTEGER NOT NULL,
  skipped INTEGER NOT NULL,
  faults INTEGER NOT NULL,
  created_at INTEGER NOT NULL,
  finished_at INTEGER NOT NULL,
  error TEXT NOT NULL,
  filter BLOB NOT NULL
);
CREATE INDEX bulk_operations_app ON bulk_operations (app_id, id);
CREATE INDEX bulk_operations_state ON bulk_operations (state, id);
CREATE INDEX bulk_operations_finished ON bulk_operations (finished_at);

-- Who changed what. app_id: whose thing was changed, 0: nobody's. before_doc, after_doc: definitions as JSON, without secrets.
CREATE TABLE audit_trail (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  at INTEGER NOT NULL,
  app_id INTEGER NOT NULL,
  actor_app TEXT NOT NULL,
  key_id INTEGER NOT NULL,
  key_name TEXT NOT NULL,
  scope INTEGER NOT NULL,
  surface TEXT NOT NULL,
  address TEXT NOT NULL,
  action TEXT NOT NULL,
  target TEXT NOT NULL,
  request TEXT NOT NULL,
  before_doc BLOB,
  after_doc BLOB
);
CREATE INDEX audit_trail_at ON audit_trail (at, id);
CREATE INDEX audit_trail_app ON audit_trail (app_id, at, id);
CREATE INDEX audit_trail_target ON audit_trail (target, at, id);
CREATE INDEX audit_trail_action ON audit_trail (action, at, id);

INSERT OR IGNORE INTO ids (name, next) VALUES ('bulk', 1);

-- disabled: none of the app's credentials is taken, nor new tasks of it; what waits goes on waiting.
ALTER TABLE apps ADD COLUMN disabled INTEGER NOT NULL DEFAULT 0;
