DELETE FROM ids WHERE name = 'schedule';
DROP TABLE IF EXISTS schedules_deleted;
DROP TABLE IF EXISTS schedule_runs;
DROP TABLE IF EXISTS held_slots;
DROP TABLE IF EXISTS slots;
DROP TABLE IF EXISTS schedules;
