package doctor

import (
	"context"
	"encoding/base64"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/taskweir/taskweir/internal/config"
)

// fakeDatabase answers what it holds.
type fakeDatabase struct {
	mysql               bool
	vars                map[string]string
	err                 error
	applied, known      int
	offset, uncertainty time.Duration
}

func (f *fakeDatabase) MySQL() bool { return f.mysql }
func (f *fakeDatabase) Variables(context.Context, ...string) (map[string]string, error) {
	return f.vars, f.err
}
func (f *fakeDatabase) Schema(context.Context) (int, int, error) { return f.applied, f.known, nil }
func (f *fakeDatabase) Clock() (time.Duration, time.Duration)    { return f.offset, f.uncertainty }
func (f *fakeDatabase) Close() error                             { return nil }

func healthyMySQL() *fakeDatabase {
	return &fakeDatabase{mysql: true, applied: 3, known: 3, uncertainty: time.Millisecond, vars: map[string]string{
		"version": "10.11.6-MariaDB-0+deb12u1", "innodb_flush_log_at_trx_commit": "1", "log_bin": "OFF", "binlog_format": "MIXED", "sync_binlog": "0",
		"max_allowed_packet": "16777216", "read_only": "OFF",
	}}
}

type fakeRedis struct {
	info map[string]string
	err  error
}

func (f fakeRedis) Ping(context.Context) error                      { return f.err }
func (f fakeRedis) Info(context.Context) (map[string]string, error) { return f.info, nil }
func (f fakeRedis) Close() error                                    { return nil }

// split is the configuration of separate processes.
func split(t *testing.T, more ...string) *config.Config {
	t.Helper()
	c, err := config.Load(config.Operator, nil, append([]string{
		"TASKWEIR_DATA_DIR=" + filepath.Join(t.TempDir(), "none"), "TASKWEIR_DATABASE_URL=mysql://tw:secret@db:3306/taskweir", "TASKWEIR_REDIS_URL=redis://:secret@redis:6379/0",
		"TASKWEIR_ENCRYPTION_KEY=" + base64.StdEncoding.EncodeToString([]byte(strings.Repeat("k", 32))), "TASKWEIR_CLUSTER_KEY=cluster-key-0123456789",
	}, more...))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// examine runs the doctor on given parts.
func examine(t *testing.T, c *config.Config, db Database, r Redis) Report {
	t.Helper()
	return Run(t.Context(), c, Probes{
		Database: func(context.Context, *config.Config) (Database, error) {
			if db == nil {
				return nil, errors.New("connection refused")
			}
			return db, nil
		},
		Redis: func(context.Context, *config.Config) (Redis, error) { return r, nil },
	})
}

// find gives the findings of one check.
func find(r Report, area, check string) (out []Finding) {
	for _, f := range r.Findings {
		if f.Area == area && (f.Check == check || check == "") {
			out = append(out, f)
		}
	}
	return out
}

// expect checks that a check came to a level, with a text.
func expect(t *testing.T, r Report, area, check string, level Level, text string) {
	t.Helper()
	for _, f := range find(r, area, check) {
		if f.Level == level && strings.Contains(f.Text, text) {
			if level != OK && f.Mend == "" {
				t.Errorf("%s %s does not say how to mend it", area, check)
			}
			return
		}
	}
	t.Errorf("no %s of %s %s that says %q: %+v", level, area, check, text, find(r, area, ""))
}

func TestHealthyPartsAreOK(t *testing.T) {
	_, addr := startNsqd(t, nil)
	r := examine(t, split(t, "TASKWEIR_NSQ_NSQD="+addr), healthyMySQL(), fakeRedis{info: map[string]string{"redis_version": "7.0.15", "role": "master"}})
	if r.Problems+r.Warnings > 0 {
		t.Errorf("%+v", r.Findings)
	}
	expect(t, r, "database", "version", OK, "MariaDB 10.11.6 at mysql://tw:xxxxx@db:3306/taskweir")
	expect(t, r, "redis", "version", OK, "Redis 7.0.15 at redis://:xxxxx@redis:6379/0")
	expect(t, r, "nsqd", addr, OK, "nsqd 1.")
	for _, f := range r.Findings {
		if strings.Contains(f.Text+f.Mend, "secret@") || strings.Contains(f.Text, "cluster-key-0123456789") {
			t.Errorf("a secret is shown: %+v", f)
		}
	}
}

func TestDatabaseSettingsThatLoseTasksAreProblems(t *testing.T) {
	for _, c := range []struct {
		name, value, check string
		level              Level
		text               string
	}{
		{"innodb_flush_log_at_trx_commit", "2", "innodb_flush_log_at_trx_commit", Problem, "lost when the server crashes"},
		{"max_allowed_packet", "1048576", "max_allowed_packet", Problem, "1048576"},
		{"version", "10.5.9-MariaDB", "version", Problem, "too old"},
		{"version", "5.7.44-log", "version", Problem, "too old"},
		{"version", "8.0.36", "version", OK, "MySQL 8.0.36"},
		{"version", "11.4.2-MariaDB", "version", OK, "MariaDB 11.4.2"},
		{"version", "strange", "version", Warning, "cannot read"},
		{"read_only", "1", "read_only", Problem, "read-only"},
		{"wsrep_on", "ON", "wsrep_on", Warning, "Galera"},
	} {
		db := healthyMySQL()
		db.vars[c.name] = c.value
		expect(t, examine(t, split(t), db, fakeRedis{}), "database", c.check, c.level, c.text)
	}
	db := healthyMySQL()
	maps.Copy(db.vars, map[string]string{"log_bin": "ON", "binlog_format": "STATEMENT"})
	r := examine(t, split(t), db, fakeRedis{})
	expect(t, r, "database", "binlog_format", Problem, "STATEMENT")
	expect(t, r, "database", "sync_binlog", Warning, "replicas")
	expect(t, r, "database", "replication", OK, "failover can lose the commits of the last moments")
	maps.Copy(db.vars, map[string]string{"binlog_format": "ROW", "sync_binlog": "1", "rpl_semi_sync_master_enabled": "ON"})
	r = examine(t, split(t), db, fakeRedis{})
	expect(t, r, "database", "replication", OK, "semi-synchronous")
	if len(find(r, "database", "sync_binlog")) > 0 {
		t.Errorf("sync_binlog = 1 is complained about: %+v", r.Findings)
	}
	db.err = errors.New("access denied")
	expect(t, examine(t, split(t), db, fakeRedis{}), "database", "connection", Problem, "access denied")
	expect(t, examine(t, split(t), nil, fakeRedis{}), "database", "connection", Problem, "connection refused")
}

func TestSchemaAndClockAreCompared(t *testing.T) {
	for applied, want := range map[int]Level{0: Problem, 2: Problem, 3: OK, 4: OK, 5: Problem} {
		db := healthyMySQL()
		db.applied = applied
		expect(t, examine(t, split(t), db, fakeRedis{}), "database", "schema", want, "")
	}
	db := healthyMySQL()
	db.offset, db.uncertainty = -90*time.Second, 50*time.Millisecond
	r := examine(t, split(t), db, fakeRedis{})
	expect(t, r, "clock", "offset", Warning, "-1m30s")
	expect(t, r, "clock", "round trip", Warning, "50ms")
}

func TestRedisThatCannotServeIsNamed(t *testing.T) {
	expect(t, examine(t, split(t), healthyMySQL(), fakeRedis{err: errors.New("i/o timeout")}), "redis", "connection", Problem, "i/o timeout")
	r := examine(t, split(t), healthyMySQL(), fakeRedis{info: map[string]string{"role": "slave", "maxmemory_policy": "allkeys-lru"}})
	expect(t, r, "redis", "role", Problem, "replica")
	expect(t, r, "redis", "maxmemory_policy", Warning, "allkeys-lru")
}

func TestStandaloneIsExaminedByItsFolder(t *testing.T) {
	dir := t.TempDir()
	load := func() *config.Config {
		c, err := config.Load(config.Operator, nil, []string{"TASKWEIR_DATA_DIR=" + dir})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	r := examine(t, load(), nil, nil)
	expect(t, r, "database", "connection", Warning, "does not exist yet")
	expect(t, r, "configuration", "mode", OK, "standalone")
	for _, name := range []string{config.DatabaseFile, config.EncryptionKeyFile} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("x"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	db := &fakeDatabase{applied: 1, known: 1, vars: map[string]string{"version": "3.50", "journal_mode": "wal"}}
	r = examine(t, load(), db, nil)
	expect(t, r, "configuration", "data_dir", Problem, "mode 0777")
	expect(t, r, "configuration", "data_dir", Problem, "encryption.key has mode 0644")
	expect(t, r, "configuration", "data_dir", Problem, "taskweir.db has mode 0644")
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(dir, config.EncryptionKeyFile), 0o600); err != nil {
		t.Fatal(err)
	}
	if r = examine(t, load(), db, nil); r.Problems+r.Warnings > 0 {
		t.Errorf("%+v", r.Findings)
	}
	db.vars["journal_mode"] = "delete"
	expect(t, examine(t, load(), db, nil), "database", "journal_mode", Problem, "delete")
}

func TestMissingKeysOfSeparateProcessesAreProblems(t *testing.T) {
	c, err := config.Load(config.Operator, nil, []string{"TASKWEIR_REDIS_URL=redis://h", "TASKWEIR_DATA_DIR=" + t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	r := examine(t, c, nil, fakeRedis{})
	for _, key := range []string{"encryption_key", "cluster_key", "nsq.nsqd"} {
		expect(t, r, "configuration", key, Problem, "refuse to start")
	}
	expect(t, r, "configuration", "database.url", Problem, "one process only")
}
