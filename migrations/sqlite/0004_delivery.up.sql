-- Deliveries. old_secret: the signing secret before the present one, sealed; callbacks are signed with both until
-- old_secret_until. keep_deliveries: first successes are kept for inspection too.
ALTER TABLE apps ADD COLUMN old_secret BLOB NOT NULL DEFAULT x'';
ALTER TABLE apps ADD COLUMN old_secret_until INTEGER NOT NULL DEFAULT 0;
ALTER TABLE apps ADD COLUMN keep_deliveries INTEGER NOT NULL DEFAULT 0;
