-- Closed minutes summed up. level: 1 minutes, 2 hours, 3 days; at: the first minute of the span; app_id 0: all apps but the
-- system's; dim: 0 everything, 1 by lane, 2 by kind; key_id: the lane or kind. hist: waiting and run times in buckets.
CREATE TABLE IF NOT EXISTS stat_sums (
  app_id INT NOT NULL,
  level TINYINT NOT NULL,
  dim TINYINT NOT NULL,
  at INT NOT NULL,
  key_id INT NOT NULL,
  submitted BIGINT NOT NULL,
  succeeded BIGINT NOT NULL,
  failed BIGINT NOT NULL,
  retried BIGINT NOT NULL,
  timed_out BIGINT NOT NULL,
  cancelled BIGINT NOT NULL,
  lost BIGINT NOT NULL,
  hist VARBINARY(1200) NOT NULL,
  PRIMARY KEY (app_id, level, dim, at, key_id),
  KEY age (level, at)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- Room for finer buckets.
ALTER TABLE stats MODIFY hist VARBINARY(1200) NOT NULL;

-- Bulk operations and how far they are. action: 1 cancel, 2 retry, 3 delete. state: 1 running, 2 stopping, 3 done, 4 failed,
-- 5 stopped. next_id: where the walk goes on; until_id: the last task that was there at the time of the request.
CREATE TABLE IF NOT EXISTS bulk_operations (
  id BIGINT NOT NULL PRIMARY KEY,
  app_id INT NOT NULL,
  action TINYINT NOT NULL,
  state TINYINT NOT NULL,
  dry_run TINYINT NOT NULL,
  next_id BIGINT NOT NULL,
  until_id BIGINT NOT NULL,
  matched BIGINT NOT NULL,
  changed BIGINT NOT NULL,
  skipped BIGINT NOT NULL,
  faults INT NOT NULL,
  created_at BIGINT NOT NULL,
  finished_at BIGINT NOT NULL,
  error VARCHAR(500) NOT NULL,
  filter MEDIUMBLOB NOT NULL,
  KEY app (app_id, id),
  KEY state (state, id),
  KEY finished (finished_at)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- Who changed what. app_id: whose thing was changed, 0: nobody's. before_doc, after_doc: definitions as JSON, without secrets.
CREATE TABLE IF NOT EXISTS audit_trail (
  id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
  at BIGINT NOT NULL,
  app_id INT NOT NULL,
  actor_app VARCHAR(16) NOT NULL,
  key_id BIGINT NOT NULL,
  key_name VARCHAR(255) NOT NULL,
  scope TINYINT NOT NULL,
  surface VARCHAR(16) NOT NULL,
  address VARCHAR(64) NOT NULL,
  action VARCHAR(48) NOT NULL,
  target VARCHAR(128) NOT NULL,
  request VARCHAR(128) NOT NULL,
  before_doc MEDIUMBLOB NULL,
  after_doc MEDIUMBLOB NULL,
  KEY at (at, id),
  KEY app (app_id, at, id),
  KEY target (target, at, id),
  KEY action (action, at, id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

INSERT IGNORE INTO ids (name, next) VALUES ('bulk', 1);

-- disabled: none of the app's credentials is taken, nor new tasks of it; what waits goes on waiting.
SET @sql = IF((SELECT COUNT(*) FROM information_schema.columns WHERE table_schema = DATABASE() AND table_name = 'apps' AND column_name = 'disabled') = 0,
  'ALTER TABLE apps ADD COLUMN disabled TINYINT NOT NULL DEFAULT 0', 'DO 0');
PREPARE change_apps FROM @sql;
EXECUTE change_apps;
DEALLOCATE PREPARE change_apps;
