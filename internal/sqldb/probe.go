package sqldb

import (
	"context"
	"database/sql"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/taskweir/taskweir/internal/task"
)

// DrainWorker asks a worker to drain; it hears of it at its next beat. Missing when it is gone.
func (s *Store) DrainWorker(ctx context.Context, workerID int64) error {
	return s.writeSettled(ctx, func(ctx context.Context, t tx) error {
		n, err := t.exec(ctx, "UPDATE workers SET state=2 WHERE id=? AND state<>3", workerID)
		if err == nil && n == 0 {
			err = task.Missing("worker")
		}
		if err != nil {
			return err
		}
		return s.note(ctx, t)
	}, settledTwice)
}

// Probe is what doctor reads of a database.
type Probe struct {
	Engine      string // "sqlite", "mysql" or "mariadb"
	Version     string
	Schema      []Step            // as Status
	Variables   map[string]string // settings that matter, by name; those that the server does not have are left out
	Replicas    int               // MySQL: replicas connected now, 0 when that may not be asked
	ClockOffset time.Duration     // the database's time minus this host's
	ClockError  time.Duration     // how far off ClockOffset may be
	RoundTrip   time.Duration     // the quickest of five
	Problems    []Problem
}

// Problem is a setting that breaks or weakens a promise.
type Problem struct {
	Refuse  bool // a promise is broken: do not run on it
	What    string
	Remedy  string
	Setting string // the variable's name; empty for others
}

// probed are the variables that matter.
var probed = [...]string{"innodb_flush_log_at_trx_commit", "sync_binlog", "log_bin", "binlog_format", "max_allowed_packet", "sql_mode",
	"max_connections", "innodb_buffer_pool_size", "innodb_doublewrite", "transaction_isolation", "tx_isolation", "read_only",
	"rpl_semi_sync_master_enabled", "rpl_semi_sync_source_enabled", "wsrep_on", "version_comment", "time_zone"}

// Probe asks the database what it is, what it promises and how far away it is.
func (s *Store) Probe(ctx context.Context) (Probe, error) {
	p := Probe{Engine: "sqlite", Variables: map[string]string{}}
	if err := s.clock.Sync(ctx); err != nil {
		return p, s.interpret(err)
	}
	p.ClockOffset, p.ClockError = s.clock.OffsetFromHost(), s.clock.Uncertainty()
	var err error
	if p.Schema, err = s.Status(ctx); err != nil {
		return p, err
	}
	if p.RoundTrip, err = s.roundTrip(ctx); err != nil {
		return p, err
	}
	if s.mysql {
		err = s.probeMySQL(ctx, &p)
	} else {
		err = s.probeSQLite(ctx, &p)
	}
	if err == nil {
		p.Problems = p.judge()
	}
	return p, s.interpret(err)
}

func (s *Store) roundTrip(ctx context.Context) (best time.Duration, err error) {
	for i := range 5 {
		begin := time.Now()
		if err := s.Ping(ctx); err != nil {
			return 0, err
		}
		if d := time.Since(begin); i == 0 || d < best {
			best = d
		}
	}
	return best, nil
}

func (s *Store) probeMySQL(ctx context.Context, p *Probe) error {
	if err := s.db.QueryRowContext(ctx, "SELECT VERSION()").Scan(&p.Version); err != nil {
		return err
	}
	names := ""
	args := make([]any, len(probed))
	for i, name := range probed {
		if i > 0 {
			names += ","
		}
		names += "?"
		args[i] = name
	}
	// Globals: the session's own values are set by this program.
	if err := s.readEach(ctx, "SHOW GLOBAL VARIABLES WHERE Variable_name IN ("+names+")", func(rows *sql.Rows) error {
		var name, value string
		err := rows.Scan(&name, &value)
		p.Variables[name] = value
		return err
	}, args...); err != nil {
		return err
	}
	p.Engine = "mysql"
	if isMariaDB(p.Version) {
		p.Engine = "mariadb"
	}
	// Needs a privilege that an application's user should not have; without it the number is unknown.
	_ = s.readEach(ctx, "SELECT COUNT(*) FROM information_schema.processlist WHERE command LIKE 'Binlog Dump%'", func(rows *sql.Rows) error {
		return rows.Scan(&p.Replicas)
	})
	return nil
}

func (s *Store) probeSQLite(ctx context.Context, p *Probe) error {
	if err := s.db.QueryRowContext(ctx, "SELECT sqlite_version()").Scan(&p.Version); err != nil {
		return err
	}
	return s.write(ctx, func(ctx context.Context, t tx) error {
		for _, name := range []string{"journal_mode", "synchronous", "busy_timeout", "cache_size"} {
			if err := forEach(ctx, t, "PRAGMA "+name, func(rows *sql.Rows) error {
				var v string
				err := rows.Scan(&v)
				p.Variables[name] = v
				return err
			}); err != nil {
				return err
			}
		}
		return nil
	})
}

// judge names what is wrong, worst first.
func (p *Probe) judge() (out []Problem) {
	if p.Engine == "sqlite" {
		return nil
	}
	v := p.Variables
	if got := v["innodb_flush_log_at_trx_commit"]; got != "" && got != "1" {
		out = append(out, Problem{Refuse: true, Setting: "innodb_flush_log_at_trx_commit",
			What:   "a crash of the server can lose acknowledged tasks (innodb_flush_log_at_trx_commit=" + got + ")",
			Remedy: "set innodb_flush_log_at_trx_commit=1"})
	}
	if v["log_bin"] == "ON" && v["binlog_format"] == "STATEMENT" {
		out = append(out, Problem{Refuse: true, Setting: "binlog_format",
			What:   "binlog_format=STATEMENT does not work with READ COMMITTED",
			Remedy: "set binlog_format=ROW (or MIXED)"})
	}
	if n, err := strconv.ParseInt(v["max_allowed_packet"], 10, 64); err == nil && n < 4<<20 {
		out = append(out, Problem{Refuse: true, Setting: "max_allowed_packet",
			What:   fmt.Sprintf("max_allowed_packet is %d bytes; statements may have up to 4 MiB", n),
			Remedy: "set max_allowed_packet=16M"})
	}
	if v["read_only"] == "ON" {
		out = append(out, Problem{Refuse: true, Setting: "read_only", What: "the server is read-only", Remedy: "name the primary in the database url"})
	}
	return append(out, p.judgeReplication()...)
}

func (p *Probe) judgeReplication() (out []Problem) {
	v := p.Variables
	semi := v["rpl_semi_sync_master_enabled"] == "ON" || v["rpl_semi_sync_source_enabled"] == "ON"
	if v["log_bin"] == "ON" && v["sync_binlog"] == "0" {
		out = append(out, Problem{Setting: "sync_binlog", What: "after a crash of the primary the binary log can lack transactions that it committed (sync_binlog=0)",
			Remedy: "set sync_binlog=1 if replicas or backups depend on the binary log"})
	}
	if p.Replicas > 0 && !semi && v["wsrep_on"] != "ON" {
		out = append(out, Problem{What: "replication is asynchronous: a failover loses what the replica had not read yet, acknowledged tasks included",
			Remedy: "use semi-synchronous replication or a Galera cluster if a failover must lose nothing"})
	}
	return out
}

func isMariaDB(version string) bool {
	return strings.Contains(strings.ToLower(version), "mariadb")
}
