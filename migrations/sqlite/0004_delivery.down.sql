ALTER TABLE apps DROP COLUMN old_secret;
ALTER TABLE apps DROP COLUMN old_secret_until;
ALTER TABLE apps DROP COLUMN keep_deliveries;
