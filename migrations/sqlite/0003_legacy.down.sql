ALTER TABLE apps DROP COLUMN surface;
ALTER TABLE apps DROP COLUMN step;
ALTER TABLE apps DROP COLUMN retry_total;
ALTER TABLE apps DROP COLUMN remark;
ALTER TABLE apps DROP COLUMN header_style;
ALTER TABLE apps DROP COLUMN signature_mode;
