ALTER TABLE apps DROP COLUMN disabled;
DELETE FROM ids WHERE name = 'bulk';
DROP TABLE audit_trail;
DROP TABLE bulk_operations;
DROP TABLE stat_sums;
