package sqldb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/taskweir/taskweir/migrations"
)

// Direction of Migrate.
type Direction int

// The directions.
const (
	Up   Direction = iota // apply everything that is missing
	Down                  // take the newest step back
)

// Step is one numbered schema change.
type Step struct {
	Version   int
	Name      string
	AppliedAt int64 // ms; 0: not applied

	up, down string
}

// migrationLock is the name of MySQL's advisory lock around a migration.
const migrationLock = "taskweir.migrate"

const sqlVersionTable = "CREATE TABLE IF NOT EXISTS schema_version (version INT NOT NULL PRIMARY KEY, applied_at BIGINT NOT NULL)"

// steps reads the embedded files of this dialect, in order.
func (s *Store) steps() ([]Step, error) {
	dir := "sqlite"
	if s.mysql {
		dir = "mysql"
	}
	return readSteps(migrations.FS, dir)
}

func readSteps(files fs.FS, dir string) ([]Step, error) {
	entries, err := fs.ReadDir(files, dir)
	if err != nil {
		return nil, fmt.Errorf("read migrations: %w", err)
	}
	found := map[int]*Step{}
	for _, e := range entries {
		number, rest, ok := strings.Cut(e.Name(), "_")
		version, err := strconv.Atoi(number)
		name, up := strings.CutSuffix(rest, ".up.sql")
		if !up {
			name = strings.TrimSuffix(rest, ".down.sql")
		}
		if !ok || err != nil || name == rest {
			return nil, fmt.Errorf("migration %s: not NNNN_name.(up|down).sql", e.Name())
		}
		text, err := fs.ReadFile(files, path.Join(dir, e.Name()))
		if err != nil {
			return nil, fmt.Errorf("read migration: %w", err)
		}
		st := found[version]
		if st == nil {
			st = &Step{Version: version, Name: name}
			found[version] = st
		}
		if up {
			st.up = string(text)
		} else {
			st.down = string(text)
		}
	}
	out := make([]Step, 0, len(found))
	for _, st := range found {
		out = append(out, *st)
	}
	sort.Slice(out, func(i, j int) bool { return out[i].Version < out[j].Version })
	return out, nil
}

// Migrate applies every missing step (Up) or takes the newest applied one back (Down), and gives the steps it ran. On
// MySQL an advisory lock keeps two from doing it at once and each statement commits by itself (all can be repeated); on
// SQLite each step is one transaction.
func (s *Store) Migrate(ctx context.Context, dir Direction) ([]Step, error) {
	unlock, err := s.lockMigrations(ctx)
	if err != nil {
		return nil, s.interpret(err)
	}
	defer unlock()
	if err := s.exec(ctx, sqlVersionTable); err != nil {
		return nil, fmt.Errorf("schema version table: %w", err)
	}
	all, err := s.Status(ctx)
	if err != nil {
		return nil, err
	}
	var ran []Step
	for _, st := range pick(all, dir) {
		if err := s.runStep(ctx, st, dir); err != nil {
			return ran, fmt.Errorf("migration %04d_%s: %w", st.Version, st.Name, err)
		}
		ran = append(ran, st)
	}
	return ran, nil
}

// pick chooses the steps to run.
func pick(all []Step, dir Direction) (out []Step) {
	for _, st := range all {
		switch {
		case dir == Up && st.AppliedAt == 0:
			out = append(out, st)
		case dir == Down && st.AppliedAt != 0:
			out = []Step{st}
		}
	}
	return out
}

func (s *Store) runStep(ctx context.Context, st Step, dir Direction) error {
	text, record, args := st.up, "INSERT INTO schema_version (version, applied_at) VALUES (?, ?)", []any{st.Version, s.now()}
	if dir == Down {
		text, record, args = st.down, "DELETE FROM schema_version WHERE version = ?", []any{st.Version}
	}
	if text == "" {
		return errors.New("has no file for this direction")
	}
	return s.write(ctx, func(ctx context.Context, t tx) error {
		for _, q := range statements(text) {
			if _, err := t.exec(ctx, q); err != nil {
				return err
			}
		}
		_, err := t.exec(ctx, record, args...)
		return err
	})
}

// statements cuts a file at ";" at the end of a line and drops comment lines.
func statements(text string) (out []string) {
	var b strings.Builder
	for line := range strings.Lines(text) {
		trimmed := strings.TrimSpace(line)
		if trimmed == "" || strings.HasPrefix(trimmed, "--") {
			continue
		}
		b.WriteString(line)
		if strings.HasSuffix(trimmed, ";") {
			out = append(out, strings.TrimSuffix(strings.TrimSpace(b.String()), ";"))
			b.Reset()
		}
	}
	if rest := strings.TrimSpace(b.String()); rest != "" {
		out = append(out, rest)
	}
	return out
}

// lockMigrations keeps others out on MySQL. SQLite's data folder is locked by its process.
func (s *Store) lockMigrations(ctx context.Context) (unlock func(), err error) {
	if !s.mysql {
		return func() {}, nil
	}
	conn, err := s.db.Conn(ctx)
	if err != nil {
		return nil, err
	}
	name := migrationLock
	var got sql.NullInt64
	err = conn.QueryRowContext(ctx, "SELECT GET_LOCK(CONCAT(?, '.', MD5(DATABASE())), 15)", name).Scan(&got)
	if err == nil && got.Int64 != 1 {
		err = errors.New("another process is migrating this database")
	}
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	return func() {
		uctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		var freed sql.NullInt64
		if err := conn.QueryRowContext(uctx, "SELECT RELEASE_LOCK(CONCAT(?, '.', MD5(DATABASE())))", name).Scan(&freed); err != nil {
			_ = conn.Raw(func(any) error { return errBroken }) // the lock goes with the connection
		}
		_ = conn.Close()
	}, nil
}

// exec runs one statement as a transaction.
func (s *Store) exec(ctx context.Context, query string, args ...any) error {
	return s.write(ctx, func(ctx context.Context, t tx) error {
		_, err := t.exec(ctx, query, args...)
		return err
	})
}

// Status lists the steps that this program knows, and those that only the database knows (without a name), in order.
func (s *Store) Status(ctx context.Context) ([]Step, error) {
	known, err := s.steps()
	if err != nil {
		return nil, err
	}
	applied, err := s.appliedVersions(ctx)
	if err != nil {
		return nil, s.interpret(err)
	}
	for i := range known {
		known[i].AppliedAt = applied[known[i].Version]
		delete(applied, known[i].Version)
	}
	for v, at := range applied {
		known = append(known, Step{Version: v, AppliedAt: at})
	}
	sort.Slice(known, func(i, j int) bool { return known[i].Version < known[j].Version })
	return known, nil
}

func (s *Store) appliedVersions(ctx context.Context) (map[int]int64, error) {
	table := "SELECT COUNT(*) FROM sqlite_master WHERE type = 'table' AND name = 'schema_version'"
	if s.mysql {
		table = "SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name = 'schema_version'"
	}
	var n int
	if err := s.db.QueryRowContext(ctx, table).Scan(&n); err != nil {
		return nil, err
	}
	out := map[int]int64{}
	if n == 0 {
		return out, nil
	}
	rows, err := s.db.QueryContext(ctx, "SELECT version, applied_at FROM schema_version")
	if err != nil {
		return nil, err
	}
	defer rows.Close() //nolint:errcheck // rows.Err has it
	for rows.Next() {
		var v int
		var at int64
		if err := rows.Scan(&v, &at); err != nil {
			return nil, err
		}
		out[v] = max(at, 1)
	}
	return out, rows.Err()
}

// CheckSchema reports whether this program can run on the schema as it is: a schema that is newer by one step is fine
// (it was expanded for the next version), anything else that differs is an error that says what to do.
func (s *Store) CheckSchema(ctx context.Context) error {
	all, err := s.Status(ctx)
	if err != nil {
		return err
	}
	known, err := s.steps()
	if err != nil {
		return err
	}
	newest := known[len(known)-1].Version
	return checkVersions(all, newest)
}

func checkVersions(all []Step, newest int) error {
	at := 0
	for _, st := range all {
		if st.AppliedAt == 0 {
			return fmt.Errorf(`the database schema is older than this program (step %04d_%s is missing): run "taskweir migrate up"`, st.Version, st.Name)
		}
		at = st.Version
	}
	if at > newest+1 {
		return fmt.Errorf("the database schema (version %d) is too new for this program (version %d): upgrade the program", at, newest)
	}
	return nil
}
